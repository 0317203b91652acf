import { closeSync, constants, open } from "node:fs";
import { promisify } from "node:util";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { readRegularFile, UnfitFile } from "../../system/linux/regular-file.js";
import { Failure } from "../failure/failure.js";
import { NamedTurns } from "../scheduling/named-turns.js";
import { Workers } from "../scheduling/workers.js";

/** In ms: how long somebody else's file system may take to answer. */
const TIMEOUT = 10_000;

/** Node's pool does all that concerns files, and all starts of programs: some of its threads are kept for our own. */
const poolSize = Number(process.env.UV_THREADPOOL_SIZE) || 4;
const workers = new Workers(Math.max(poolSize - 4, 2));

/** One at a time for each path. */
const turns = new NamedTurns();

/** Of the paths that are being worked on: by how many operations, and when the last of them has ended (`performance.now()`). */
const paths = new Map<string, { users: number; lastEnd: number }>();
/** When the last one on any path has ended. */
let lastEndOfAny = 0;

/**
 * Works on files that clients name, or that others than the daemon have made. Their file system may hang (NFS whose server is gone, FUSE
 * whose program is stopped): then the caller gets an error after 10 s, while one thread of Node's pool stays blocked. Operations on the
 * same path wait for each other, so that one path blocks one thread at most. Who waits for others has the 10 s from the end of the last of
 * these: where many are asked for at once, and end one after the other, none is late.
 * @param path also what to call them
 * @param operation is not waited for beyond that; its signal is aborted then
 * @param caller waits no more
 * @throws what the operation does, Failure (deadline-exceeded), or the caller's reason
 */
export async function onForeignFiles<T>(
  path: string,
  operation: (signal: AbortSignal) => Promise<T>,
  caller?: AbortSignal,
): Promise<T> {
  caller?.throwIfAborted();
  const limit = new AbortController();
  const { signal } = limit;
  const late = new Failure("deadline-exceeded", "file-system-silent", { path, timeout: TIMEOUT });
  const wait = new Wait(path);
  let timer = setTimeout(check, TIMEOUT);
  function check(): void {
    const left = wait.since + TIMEOUT - performance.now();
    // A timer may be a little early.
    if (left > 1) timer = setTimeout(check, left);
    else limit.abort(late);
  }
  const leave = () => limit.abort(caller?.reason);
  caller?.addEventListener("abort", leave, { once: true });
  const over = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([inTurn(path, signal, operation, wait), over]);
  } finally {
    clearTimeout(timer);
    caller?.removeEventListener("abort", leave);
  }
}

/** What an operation waits for: the earlier ones on its path, then those that have all threads, then its own end. */
class Wait {
  readonly #path: { users: number; lastEnd: number };
  #phase: "path" | "thread" | "end" = "path";
  #began = performance.now();

  constructor(path: string) {
    this.#path = paths.get(path) ?? { users: 0, lastEnd: 0 };
    paths.set(path, this.#path);
    this.#path.users++;
  }

  /** When that has got on last (`performance.now()`). */
  get since(): number {
    const others = { path: this.#path.lastEnd, thread: lastEndOfAny, end: 0 };
    return Math.max(this.#began, others[this.#phase]);
  }

  enter(phase: "thread" | "end"): void {
    this.#phase = phase;
    this.#began = performance.now();
  }

  end(path: string): void {
    // One that was called off before it began has brought nobody on.
    if (this.#phase === "end") {
      this.#path.lastEnd = performance.now();
      lastEndOfAny = this.#path.lastEnd;
    }
    this.#path.users--;
    if (this.#path.users === 0) paths.delete(path);
  }
}

/** Runs the operation once all earlier ones on this path have ended, unless it is called off by then. */
async function inTurn<T>(
  path: string,
  signal: AbortSignal,
  operation: (signal: AbortSignal) => Promise<T>,
  wait: Wait,
): Promise<T> {
  try {
    return await turns.run(path, () => {
      signal.throwIfAborted();
      wait.enter("thread");
      return workers.run(signal, () => {
        wait.enter("end");
        return operation(signal);
      });
    });
  } finally {
    wait.end(path);
  }
}

const openFile = promisify(open);

/**
 * Opens a directory as {@link onForeignFiles}; one that is opened too late is closed again.
 * @returns a descriptor, to be closed
 * @throws a system error, Failure (deadline-exceeded), or the caller's reason
 */
export async function openForeignDirectory(path: string, caller?: AbortSignal): Promise<number> {
  return await onForeignFiles(
    path,
    async (signal) => {
      const fd = await openFile(path, constants.O_RDONLY | constants.O_DIRECTORY);
      if (!signal.aborted) return fd;
      closeSync(fd);
      throw signal.reason;
    },
    caller,
  );
}

/**
 * The text of a file as {@link onForeignFiles}; anything but a regular file is refused.
 * @param limit in bytes
 * @throws Failure: not-found, invalid-argument for what is no such file or larger than the limit, deadline-exceeded, internal; the caller's
 * reason
 */
export async function readForeignFile(path: string, limit: number, caller?: AbortSignal): Promise<string> {
  try {
    const content = await onForeignFiles(path, (signal) => readRegularFile(path, limit, signal), caller);
    return content.toString("utf8");
  } catch (error) {
    if (error instanceof Failure || caller?.aborted) throw error;
    throw foreignFileError(error);
  }
}

/** A failure at files that are not ours as the caller gets to know it. */
export function foreignFileError(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const isMissing = hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR");
  const kind = isMissing ? "not-found" : error instanceof UnfitFile ? "invalid-argument" : "internal";
  return new Failure(kind, "system", { why: errorText(error) }, { cause: error });
}

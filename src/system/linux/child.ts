import { closeSync, openSync, readSync } from "node:fs";
import { type ExitStatus, UNKNOWN_STATUS } from "../../contract/shim/exit-status.js";
import { BothEnds } from "./both-ends.js";
import { EPOLLIN, epoll } from "./epoll.js";
import { hasCode } from "./libc.js";
import { makeMemFd } from "./memfd.js";
import { killProcessGroup, openPidFd, reap } from "./pidfd.js";
import { makePipe } from "./pipe.js";
import { startTimeOf } from "./proc-stat.js";
import { type SpawnOptions, spawn } from "./spawn.js";

/** /dev/null, open for reading and writing: the stdio of children that have none. */
export const devNull: number = openSync("/dev/null", "r+");

/** A child process of this one; reaped as soon as it ends. */
export class Child {
  readonly pid: number;
  /** Resolves once it has ended and is reaped; never rejects. */
  readonly exited: Promise<ExitStatus>;
  #pidFd: number | undefined;

  /** Starts one. Rejects with what {@link spawn} throws, or the system error of its watch; no process is left then. */
  static async spawn(path: string, argv: readonly string[], options: SpawnOptions): Promise<Child> {
    return new Child(await spawn(path, argv, options));
  }

  private constructor(pid: number) {
    this.pid = pid;
    let exited: (status: ExitStatus) => void = () => {};
    this.exited = new Promise((resolve) => {
      exited = resolve;
    });
    try {
      const fd = openPidFd(this.pid);
      this.#pidFd = fd;
      epoll.add(fd, EPOLLIN, () => {
        const status = reapChild(this.pid);
        if (status === undefined) return;
        this.#pidFd = undefined;
        epoll.remove(fd);
        closeSync(fd);
        exited(status);
      });
    } catch (error) {
      // Most likely there are no descriptors left. A child whose end can't be watched must not run.
      killProcessGroup(this.pid);
      reap(this.pid, { wait: true });
      if (this.#pidFd !== undefined) closeSync(this.#pidFd);
      throw error;
    }
  }

  /** Field 22 of its /proc/<pid>/stat; "" once it has ended. */
  get startTime(): string {
    return this.running ? (startTimeOf(this.pid) ?? "") : "";
  }

  get running(): boolean {
    return this.#pidFd !== undefined;
  }

  /**
   * Kills it with SIGKILL, and what it has started in its process group: a runtime that is a shell script must not leave the real one
   * behind. Nothing happens when it has ended.
   */
  kill(): void {
    // Not reaped yet, so the group's number can't have been given to anybody else.
    if (this.running) killProcessGroup(this.pid);
  }
}

/** Undefined while it runs. If something else has reaped the child, its status is unknown. */
function reapChild(pid: number): ExitStatus | undefined {
  try {
    return reap(pid);
  } catch {
    return UNKNOWN_STATUS;
  }
}

export interface CommandResult {
  status: ExitStatus;
  /** Its stdout and stderr as they came; of very much, the beginning and the end. */
  output: string;
}

/** In bytes: more than any runtime has to say; a runaway one must not fill our memory. */
const OUTPUT_LIMIT = 1 << 20;
/** In bytes: what is kept of the end of still more. */
const OUTPUT_END = 8192;
/** In bytes: what a pipe holds. */
const PIPE_CAPACITY = 65536;
const buffer = Buffer.alloc(PIPE_CAPACITY);

/**
 * Runs a command to its end and collects what it prints, up to then: what it has left behind may print on.
 * @param options.signal kills it (SIGKILL) when aborted; the result is then rejected with the signal's reason
 * @throws what {@link spawn} throws
 */
export async function runCommand(
  path: string,
  argv: readonly string[],
  options: {
    env: readonly string[];
    cwd?: string;
    stdin?: string;
    /** What it says on stderr is thrown away: its stdout is an answer. */
    withoutStderr?: boolean;
    signal?: AbortSignal | undefined;
  },
): Promise<CommandResult> {
  options.signal?.throwIfAborted();
  const output = new BothEnds(OUTPUT_LIMIT, OUTPUT_END);
  const [reader, writer] = makePipe();
  let status: ExitStatus;
  try {
    let stdin = devNull;
    let child: Child;
    try {
      if (options.stdin !== undefined) stdin = makeMemFd("stdin", options.stdin);
      // In pieces, so that one that prints without an end gets its turn as any other.
      epoll.add(reader, EPOLLIN, () => {
        if (readPiece(reader, output) === 0) epoll.remove(reader);
      });
      child = await Child.spawn(path, argv, {
        env: options.env,
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        fds: [stdin, writer, options.withoutStderr ? devNull : writer],
      });
    } finally {
      closeSync(writer);
      if (stdin !== devNull) closeSync(stdin);
    }
    const kill = () => child.kill();
    options.signal?.addEventListener("abort", kill);
    if (options.signal?.aborted) kill();
    status = await child.exited;
    options.signal?.removeEventListener("abort", kill);
    for (let left = PIPE_CAPACITY; left > 0; ) {
      const count = readPiece(reader, output);
      if (count <= 0) break;
      left -= count;
    }
  } finally {
    epoll.remove(reader);
    closeSync(reader);
  }
  options.signal?.throwIfAborted();
  return { status, output: `${output}` };
}

/** How many bytes there were: 0 at the end, -1 when there are none yet. */
function readPiece(fd: number, output: BothEnds): number {
  try {
    const count = readSync(fd, buffer);
    output.append(Buffer.from(buffer.subarray(0, count)));
    return count;
  } catch (error) {
    if (hasCode(error, "EAGAIN")) return -1;
    throw error;
  }
}

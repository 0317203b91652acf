import { mkdtempSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { removeFolder } from "../bundle/remove-folder.js";
import { startTimer } from "../options/duration.js";
import { type Checks, callback, checkOptions, flag, pathText } from "../options/option-checks.js";
import { hangUpFifo, makeFifo, readFifo, writeFifo } from "./fifo.js";

export interface StdioOptions {
  /** Where the folder of the FIFOs is made; the daemon must see it at the same path. Default: the system's temporary folder. */
  dir?: string | undefined;
  /** The process gets a terminal: there is one output, and no stderr. */
  terminal?: boolean | undefined;
  /** Without an input the process reads nothing, and `stdin` takes nothing. Default: true. */
  input?: boolean | undefined;
  /** Called when `stdin` has been ended and all of it is in the FIFO: the moment to tell the daemon. */
  closeStdin?: (() => Promise<void>) | undefined;
}

const stdioChecks: Checks<StdioOptions> = { dir: pathText, terminal: flag, input: flag, closeStdin: callback };

/** The names of the FIFOs. */
const FIFOS = ["stdin", "stdout", "stderr"];

/** Milliseconds until there may be a descriptor again. */
const DESCRIPTOR_PAUSE = 100;

/**
 * FIFOs for a process's stdin, stdout and stderr in a folder of their own, and Node streams over them. Back-pressure
 * goes all the way: a reader that is slow, or does not read at all, holds up the process once the FIFO (64 KiB) is full.
 *
 * @example
 * const stdio = createStdio();
 * await client.v0.api.createContainer({ id, bundlePath, ...stdio.paths });
 * for await (const chunk of stdio.stdout) console.log(String(chunk));
 */
export function createStdio(options: StdioOptions = {}): Stdio {
  return new Stdio(options);
}

export class Stdio implements Disposable {
  /** What the daemon is told. `stderr` is empty with a terminal, `stdin` without an input. */
  readonly paths: { readonly stdin: string; readonly stdout: string; readonly stderr: string };
  /** `end()` closes the process's stdin once everything written has been handed over. */
  readonly stdin: Writable;
  /** Ends when the process, and whoever else had its output, has closed it. */
  readonly stdout: Readable;
  /** Ends at once with a terminal. */
  readonly stderr: Readable;
  readonly #dir: string;

  /** @param prefix of the folder's name */
  constructor(options: StdioOptions = {}, prefix = "ctr-") {
    checkOptions(options, stdioChecks);
    const { dir = tmpdir(), terminal = false, input = true, closeStdin } = options;
    // The daemon has another working directory.
    this.#dir = mkdtempSync(join(resolve(dir), prefix));
    const path = (name: string) => join(this.#dir, name);
    this.paths = {
      stdin: input ? path("stdin") : "",
      stdout: path("stdout"),
      stderr: terminal ? "" : path("stderr"),
    };
    try {
      for (const name of [...(input ? ["stdin"] : []), "stdout", "stderr"]) makeFifo(path(name));
      this.stdin = input ? new FifoWritable(writeFifo(path("stdin")), closeStdin) : noInput();
      this.stdout = readFifo(path("stdout"));
      this.stderr = readFifo(path("stderr"));
    } catch (error) {
      this.close();
      throw error;
    }
    if (terminal) hangUpFifo(path("stderr"));
  }

  /** To be called when the process has ended: `stdout` and `stderr` end after what is still in them, and the folder is removed. */
  finish(): void {
    this.stdin.destroy();
    try {
      hangUpFifo(join(this.#dir, "stdout"));
      hangUpFifo(join(this.#dir, "stderr"));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EMFILE" && code !== "ENFILE") throw error;
      setTimeout(() => this.finish(), DESCRIPTOR_PAUSE);
      return;
    }
    this.remove();
  }

  /** Resolves when what somebody is reading has come to its end, at the latest after so many milliseconds. */
  async drained(timeout: number): Promise<void> {
    const read = [this.stdout, this.stderr].filter(
      (stream) => !stream.destroyed && !stream.readableEnded && isRead(stream),
    );
    if (read.length === 0) return;
    const late = new AbortController();
    const stopTimer = startTimer(timeout, () => late.abort());
    // An error is the reader's matter.
    await Promise.allSettled(read.map((stream) => finished(stream, { signal: late.signal })));
    stopTimer();
  }

  /** Removes the folder. Streams that are open go on working. */
  remove(): void {
    removeFolder(this.#dir, FIFOS);
  }

  /** Closes everything at once; what has not been read is lost. */
  close(): void {
    // Not all are there when making them failed.
    for (const stream of [this.stdin, this.stdout, this.stderr] as (Writable | Readable | undefined)[])
      stream?.destroy();
    this.remove();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function isRead(stream: Readable): boolean {
  return stream.readableFlowing === true || stream.listenerCount("readable") > 0 || stream.listenerCount("data") > 0;
}

/**
 * A stdin for a process that nobody is attached to: it stays open, empty, for as long as the process runs (a shell goes on
 * waiting, where /dev/null would end it). Remove it once the process has started.
 */
export function detachedStdin(dir = tmpdir(), prefix = "ctr-"): { path: string; remove(): void } {
  const folder = mkdtempSync(join(resolve(dir), prefix));
  const remove = () => removeFolder(folder, FIFOS);
  try {
    const path = join(folder, "stdin");
    makeFifo(path);
    return { path, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** What is written to it is an error: it has ended. */
function noInput(): Writable {
  return new Writable().end();
}

/** Writes into a FIFO; its end is the caller's `closeStdin`, then the FIFO's. */
class FifoWritable extends Writable {
  readonly #socket: Socket;
  readonly #closeStdin: (() => Promise<void>) | undefined;

  constructor(socket: Socket, closeStdin: (() => Promise<void>) | undefined) {
    super({ highWaterMark: 64 * 1024 });
    this.#socket = socket;
    this.#closeStdin = closeStdin;
    socket.on("error", (error) => this.destroy(error));
    // Who writes learns of it by the write's own callback or by a listener: that nobody listens must not end the program.
    this.on("error", () => {});
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    // The FIFO is closed in any case: a daemon that is away must not keep the writer.
    const closed = (error?: unknown) => {
      this.#socket.destroy();
      done(error as Error | undefined);
    };
    if (this.#closeStdin) this.#closeStdin().then(() => closed(), closed);
    else closed();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

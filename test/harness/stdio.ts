/** The client's ends of a container's stdio. Nothing here ever blocks the loop: FIFOs are opened with O_NONBLOCK. */
import { execFileSync } from "node:child_process";
import { constants, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

/** Makes FIFOs, all with one spawn; those that a test's first try has left are replaced. */
export function makeFifos(...paths: string[]): void {
  for (const path of paths) rmSync(path, { force: true });
  execFileSync("mkfifo", ["-m", "600", ...paths]);
}

/** The reading end; it ends when the last writer has gone, not before the first one has come. */
export function openReader(path: string): Readable {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return new Socket({ fd, readable: true, writable: false });
}

/** A writing end that is there without a reader. */
export function openWriter(path: string): Writable {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  return new Socket({ fd, readable: false, writable: true });
}

/** What has come out of a stream. */
export interface Collected {
  /** Resolves at the end of the stream. */
  readonly whole: Promise<Buffer>;
  soFar(): Buffer;
}

/** Reads a stream from now to its end. */
export function collect(stream: Readable): Collected {
  const chunks: Buffer[] = [];
  const whole = new Promise<Buffer>((resolve, reject) => {
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => resolve(Buffer.concat(chunks)));
    stream.on("error", reject);
    // Destroyed at the end of a test, before its end.
    stream.on("close", () => resolve(Buffer.concat(chunks)));
    // Also one that was paused on purpose.
    stream.resume();
  });
  whole.catch(() => {});
  return { whole, soFar: () => Buffer.concat(chunks) };
}

/** FIFOs for one process, and the client's ends of them. */
export interface Stdio extends Disposable {
  /** As a request names them. */
  readonly paths: { stdin: string; stdout: string; stderr: string };
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

/** Makes the three FIFOs of a process in `directory`, their names beginning with `name`, and opens the client's ends. */
export function openStdio(directory: string, name: string): Stdio {
  const paths = {
    stdin: join(directory, `${name}.in`),
    stdout: join(directory, `${name}.out`),
    stderr: join(directory, `${name}.err`),
  };
  makeFifos(paths.stdin, paths.stdout, paths.stderr);
  const stdin = openWriter(paths.stdin);
  const stdout = openReader(paths.stdout);
  const stderr = openReader(paths.stderr);
  return {
    paths,
    stdin,
    stdout,
    stderr,
    [Symbol.dispose]() {
      for (const stream of [stdin, stdout, stderr]) stream.destroy();
    },
  };
}

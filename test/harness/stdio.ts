/** The client's ends of a container's stdio. Nothing here ever blocks the loop: FIFOs are opened with O_NONBLOCK. */
import { execFileSync } from "node:child_process";
import { constants, openSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

/** Makes FIFOs, all with one spawn. */
export function makeFifos(...paths: string[]): void {
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

/** Everything that comes out of a stream until its end. */
export async function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
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

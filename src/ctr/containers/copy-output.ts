import type { Readable, Writable } from "node:stream";

/**
 * Copies until the source's end; resolves when the last byte has been handed to the system. A slow target holds back the
 * source. When nobody reads the target any more, the rest is read and dropped, so that its writer is not held up.
 */
export function copyOutput(source: Readable, target: Writable): Promise<void> {
  return new Promise((resolve) => {
    const drop = () => {
      source.unpipe(target);
      source.resume();
    };
    target.once("error", drop);
    const end = () => {
      if (target.errored || target.destroyed) resolve();
      else target.write("", () => resolve());
    };
    source.once("end", end);
    source.once("error", end);
    if (target.errored) drop();
    else source.pipe(target, { end: false });
  });
}

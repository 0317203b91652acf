import { setImmediate } from "node:timers/promises";

/** In ms: after this long on the main thread others get their turn. */
const SLICE = 4;

/** The turns of a loop over many: a long one makes room for others. */
export class Slices {
  #end = performance.now() + SLICE;

  /** To be awaited in each round. */
  async next(): Promise<void> {
    if (performance.now() <= this.#end) return;
    await setImmediate();
    this.#end = performance.now() + SLICE;
  }
}

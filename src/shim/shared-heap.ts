/** The Lua heap of a spawner: what its shims share with it and each other until somebody writes to a page. */
import type { CData } from "ffi";
import * as ffi from "ffi";

/** Occupy the gaps between what is in use. */
let fillers: CData[] = [];

/**
 * Collects all garbage, and from then on none: each step would write to pages that the last shim shares, and to them again before the
 * next. The gaps that this leaves are filled: in them each small object that a shim makes would cost it a page of its own.
 */
export function settleHeap(): void {
  fillers = [];
  growStringTable();
  collectgarbage();
  collectgarbage("stop");
  for (let size = 4096; size > 256; size /= 2) fillGaps(size);
  // The small ones exactly: a gap that is half filled is as good a place for an object as one that is not.
  for (let size = 256; size >= 8; size -= 8) fillGaps(size);
}

/**
 * Has LuaJIT's table of strings doubled here, where it would be almost full: a shim that had to do it would write to every page with a
 * string on it.
 */
function growStringTable(): void {
  const texts: string[] = [];
  const count = 1024;
  for (const n of $range(1, count)) texts[n - 1] = `room for a string, ${n}`;
}

/** Fills gaps of this size, in bytes, until new objects lie one behind the other. */
function fillGaps(size: number): void {
  // Fewer may as well lie in one of the gaps.
  const enoughInRow = 16;
  // Each has a header, and is aligned.
  const furthestNext = size + 128;
  const mostFillers = 20000;
  let last = 0;
  let inRow = 0;
  for (let count = 0; count < mostFillers && inRow < enoughInRow; count++) {
    const filler = ffi.new("char[?]", size);
    fillers[fillers.length] = filler;
    const address = tonumber(ffi.cast("uintptr_t", filler))!;
    inRow = address > last && address < last + furthestNext ? inRow + 1 : 0;
    last = address;
  }
}

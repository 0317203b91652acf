/** Lines that are written at once, of pieces that lie where they are. */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { declare, outcome } from "./libc";
import { discard, mapMemory } from "./memory";

/** Of bytes. What it points at must stay as it is until it is written. */
export type Pointer = CData;

interface Piece extends CData {
  base: Pointer;
  length: unknown;
}
interface Pieces extends CData {
  [index: number]: Piece;
}

interface Libc {
  writev(this: void, fd: number, pieces: CData, count: number): number;
  memchr(this: void, data: Pointer, byte: number, length: number): Pointer | undefined;
}

const libc = declare(`
struct piece { const char *base; size_t length; };
int writev(int, const struct piece *, int);
const char *memchr(const char *, int, size_t);
`) as Libc;

declare const plus: LuaAddition<CData, number, CData>;
declare const minus: LuaSubtraction<CData, CData, number>;

/** The kernel takes no more at once. */
const MOST_PIECES = 1024;
const PIECE_LENGTH = 16;
const NEWLINE = 10;
/** Of less data compiling makes no difference. */
const COMPILED_FROM = 1024;

let memory: CData | undefined;
let pieces: Pieces | undefined;
/** How many of them are in use. */
let used = 0;
/** Of all of them, in bytes. */
let total = 0;

function allPieces(): Pieces {
  memory ??= mapMemory(MOST_PIECES * PIECE_LENGTH);
  if (pieces === undefined) {
    pieces = ffi.cast("struct piece *", memory) as Pieces;
    // Nothing but the one loop: from where that is left the compiler would go on through half of the shim.
    jit.opt.start("hotexit=1000");
  }
  return pieces;
}

/** Where a byte lies that comes so much later. */
export function after(pointer: Pointer, length: number): Pointer {
  return plus(pointer, length);
}

/** How long the line is that begins there, with its newline; undefined when the data ends before it does. */
export function lineLength(data: Pointer, most: number): number | undefined {
  const found = libc.memchr(data, NEWLINE, most);
  return found === undefined ? undefined : minus(found, data) + 1;
}

/** Whether there may be no room for one more line. */
export function isFull(): boolean {
  const mostOfLine = 4;
  return used > MOST_PIECES - mostOfLine;
}

/** Takes one more piece. */
export function add(base: Pointer, size: number): void {
  const piece = allPieces()[used];
  piece.base = base;
  piece.length = size;
  used++;
  total += size;
}

/** How many bytes all of them have. */
export function length(): number {
  return total;
}

/**
 * Takes every whole line of the data, each behind a head, until it is full.
 *
 * @returns how far it has come, and how many lines that were
 */
export function addLines(
  head: Pointer,
  headLength: number,
  data: Pointer,
  from: number,
  to: number,
): LuaMultiReturn<[number, number]> {
  const list = allPieces();
  const isMuch = to - from >= COMPILED_FROM;
  if (isMuch) jit.on();
  const [at, lines] = take(list, head, headLength, data, from, to);
  if (isMuch) jit.off();
  total += at - from + lines * headLength;
  return $multi(at, lines);
}

/** The one thing in a shim that may have to be fast: compiled, it makes no garbage, and costs little more than its call of memchr. */
function take(
  list: Pieces,
  head: Pointer,
  headLength: number,
  data: Pointer,
  from: number,
  to: number,
): LuaMultiReturn<[number, number]> {
  let index = used;
  let at = from;
  let lines = 0;
  while (at < to && index + 2 <= MOST_PIECES) {
    const start = plus(data, at);
    const found = libc.memchr(start, NEWLINE, to - at);
    if (found === undefined) break;
    const size = minus(found, start) + 1;
    list[index].base = head;
    list[index].length = headLength;
    list[index + 1].base = start;
    list[index + 1].length = size;
    index += 2;
    at += size;
    lines++;
  }
  used = index;
  return $multi(at, lines);
}

/** Writes the pieces but the first `skipped`. Bytes, or a negative errno. */
export function write(fd: number, skipped: number): number {
  return outcome(libc.writev(fd, plus(allPieces(), skipped), used - skipped));
}

/**
 * What of the pieces but the first `skipped` was written as whole lines.
 *
 * @returns how many pieces, and bytes, these are; and how many lines the others
 */
export function wholeLines(skipped: number, written: number): LuaMultiReturn<[number, number, number]> {
  const list = allPieces();
  let count = 0;
  let bytes = 0;
  let others = 0;
  let end = 0;
  for (const index of $range(skipped, used - 1)) {
    const piece = list[index];
    const size = tonumber(piece.length)!;
    end += size;
    if (ffi.string(plus(piece.base, size - 1), 1) !== "\n") continue;
    if (end > written) others++;
    else {
      count = index + 1 - skipped;
      bytes = end;
    }
  }
  return $multi(count, bytes, others);
}

/** Lets go of all pieces. */
export function clear(): void {
  used = 0;
  total = 0;
}

/** Gives back the memory that many lines have taken. */
export function shrink(): void {
  if (memory !== undefined) discard(memory, MOST_PIECES * PIECE_LENGTH);
  jit.flush();
}

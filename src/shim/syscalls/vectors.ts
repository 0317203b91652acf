/**
 * Lines that are written at once, of pieces that lie where they are. An address is a Lua number here: as a C value each would be garbage,
 * and collecting that writes to all of the heap, which a forked shim shares until then.
 */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { declare, outcome } from "./libc";
import { addressOf, discard, mapMemory } from "./memory";

/** Of bytes. What it points at must stay as it is until it is written. */
export type Address = number;

interface Words extends CData {
  [index: number]: number;
}

interface Libc {
  writev(this: void, fd: number, pieces: Address, count: number): number;
  memchr(this: void, data: Address, byte: number, length: number): number;
  memcpy(this: void, target: Address, source: Address, length: number): number;
  memccpy(this: void, target: Address, source: string, end: number, length: number): number;
  memcmp(this: void, data: Address, text: string, length: number): number;
}

// Of an address that is returned the lower half is looked at, which is all that tells two bytes of a buffer apart.
const libc = declare(`
int writev(int, uintptr_t, int);
int memchr(uintptr_t, int, size_t);
int memcpy(uintptr_t, uintptr_t, size_t);
int memccpy(uintptr_t, const char *, int, size_t);
int memcmp(uintptr_t, const char *, size_t);
`) as Libc;

/** The kernel takes no more at once. */
const MOST_PIECES = 1024;
const PIECE_LENGTH = 16;
const NEWLINE = 10;
/** Of less data compiling makes no difference. */
const COMPILED_FROM = 1024;

let memory: CData | undefined;
/** Of each piece its address and its length. */
let pieces: Words | undefined;
let firstPiece = 0;
/** How many of them are in use. */
let used = 0;
/** Of all of them, in bytes. */
let total = 0;

function allPieces(): Words {
  if (pieces === undefined) {
    memory = mapMemory(MOST_PIECES * PIECE_LENGTH);
    firstPiece = addressOf(memory);
    pieces = ffi.cast("uint64_t *", memory) as Words;
    // Nothing but the one loop: from where that is left the compiler would go on through half of the shim.
    jit.opt.start("hotexit=1000");
  }
  return pieces;
}

/** How long the line is that begins there, with its newline, which must be among the first `most` bytes. */
export function lineLength(data: Address, most: number): number {
  // The difference of two lower halves is right modulo 2^32.
  return ((libc.memchr(data, NEWLINE, most) - (data | 0)) | 0) + 1;
}

/** Copies bytes that do not overlap. */
export function copy(target: Address, source: Address, length: number): void {
  libc.memcpy(target, source, length);
}

/** Copies the bytes of a text, none of which is NUL. */
export function copyText(target: Address, text: string): void {
  libc.memccpy(target, text, 0, text.length);
}

/** Whether there may be no room for one more line. */
export function isFull(): boolean {
  const mostOfLine = 4;
  return used > MOST_PIECES - mostOfLine;
}

/** Takes one more piece. */
export function add(base: Address, size: number): void {
  const list = allPieces();
  list[used * 2] = base;
  list[used * 2 + 1] = size;
  used++;
  total += size;
}

/** How many bytes all of them have. */
export function length(): number {
  return total;
}

/**
 * Takes every whole line of the data, each behind a head, until it is full. Behind the data there must be a newline.
 *
 * @returns how far it has come, and how many lines that were
 */
export function addLines(
  head: Address,
  headLength: number,
  data: Address,
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
  list: Words,
  head: Address,
  headLength: number,
  data: Address,
  from: number,
  to: number,
): LuaMultiReturn<[number, number]> {
  let index = used;
  let at = from;
  let lines = 0;
  while (at < to && index + 2 <= MOST_PIECES) {
    const start = data + at;
    const size = lineLength(start, to - at + 1);
    // That is the newline behind the data.
    if (at + size > to) break;
    list[index * 2] = head;
    list[index * 2 + 1] = headLength;
    list[index * 2 + 2] = start;
    list[index * 2 + 3] = size;
    index += 2;
    at += size;
    lines++;
  }
  used = index;
  return $multi(at, lines);
}

/** Writes the pieces but the first `skipped`. Bytes, or a negative errno. */
export function write(fd: number, skipped: number): number {
  return outcome(libc.writev(fd, firstPiece + skipped * PIECE_LENGTH, used - skipped));
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
    const size = tonumber(list[index * 2 + 1])!;
    end += size;
    if (libc.memcmp(tonumber(list[index * 2])! + size - 1, "\n", 1) !== 0) continue;
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
}

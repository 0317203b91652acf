/** The fields of a header block. */
import type { Bytes, EntryType } from "./archive-entry.js";
import { ArchiveError } from "./archive-error.js";

export const BLOCK = 512;

const TYPES: Readonly<Record<string, EntryType>> = {
  "\0": "file",
  0: "file",
  1: "hardlink",
  2: "symlink",
  3: "character-device",
  4: "block-device",
  5: "directory",
  6: "fifo",
  // Contiguous, and sparse in GNU's old way.
  7: "file",
  S: "file",
};

export function entryType(flag: string): EntryType | undefined {
  return Object.hasOwn(TYPES, flag) ? TYPES[flag] : undefined;
}

/** Bytes up to the first that is 0. */
export function text(block: Buffer, at: number, length: number): Bytes {
  let end = at;
  while (end < at + length && block[end] !== 0) end++;
  return block.toString("latin1", at, end);
}

/** With the prefix that the two forms of POSIX and star have. */
export function nameIn(block: Buffer, at: number): Bytes {
  const name = text(block, at, 100);
  if (block[at + 345] === 0 || block.toString("latin1", at + 257, at + 263) !== "ustar\0") return name;
  const isStar = block.toString("latin1", at + 508, at + 512) === "tar\0";
  return `${text(block, at + 345, isStar ? 131 : 155)}/${name}`;
}

/** False for a block that is no header. */
export function hasRightChecksum(block: Buffer, at: number): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= 148 && i < 156 ? 0x20 : block[at + i]!;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  const said = number(block, at + 148, 8);
  // Some old programs have added signed characters.
  return said === unsigned || said === signed;
}

export function isZero(block: Buffer, at: number): boolean {
  for (let i = at; i < at + BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** A number in octal digits, or in two's complement when the first bit is 1; NaN when it is neither, or not exact here. */
function number(block: Buffer, at: number, length: number): number {
  if (block[at]! & 0x80) return base256(block, at, length);
  let value = 0;
  let i = at;
  const end = at + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  for (; i < end; i++) {
    const digit = block[i]! - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; i < end; i++) if (block[i] !== 0x20 && block[i] !== 0) return Number.NaN;
  return value <= Number.MAX_SAFE_INTEGER ? value : Number.NaN;
}

function base256(block: Buffer, at: number, length: number): number {
  // Of the first byte the highest bit is the mark, and the next one the sign.
  let value = (block[at]! & 0x40) === 0 ? block[at]! & 0x3f : (block[at]! & 0x7f) - 128;
  for (let i = at + 1; i < at + length; i++) value = value * 256 + block[i]!;
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

/** A field that must be a number. */
export function field(block: Buffer, at: number, length: number, what: string): number {
  const value = number(block, at, length);
  if (Number.isNaN(value)) throw new ArchiveError(`a header whose ${what} can't be read`);
  return value;
}

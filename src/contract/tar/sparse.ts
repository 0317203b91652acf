/** Files with holes, in the four forms in which GNU tar writes them: where their data is. */
import type { Bytes } from "./archive-entry.js";
import { ArchiveError } from "./archive-error.js";
import { BLOCK, field } from "./header.js";
import { decimal } from "./pax.js";

/** More parts than this are refused: each takes memory. */
const MAX_PARTS = 1 << 20;

/** Offsets and lengths of the parts that have data, in turns. */
export type SparseMap = number[];

/** Adds parts of a header's table in the old form. */
export function addOldParts(map: SparseMap, block: Buffer, at: number, parts: number): void {
  for (let part = 0; part < parts; part++) {
    const offset = at + part * 24;
    // An empty one ends it.
    if (block[offset] === 0) return;
    map.push(field(block, offset, 12, "table of data"), field(block, offset + 12, 12, "table of data"));
  }
  if (map.length > 2 * MAX_PARTS) throw new ArchiveError("it has too many holes");
}

/** The form of the years before the last one: in a record of the extended header. */
export function mapOfText(text: string): SparseMap {
  return text === "" ? [] : text.split(",").map(mapNumber);
}

export function mapNumber(text: Bytes): number {
  const number = decimal(text);
  if (Number.isNaN(number)) throw new ArchiveError("a table of data that can't be read");
  return number;
}

/** The newest form: lines at the begin of the data, up to a whole block. */
export class SparseMapReader {
  readonly map: SparseMap = [];
  #wanted = -1;
  #line = "";

  /** Takes a block; true when that was the last. */
  take(block: Buffer, at: number): boolean {
    for (let i = at; i < at + BLOCK; i++) {
      if (block[i] !== 0x0a) {
        if (this.#line.length > 16) throw new ArchiveError("a table of data that can't be read");
        this.#line += String.fromCharCode(block[i]!);
        continue;
      }
      const number = mapNumber(this.#line);
      this.#line = "";
      if (this.#wanted === -1) {
        if (number > MAX_PARTS) throw new ArchiveError("it has too many holes");
        this.#wanted = 2 * number;
      } else this.map.push(number);
      if (this.map.length === this.#wanted) return true;
    }
    return false;
  }
}

/**
 * Makes sure that the parts follow each other inside of the file and are what the archive has of it.
 * @param stored in bytes, what of the file is in the archive
 */
export function checkMap(map: SparseMap, size: number, stored: number): void {
  let end = 0;
  let sum = 0;
  for (let i = 0; i < map.length; i += 2) {
    const length = map[i + 1];
    if (length === undefined || map[i]! < end || map[i]! + length > size)
      throw new ArchiveError("its table of data contradicts itself");
    end = map[i]! + length;
    sum += length;
  }
  if (sum !== stored) throw new ArchiveError(`its table has ${sum} bytes of data, the archive ${stored}`);
}

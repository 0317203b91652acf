/** Memory that the Lua heap is no part of. */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { readFile } from "./files";
import { declare } from "./libc";

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MADV_DONTNEED = 4;

interface Libc {
  mmap(
    this: void,
    address: undefined,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ): CData;
  madvise(this: void, address: CData, length: number, advice: number): number;
}

const libc = declare(`
void *mmap(void *, size_t, int, int, int, long);
int madvise(void *, size_t, int);
`) as Libc;

/** Start and length of every mapping of program text; a forked child has the same. */
let textMappings: [number, number][] | undefined;

/** Memory that the garbage collector does not know and that can be given back with `discard`. */
export function mapMemory(length: number): CData {
  return libc.mmap(undefined, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
}

/** Where it lies, as a number: that is no garbage where a pointer would be. */
export function addressOf(memory: CData): number {
  return tonumber(ffi.cast("uintptr_t", memory))!;
}

/** Gives the pages of mapped memory back; they read as zeros when they are used again. */
export function discard(memory: CData, length: number): void {
  libc.madvise(memory, length, MADV_DONTNEED);
}

/** Looks up what `releaseText` gives back, so that no forked child has to. */
export function findText(): [number, number][] {
  if (textMappings !== undefined) return textMappings;
  const found: [number, number][] = [];
  const maps = readFile("/proc/self/maps");
  if (typeof maps === "string") {
    // The first line is never text; anonymous text (inode 0) could not come back.
    for (const [from, to] of string.gmatch(maps, "\n(%x+)-(%x+) r%-xp %x+ %x+:%x+ [1-9]")) {
      const start = tonumber(from, 16)!;
      found[found.length] = [start, tonumber(to, 16)! - start];
    }
  }
  textMappings = found;
  return found;
}

/**
 * Takes program text out of our page table: it is shared and comes back by itself, page by page as it is used, but as long as it is
 * mapped it counts as ours when the kernel looks for somebody to kill.
 */
export function releaseText(): void {
  for (const [start, length] of findText()) libc.madvise(ffi.cast("void *", start), length, MADV_DONTNEED);
}

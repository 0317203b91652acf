import { close, closeSync, constants, open, read } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { hasCode, libc, systemError } from "./libc.js";

const statx = libc.func("int statx(int dir, const char *path, int flags, uint32_t mask, uint8_t *result)");
const AT_EMPTY_PATH = 0x1000;
/** Tells what the kernel knows, and asks no server for it. */
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_TYPE = 0x1;
const STATX_SIZE = 0x200;
/** struct statx (statx(2)), and where in it stx_mode and stx_size are. */
const found = Buffer.alloc(256);
const MODE_OFFSET = 28;
const SIZE_OFFSET = 40;

/** Finds the file and does nothing else: a device notices nothing, a FIFO's other side neither. */
const O_PATH = 0o10000000;

/** In ms: how soon a file is tried again that somebody has a lease on (F_SETLEASE), who was just told to give it up. */
const LEASE_INTERVAL = 20;

// Not node:fs/promises: each of these is a trip to another thread and back, and its FileHandle knows no other way to be closed.
const openFile = promisify(open);
const closeFile = promisify(close);
const readFile = promisify(read);

/** What is there is no file that can be read to its end. */
export class UnfitFile extends Error {}

/**
 * Reads a file that somebody else may have made, or put in another's place. Only a regular one is opened, never waiting for anybody, and no
 * more is taken than `limit` bytes; a file system that does not answer can still hold it up.
 * @param signal aborted when nobody waits for it any more
 * @throws a system error that names the path, {@link UnfitFile}, or the signal's reason
 */
export async function readRegularFile(path: string, limit: number, signal?: AbortSignal): Promise<Buffer> {
  const place = await openFile(path, O_PATH);
  let size: number;
  let fd: number;
  try {
    size = sizeOf(place, path);
    if (size > limit) throw tooLarge(path, limit);
    fd = await openPlace(place, path, signal);
  } finally {
    // Of a descriptor that is only a place no file system hears.
    closeSync(place);
  }
  try {
    return await readWhole(fd, path, size, limit, signal);
  } finally {
    await closeFile(fd);
  }
}

/** @param size what the file is likely to have */
async function readWhole(fd: number, path: string, size: number, limit: number, signal: AbortSignal | undefined) {
  // One more, to see the end.
  let content = Buffer.alloc(size + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await readFile(fd, content, length, content.length - length, null).catch(
      naming("read", path),
    );
    length += bytesRead;
    if (length > limit) throw tooLarge(path, limit);
    // As much as it was said to have, and there was room for more.
    if (bytesRead === 0 || (length === size && length > 0)) return content.subarray(0, length);
    // It has grown, or is one of /proc, which have no size.
    if (length === content.length)
      content = Buffer.concat([content, Buffer.alloc(Math.min(length, limit - length) + 1)]);
    signal?.throwIfAborted();
  }
}

/** Of what was found; it asks nobody who may not answer. Throws {@link UnfitFile} for what is no regular file. */
function sizeOf(place: number, path: string): number {
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if (statx(place, "", flags, STATX_TYPE | STATX_SIZE, found) !== 0) throw systemError("stat", path);
  const type = found.readUInt16LE(MODE_OFFSET) & constants.S_IFMT;
  if (type === constants.S_IFREG) return Number(found.readBigUInt64LE(SIZE_OFFSET));
  throw new UnfitFile(`${path}: ${type === constants.S_IFDIR ? "is a directory" : "not a regular file"}`);
}

async function openPlace(place: number, path: string, signal: AbortSignal | undefined): Promise<number> {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
  for (;;) {
    try {
      return await openFile(`/proc/self/fd/${place}`, flags);
    } catch (error) {
      if (!hasCode(error, "EAGAIN")) return naming("open", path)(error);
    }
    signal?.throwIfAborted();
    await delay(LEASE_INTERVAL);
  }
}

function tooLarge(path: string, limit: number): UnfitFile {
  return new UnfitFile(`${path}: larger than ${limit} bytes`);
}

function naming(syscall: string, path: string) {
  return (error: unknown): never => {
    throw Object.assign(error as Error, { syscall, path });
  };
}

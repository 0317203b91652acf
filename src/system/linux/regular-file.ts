import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { hasCode } from "./libc.js";

/** Finds the file and does nothing else: a device notices nothing, a FIFO's other side neither. */
const O_PATH = 0o10000000;

/** In ms: how soon a file is tried again that somebody has a lease on (F_SETLEASE), who was just told to give it up. */
const LEASE_INTERVAL = 20;

/** What is there is no file that can be read to its end. */
export class UnfitFile extends Error {}

/**
 * Reads a file that somebody else may have made, or put in another's place. Only a regular one is opened, never waiting for anybody, and no more
 * is taken than `limit` bytes; a file system that does not answer can still hold it up.
 * @param signal aborted when nobody waits for it any more
 * @throws a system error that names the path, {@link UnfitFile}, or the signal's reason
 */
export async function readRegularFile(path: string, limit: number, signal?: AbortSignal): Promise<Buffer> {
  await using place = await open(path, O_PATH);
  const { size } = await stat(place, path);
  if (size > limit) throw tooLarge(path, limit);
  await using file = await openPlace(place, path, signal);
  // One more, to see the end.
  let content = Buffer.alloc(size + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(content, length, content.length - length, null).catch(naming("read", path));
    if (bytesRead === 0) return content.subarray(0, length);
    length += bytesRead;
    if (length > limit) throw tooLarge(path, limit);
    // It has grown, or is one of /proc, which have no size.
    if (length === content.length)
      content = Buffer.concat([content, Buffer.alloc(Math.min(length, limit - length) + 1)]);
    signal?.throwIfAborted();
  }
}

async function stat(place: FileHandle, path: string): Promise<{ size: number }> {
  const info = await place.stat().catch(naming("stat", path));
  if (!info.isFile()) throw new UnfitFile(`${path}: ${info.isDirectory() ? "is a directory" : "not a regular file"}`);
  return info;
}

async function openPlace(place: FileHandle, path: string, signal: AbortSignal | undefined): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
  for (;;) {
    try {
      return await open(`/proc/self/fd/${place.fd}`, flags);
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

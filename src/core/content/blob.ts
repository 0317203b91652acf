import { type FileHandle, open } from "node:fs/promises";
import { hasCode } from "../../system/linux/libc.js";
import { Failure, refusal } from "../failure/failure.js";
import type { ContentInfo } from "./content.js";

/** In bytes: how much is read at a time. A reader that takes its time holds three of them, and there may be hundreds of such. */
export const CHUNK = 256 << 10;

/** A blob that is open for reading: it stays readable until it is closed, also when it is deleted meanwhile. */
export class Blob {
  readonly info: ContentInfo;
  /** Of the file: it is there for as long as the content is. */
  readonly path: string;
  readonly #file: FileHandle;

  private constructor(info: ContentInfo, path: string, file: FileHandle) {
    this.info = info;
    this.path = path;
    this.#file = file;
  }

  /** @throws Failure (not-found) when the file is gone; a system error */
  static async open(info: ContentInfo, path: string): Promise<Blob> {
    try {
      return new Blob(info, path, await open(path, "r"));
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      const why = `content ${info.digest} is damaged: somebody has removed ${path}; write, pull or import it again`;
      throw new Failure("not-found", "refused", { why });
    }
  }

  /**
   * @param offset in bytes
   * @param size in bytes; default: up to the end
   * @param room in bytes: how much of a chunk's memory is free before it
   * @returns chunks of up to 256 KiB, each in memory of its own
   */
  async *read(
    offset = 0,
    size = this.info.size - offset,
    room = 0,
  ): AsyncGenerator<Buffer<ArrayBuffer>, void, undefined> {
    for await (const chunk of fileChunks(this.#file, offset, offset + size, room)) yield chunk;
  }

  /** All of it. @param max in bytes. @throws Failure (invalid-argument) when it is larger */
  async bytes(max: number): Promise<Buffer> {
    const { digest, size } = this.info;
    if (size > max) throw refusal(`content ${digest} has ${size} bytes: more than ${max}`);
    const chunks: Buffer[] = [];
    for await (const chunk of this.read()) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/**
 * A part of a file, each chunk in memory of its own.
 * @param end in bytes; the file may be shorter
 * @param room in bytes: how much of that memory is free before the chunk
 */
export async function* fileChunks(
  file: FileHandle,
  start: number,
  end: number,
  room = 0,
): AsyncGenerator<Buffer<ArrayBuffer>, void, undefined> {
  for (let position = start; position < end; ) {
    const size = Math.min(CHUNK, end - position);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(room + size), room, size, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(room, room + bytesRead);
  }
}

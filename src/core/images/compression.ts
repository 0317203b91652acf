import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Decompress } from "fzstd";
import { refusal } from "../failure/failure.js";

/** What an archive's first bytes say that it is compressed by. */
export type Compression = "none" | "gzip" | "zstd";

const MAGIC: readonly (readonly [name: string, bytes: Buffer])[] = [
  ["gzip", Buffer.from([0x1f, 0x8b])],
  ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ["bzip2", Buffer.from("BZh")],
];

/** In bytes: what may come out of few bytes anyway. */
const ALWAYS_TAKEN = 64 << 20;
/** More than so many times of what went in … */
const MAX_RATIO = 100;
/** … is only taken while so many bytes stay free on the disk. */
const FREE = 10 * 2 ** 30;
/** In bytes: after so many it is looked anew how many are free. */
const LOOK = 64 << 20;

/** @throws Failure (invalid-argument) for what can't be decompressed here */
export function compressionOf(head: Buffer): Compression {
  const found = MAGIC.find(([, bytes]) => head.subarray(0, bytes.length).equals(bytes))?.[0] ?? "none";
  if (found === "xz" || found === "bzip2")
    throw refusal(`the archive is compressed by ${found}: give it as it is, or compressed by gzip or zstd`);
  return found as Compression;
}

/**
 * What was compressed.
 * @param free how many bytes are free where it goes
 * @throws Failure (invalid-argument) for what is not, is cut off, or becomes far larger than anything real; what `data` does
 */
export async function* decompress(
  data: AsyncIterable<Buffer>,
  compression: Compression,
  free: () => Promise<number>,
): AsyncGenerator<Buffer> {
  if (compression === "none") {
    yield* data;
    return;
  }
  const [input, output] = [
    { bytes: 0, failure: undefined as unknown },
    compression === "gzip" ? createGunzip() : unzstd(),
  ];
  const counted = async function* () {
    const iterator = data[Symbol.asyncIterator]();
    // What is thrown at a yield is of who takes it, and no failure of the data.
    const next = () =>
      iterator.next().catch((error: unknown) => {
        input.failure = error;
        throw error;
      });
    try {
      for (let taken = await next(); taken.done !== true; taken = await next()) {
        input.bytes += taken.value.length;
        yield taken.value;
      }
    } finally {
      await iterator.return?.();
    }
  };
  const fed = pipeline(Readable.from(counted(), { objectMode: false }), output);
  // It is told to who reads as well.
  fed.catch(() => {});
  let bytes = 0;
  let looked = 0;
  try {
    for await (const chunk of output as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > ALWAYS_TAKEN && bytes > MAX_RATIO * input.bytes && bytes - looked > LOOK) {
        looked = bytes;
        if ((await free()) < FREE)
          throw refusal(
            `the archive is refused: its first ${input.bytes} bytes become ${bytes}, and the disk has no room for that`,
          );
      }
      yield chunk;
    }
    await fed;
  } catch (error) {
    if (input.failure !== undefined) throw input.failure;
    if (typeof (error as NodeJS.ErrnoException).code === "string" || error instanceof ZstdError)
      throw refusal(`the archive is damaged: ${compression}: ${(error as Error).message}`);
    throw error;
  } finally {
    output.destroy();
  }
}

class ZstdError extends Error {}

function unzstd(): Transform {
  let isBegun = false;
  const decoder = new Decompress((chunk) => stream.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)));
  const push = (chunk: Buffer, isLast: boolean, done: (error?: Error) => void) => {
    try {
      isBegun = true;
      decoder.push(chunk, isLast);
      done();
    } catch (error) {
      done(new ZstdError((error as Error).message));
    }
  };
  const stream: Transform = new Transform({
    transform: (chunk: Buffer, _, done) => push(chunk, false, done),
    flush: (done) => (isBegun ? push(Buffer.alloc(0), true, done) : done()),
  });
  return stream;
}

/** The first bytes of data, and all of it. */
export async function peek(
  data: AsyncIterable<Buffer>,
  length: number,
): Promise<{ head: Buffer; all: AsyncIterable<Buffer> }> {
  const iterator = data[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isOver = false;
  while (bytes < length && !isOver) {
    const { value, done } = await iterator.next();
    isOver = done === true;
    if (!isOver) {
      chunks.push(value as Buffer);
      bytes += (value as Buffer).length;
    }
  }
  const all = async function* () {
    try {
      yield* chunks.splice(0);
      while (!isOver) {
        const { value, done } = await iterator.next();
        if (done) return;
        yield value as Buffer;
      }
    } finally {
      await iterator.return?.();
    }
  };
  return { head: Buffer.concat(chunks), all: all() };
}

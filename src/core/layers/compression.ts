import * as zlib from "node:zlib";
import { Decompress } from "fzstd";
import { ArchiveError } from "../../contract/tar/archive-error.js";
import { ZstdFrames } from "./zstd-frames.js";

type Compression = "gzip" | "zstd" | "none";

/** In bytes: what comes out of a decompressor at once. Each piece is a turn of two threads, so they are not small. */
const PIECE = 1 << 19;
/** So many pieces are decompressed before the first of them is worked on: that is done by another thread. */
const AHEAD = 2;
/** The types of Node don't have all of a stream's options here. */
const OPTIONS: zlib.ZlibOptions = { chunkSize: PIECE, ...{ readableObjectMode: true, readableHighWaterMark: AHEAD } };

/** @param start the first 4 bytes, or all that there are */
function compressionOf(start: Buffer): Compression {
  if (start.length < 4) return "none";
  if (start[0] === 0x1f && start[1] === 0x8b) return "gzip";
  const magic = start.readUInt32LE(0);
  return magic === 0xfd2fb528 || magic >>> 4 === 0x184d2a5 ? "zstd" : "none";
}

/** What a media type says; undefined where it says nothing: Docker and others have called compressed layers plain ones. */
function saidBy(mediaType: string): Compression | undefined {
  if (/[.+]gzip$/.test(mediaType)) return "gzip";
  return /[.+]zstd$/.test(mediaType) ? "zstd" : undefined;
}

/**
 * Decompresses a blob, or takes it as it is.
 * @param pieces of the blob; each is free to be written over when the next one is asked for
 * @param take is given what comes out of it, which is written over afterwards; what it throws ends this
 */
export async function decompress(
  pieces: AsyncIterable<Buffer>,
  mediaType: string,
  take: (bytes: Buffer) => void,
): Promise<void> {
  const iterator = pieces[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < 4) {
    const { value, done } = await iterator.next();
    if (done) break;
    start = Buffer.concat([start, value]);
  }
  const compression = compressionOf(start);
  const said = saidBy(mediaType);
  if (said !== undefined && said !== compression)
    throw new ArchiveError(
      `its media type is ${mediaType}, but it is compressed by ${compression === "none" ? "nothing" : compression}`,
    );
  const all = (async function* () {
    yield start;
    yield* { [Symbol.asyncIterator]: () => iterator };
  })();
  if (compression === "none") for await (const piece of all) take(piece);
  else if (compression === "gzip") await throughStream(zlib.createGunzip(OPTIONS), all, take);
  else await unzstd(all, take);
}

/** Frame by frame. Node 22 and later have zstd, too, but end with the first frame, and take half of one for a whole one. */
async function unzstd(pieces: AsyncIterable<Buffer>, take: (bytes: Buffer) => void): Promise<void> {
  let frame: Decompress | undefined;
  const frames = new ZstdFrames((bytes, isFirst, isLast) => {
    if (isFirst) frame = new Decompress((data) => take(Buffer.from(data.buffer, data.byteOffset, data.length)));
    try {
      frame!.push(Buffer.from(bytes), isLast);
    } catch (error) {
      throw isOfZstd(error) ? new ArchiveError(`zstd: ${error.message}`) : error;
    }
  });
  for await (const piece of pieces) frames.push(piece);
  frames.end();
}

function isOfZstd(error: unknown): error is Error {
  return (
    error instanceof RangeError || (error instanceof Error && typeof (error as { code?: unknown }).code === "number")
  );
}

/** Has a stream of Node's, which works in a thread of its own, decompress. */
async function throughStream(
  stream: zlib.Gunzip,
  pieces: AsyncIterable<Buffer>,
  take: (bytes: Buffer) => void,
): Promise<void> {
  const written = write(stream, pieces);
  // What it fails with is seen by the reader below, which `write` destroys then.
  written.catch((error) => stream.destroy(error));
  try {
    for await (const piece of reusing(stream)) take(piece);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (typeof code === "string" && /^Z_/.test(code))
      throw new ArchiveError(`it can't be decompressed: ${(error as Error).message}`);
    throw error;
  } finally {
    stream.destroy();
  }
  await written;
}

/**
 * The pieces that come out of a stream of Node's. It makes a buffer for each, whose pages the kernel has to find and clear: here it gets
 * one again whose pieces were worked on. Where it keeps its buffer is not documented; by another name it goes on with those that it makes.
 */
async function* reusing(stream: zlib.Gunzip): AsyncGenerator<Buffer> {
  const spare: Buffer[] = [];
  let buffer = (stream as zlib.Gunzip & { _outBuffer?: Buffer })._outBuffer;
  if (buffer !== undefined)
    Object.defineProperty(stream, "_outBuffer", {
      get: () => buffer,
      set: (made: Buffer) => {
        buffer = spare.pop() ?? made;
      },
    });
  let before: ArrayBufferLike | undefined;
  for await (const piece of stream as AsyncIterable<Buffer>) {
    // They come in their order: nothing more is written to the one before, nor read.
    if (before !== undefined && before !== piece.buffer && before.byteLength === PIECE) spare.push(Buffer.from(before));
    before = piece.buffer;
    yield piece;
  }
}

async function write(stream: zlib.Gunzip, pieces: AsyncIterable<Buffer>): Promise<void> {
  for await (const piece of pieces) {
    if (stream.destroyed || stream.readableEnded) break;
    await new Promise<void>((resolve) => {
      const done = () => {
        stream.off("close", done);
        resolve();
      };
      // It never answers when it is destroyed meanwhile.
      stream.once("close", done);
      stream.write(piece, done);
    });
  }
  stream.end();
}

import { Readable } from "node:stream";
import { createGzip, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { type Compression, compressionOf, decompress, peek } from "./compression.js";

async function* pieces(bytes: Buffer, size = 10_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(data: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of data) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const plain = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251));
/** Of six times "hello", by zstd(1). */
const ZSTD = Buffer.from("KLUv/QRYbQAAOGhlbGxvIAoBALlLEWsfCGc=", "base64");
const unpack = (bytes: Buffer, compression: Compression, free = 0) =>
  all(decompress(pieces(bytes), compression, async () => free));

test("what it is compressed by shows in the first bytes", () => {
  expect(compressionOf(plain)).toBe("none");
  expect(compressionOf(Buffer.alloc(0))).toBe("none");
  expect(compressionOf(gzipSync("x"))).toBe("gzip");
  expect(compressionOf(Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0]))).toBe("zstd");
  expect(() => compressionOf(Buffer.from("BZh91"))).toThrow("the archive is compressed by bzip2");
});

test("what was compressed comes back, whatever the pieces", async () => {
  expect(await unpack(gzipSync(plain), "gzip")).toEqual(plain);
  expect(await unpack(Buffer.concat([gzipSync("one"), gzipSync("two")]), "gzip")).toEqual(Buffer.from("onetwo"));
  expect((await unpack(ZSTD, "zstd")).toString()).toBe("hello hello hello hello hello hello\n");
  expect(await unpack(plain, "none")).toEqual(plain);
});

test("what is damaged or cut off is refused", async () => {
  const zipped = gzipSync(plain);
  await expect(unpack(zipped.subarray(0, 1000), "gzip")).rejects.toMatchObject({ kind: "invalid-argument" });
  await expect(unpack(plain, "gzip")).rejects.toThrow(/the archive is damaged: gzip/);
  await expect(unpack(plain, "zstd")).rejects.toThrow(/the archive is damaged: zstd/);
  await expect(unpack(ZSTD.subarray(0, 10), "zstd")).rejects.toThrow(/the archive is damaged: zstd/);
});

test("what goes wrong with the data is told as it is", async () => {
  const broken = async function* () {
    yield gzipSync(plain).subarray(0, 1000);
    throw new Error("gone");
  };
  await expect(all(decompress(broken(), "gzip", async () => 0))).rejects.toThrow("gone");
});

test("a bomb is refused where it would fill the disk, and taken where there is room", async () => {
  const zeros = async function* () {
    const chunk = Buffer.alloc(1 << 20);
    for (let count = 0; count < 140; count++) yield chunk;
  };
  const bomb = await all(Readable.from(zeros()).pipe(createGzip({ level: 1 })) as AsyncIterable<Buffer>);
  await expect(unpack(bomb, "gzip", 2 ** 30)).rejects.toThrow(
    /its first \d+ bytes become \d+, and the disk has no room/,
  );
  expect((await unpack(bomb, "gzip", 2 ** 40)).length).toBe(140 << 20);
});

test("looking at the beginning takes nothing away", async () => {
  const { head, all: whole } = await peek(pieces(plain), 25_000);
  expect(head).toEqual(plain.subarray(0, 30_000));
  expect(await all(whole)).toEqual(plain);
  const short = await peek(pieces(Buffer.from("short")), 25_000);
  expect([short.head.toString(), (await all(short.all)).toString()]).toEqual(["short", "short"]);
});

import { createHash, randomBytes } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventBus } from "../events/event-bus.js";
import { Collection } from "../metadata/collection.js";
import { Leases } from "../metadata/leases.js";
import { Namespaces } from "../metadata/namespaces.js";
import { Store } from "../metadata/store.js";
import { Content } from "./content.js";

let dir: string;
let stores: Store[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "content-"));
  stores = [];
});
afterEach(async () => {
  for (const store of stores) await store.close();
  rmSync(dir, { recursive: true, force: true });
});

function open() {
  const store = new Store(join(dir, "metadata"));
  stores.push(store);
  const [bus, log] = [new EventBus(), pino({ level: "silent" })];
  const namespaces = new Namespaces(store, bus);
  const collection = new Collection(store, log);
  const leases = new Leases(store, namespaces, collection);
  const content = new Content(join(dir, "content"), { store, namespaces, leases, collection, bus, log });
  return { content, collection, leases, store };
}

/** As if the daemon had been killed, and another one started. */
async function reopen() {
  await stores.pop()!.close();
  return open();
}

const digestOf = (data: Uint8Array, algorithm = "sha256") =>
  `${algorithm}:${createHash(algorithm).update(data).digest("hex")}`;
const fileOf = (digest: string) => join(dir, "content/blobs", digest.replace(":", "/"));

async function put(content: Content, data: Buffer, namespace = "ns"): Promise<string> {
  const ingest = await content.write(namespace, `put ${digestOf(data)}`);
  await ingest.write(data);
  return (await ingest.commit()).digest;
}

async function faultsOf(content: Content, isThorough = true): Promise<string[]> {
  const faults: string[] = [];
  for await (const fault of content.check(isThorough)) faults.push(fault);
  return faults;
}

test("nothing is made before the first use, and looks are none", async () => {
  const { content } = open();
  expect(await content.list("ns")).toEqual([]);
  await expect(content.open("ns", `sha256:${"0".repeat(64)}`)).rejects.toMatchObject({ kind: "not-found" });
  expect(existsSync(join(dir, "content"))).toBe(false);
});

test("files are the daemon's alone", async () => {
  const { content } = open();
  const digest = await put(content, randomBytes(10));
  const modes = ["content", "content/blobs", "content/blobs/sha256", "content/ingests"].map((name) => join(dir, name));
  for (const path of modes) expect(statSync(path).mode & 0o777, path).toBe(0o700);
  expect(statSync(fileOf(digest)).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(dir, "content/ingests"))).toEqual([]);
});

test.each(["sha384", "sha512"])("%s, however late it is known", async (algorithm) => {
  const { content } = open();
  const data = randomBytes(2_500_000);
  const expected = digestOf(data, algorithm);
  const early = await content.write("ns", "early", { expected });
  await early.write(data);
  expect(early.digest()).toBe(expected);
  await early.commit({ expected });
  const late = await content.write("other", "late");
  await late.write(data);
  expect(late.digest()).toBe(digestOf(data));
  expect((await late.commit({ expected })).digest).toBe(expected);
  const blob = await content.open("other", expected);
  expect((await blob.bytes(3_000_000)).equals(data)).toBe(true);
  await expect(blob.bytes(2_000_000)).rejects.toMatchObject({ kind: "invalid-argument" });
  await blob.close();
  expect(await faultsOf(content)).toEqual([]);
});

test("a blob that is open is read to its end, whatever becomes of it", async () => {
  const { content } = open();
  const data = randomBytes(3_000_000);
  const digest = await put(content, data);
  const blob = await content.open("ns", digest);
  const chunks: Buffer[] = [];
  for await (const chunk of blob.read()) {
    if (chunks.length === 0) await content.delete("ns", digest);
    chunks.push(chunk);
  }
  await blob.close();
  expect(Buffer.concat(chunks).equals(data)).toBe(true);
  expect(existsSync(fileOf(digest))).toBe(false);
});

test("who writes gets an error once another has given it up", async () => {
  const { content } = open();
  const ingest = await content.write("ns", "r");
  await ingest.write(Buffer.from("a"));
  await content.abort("ns", "r");
  await expect(ingest.write(Buffer.from("b"))).rejects.toMatchObject({ kind: "cancelled" });
  await expect(ingest.commit()).rejects.toMatchObject({ kind: "cancelled" });
  const next = await content.write("ns", "r");
  expect(next.offset).toBe(0);
  await next.close();
});

test("more than was announced is begun anew", async () => {
  const { content } = open();
  const first = await content.write("ns", "r", { total: 5 });
  await first.write(Buffer.from("0123456789"));
  await first.close();
  const second = await content.write("ns", "r", { total: 5 });
  expect(second.offset).toBe(0);
  await second.close();
});

test("what others hold of it while it is deleted and written anew, at once", async () => {
  const { content } = open();
  const data = randomBytes(1000);
  const digest = digestOf(data);
  const again = async (namespace: string) => {
    for (let n = 0; n < 15; n++) {
      const ingest = await content.write(namespace, "r", { expected: digest });
      if (ingest.offset === 0) await ingest.write(data);
      await ingest.commit({ expected: digest });
      const blob = await content.open(namespace, digest);
      expect((await blob.bytes(1000)).equals(data)).toBe(true);
      await blob.close();
      await content.delete(namespace, digest);
    }
  };
  await Promise.all(["a", "b", "c", "d"].map(again));
  expect(existsSync(fileOf(digest))).toBe(false);
  expect(await faultsOf(content)).toEqual([]);
});

describe("what is wrong is told", () => {
  const damages: [string, (path: string) => void, RegExp][] = [
    ["no file", unlinkSync, /^content ns sha256:\w+: no file .*blobs\/sha256/],
    ["a longer one", (path) => appendFileSync(path, "x"), /has 101 bytes, not 100$/],
    ["another one", (path) => writeFileSync(path, Buffer.alloc(100)), /has the digest sha256:/],
  ];

  test.each(damages)("%s", async (_, damage, words) => {
    const { content } = open();
    const data = randomBytes(100);
    const digest = await put(content, data);
    await put(content, randomBytes(100));
    damage(fileOf(digest));
    expect(await faultsOf(content)).toEqual([expect.stringMatching(words)]);
    // Who writes it again mends it, if it shows.
    if (words.source.includes("digest")) return;
    await put(content, data, "other");
    expect(await faultsOf(content)).toEqual([]);
  });

  test("a file of nobody, which the next daemon removes", async () => {
    const { content } = open();
    await put(content, randomBytes(100));
    const left = await content.write("ns", "left");
    await left.write(randomBytes(100));
    await left.close();
    const stray = fileOf(`sha256:${"0".repeat(64)}`);
    const strays = [stray, join(dir, "content/blobs/sha256/nonsense"), join(dir, "content/ingests/abc")];
    for (const path of strays) writeFileSync(path, "x");
    expect((await faultsOf(content)).sort()).toEqual(strays.map((path) => `${path}: a file that no record knows of`));
    const { content: next, collection } = await reopen();
    await collection.run();
    expect(await faultsOf(next)).toEqual([]);
    expect((await next.statuses("ns")).map(({ ref, offset }) => [ref, offset])).toEqual([["left", 100]]);
  });
});

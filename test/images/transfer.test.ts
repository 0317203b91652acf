/** The transfer and streaming services themselves: what a client may say, in which order, and what it is told when that is wrong. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { StreamInit } from "../../src/proto/containerd/services/streaming/v1/streaming.js";
import { ImageStore } from "../../src/proto/containerd/types/transfer/imagestore.js";
import { ImageImportStream } from "../../src/proto/containerd/types/transfer/importexport.js";
import { Data, WindowUpdate } from "../../src/proto/containerd/types/transfer/streaming.js";
import type { Any } from "../../src/proto/google/protobuf/any.js";
import { useContainerd1 } from "../harness/containerd1.js";
import { times } from "../harness/extent.js";
import { file, ImageLayout, makeTestImage, type StandardImage } from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { imageNames, lookInto, targetOf } from "../harness/unpacked.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let standard: StandardImage;
let archive: string;
let transfers: Transfers;

beforeAll(async () => {
  standard = await makeTestImage(join(fixture.daemon.dir, "standard"), "base");
  archive = join(fixture.daemon.dir, "standard.tar");
  await standard.layout.archive(archive);
  transfers = new Transfers(fixture.api);
});

const any = (type: string, writer: { finish(): Uint8Array }): Any => ({
  typeUrl: `containerd.types.transfer.${type}`,
  value: Buffer.from(writer.finish()),
});
const store = (name: string) => any("ImageStore", ImageStore.encode(ImageStore.fromPartial({ name })));
const importFrom = (stream: string) =>
  any("ImageImportStream", ImageImportStream.encode({ stream, mediaType: "", forceCompress: false }));

/** How a stream ends that begins with this. */
async function endOf(...messages: Any[]): Promise<string> {
  const stream = fixture.api.stream();
  const ended = new Promise((_, reject) => {
    stream.once("error", reject);
    stream.once("end", () => reject(new Error("no error")));
  });
  stream.resume();
  for (const message of messages) stream.write(message);
  stream.end();
  return await refusal(ended);
}

test("a stream begins with its name, which it has alone", async () => {
  expect(await endOf(store("x"))).toMatch(/^INVALID_ARGUMENT: the first message of a stream must be a StreamInit/);
  expect(await endOf()).toMatch(/^INVALID_ARGUMENT: the first message/);
  const init = (id: string): Any => ({
    typeUrl: "containerd.services.streaming.v1.StreamInit",
    value: Buffer.from(StreamInit.encode({ id }).finish()),
  });
  expect(await endOf(init(""))).toMatch(/^INVALID_ARGUMENT: stream id "": of 1 to 255 bytes/);
  const { stream } = await transfers.openStream("twice");
  expect(await endOf(init("twice"))).toBe('ALREADY_EXISTS: stream "twice": already exists');
  // Of another namespace it is another.
  const other = await new Transfers(fixture.daemon.v1("other")).openStream("twice");
  other.stream.cancel();
  stream.on("error", () => {});
  stream.cancel();
  // Once it is over the name is free.
  await eventually(async () => {
    const again = await transfers.openStream("twice");
    again.stream.cancel();
    return true;
  });
});

test("what can't be transferred is refused", async () => {
  const transfer = (source: Any | undefined, destination: Any | undefined, progressStream = "") =>
    refusal(fixture.api.transfer.transfer({ source, destination, options: { progressStream } }));
  expect(await transfer(undefined, store("x"))).toBe(
    'UNIMPLEMENTED: unable to transfer from or to "nothing": not implemented',
  );
  expect(await transfer({ typeUrl: "of.nobody", value: Buffer.alloc(0) }, store("x"))).toBe(
    'UNIMPLEMENTED: unable to transfer from or to "of.nobody": not implemented',
  );
  expect(await transfer(importFrom("a"), importFrom("a"))).toBe(
    "UNIMPLEMENTED: unable to transfer from import to import: not implemented",
  );
  expect(await transfer(importFrom("no such"), store("x"))).toBe('NOT_FOUND: stream "no such": not found');
  expect(await transfer(store("x"), store("y"), "no such")).toBe('NOT_FOUND: stream "no such": not found');
  expect(await transfer(store("no.test/such:1"), store("y"))).toMatch(/^NOT_FOUND: image "no.test\/such:1"/);
  expect(await refusal(transfers.import(archive, { snapshotter: "zfs" }))).toBe(
    'NOT_FOUND: snapshotter "zfs": there is overlayfs only: not found',
  );
});

test("an image gets another name, and an older image loses it", async () => {
  await transfers.import(archive);
  await transfers.tag(standard.name, "tag.test/a:1", { labels: { by: "tag" } });
  expect((await fixture.api.images.get({ name: "tag.test/a:1" })).image).toMatchObject({ labels: { by: "tag" } });
  const events = await transfers.tag(standard.name, "tag.test/a:1");
  expect(events.map(({ event, name }) => [event, name])).toEqual([["saved", "tag.test/a:1"]]);
  expect((await targetOf(fixture.api, "tag.test/a:1")).digest).toBe(standard.image.manifest.digest);
});

test("a client that sends more than it is asked for is stopped", async () => {
  const { id, stream } = await transfers.openStream();
  let asked = 0;
  stream.on("data", ({ value }: Any) => {
    asked += WindowUpdate.decode(value).update;
  });
  stream.on("error", () => {});
  stream.resume();
  const transfer = refusal(fixture.api.transfer.transfer({ source: importFrom(id), destination: store("x:1") }));
  const data = any("Data", Data.encode({ data: randomBytes(4 << 20) }));
  stream.write(data);
  stream.write(data);
  expect(await transfer).toMatch(/^INVALID_ARGUMENT: a stream's client sends more than it was asked for/);
  expect(asked).toBeGreaterThan(0);
  stream.cancel();
});

test("a stream that breaks off in the middle ends its transfer", async () => {
  const { id, stream } = await transfers.openStream();
  stream.on("error", () => {});
  const asked = once(stream, "data");
  stream.resume();
  const transfer = refusal(fixture.api.transfer.transfer({ source: importFrom(id), destination: store("x:1") }));
  await asked;
  stream.write(any("Data", Data.encode({ data: Buffer.alloc(100) })));
  stream.cancel();
  // Node's client may say that this was all before it says that it has gone.
  expect(await transfer).toMatch(/^(CANCELLED|INVALID_ARGUMENT): /);
  expect(await imageNames(fixture.api)).not.toContain("x:1");
});

test("many imports at the same time of the same archive", async () => {
  const api = fixture.daemon.v1("many");
  await Promise.all(
    Array.from({ length: 8 }, (_, n) => new Transfers(api).import(archive, { name: `many.test/image:${n}` })),
  );
  expect(await imageNames(api)).toHaveLength(8);
  expect((await api.leases.list()).leases).toEqual([]);
  expect((await api.content.listStatuses()).statuses).toEqual([]);
});

test("images with the same layers in another order, at the same time", async () => {
  const api = fixture.daemon.v1("orders");
  for (let round = 0; round < times(30, 5); round++) {
    const layout = new ImageLayout(join(fixture.daemon.dir, `orders-${round}`));
    // Each has a file in a directory that it does not name: it depends on what is below.
    const layers = await Promise.all(
      ["a", "b", "c"].map((name) => layout.layer([file(`tmp/${name}`, `${name} of ${round}`)])),
    );
    const orders = [layers, [...layers].reverse(), [layers[1]!, layers[2]!, layers[0]!]];
    const images = orders.map((order) => layout.image({ layers: order }));
    const archives: string[] = [];
    for (const [number, { manifest }] of images.entries()) {
      const only = { ...manifest, annotations: { "io.containerd.image.name": `orders.test/image:${number}` } };
      writeFileSync(join(layout.dir, "index.json"), JSON.stringify({ manifests: [only] }));
      const path = join(fixture.daemon.dir, `orders-${number}.tar`);
      await layout.archive(path);
      archives.push(path);
    }
    await Promise.all(archives.map((path) => new Transfers(api).import(path)));
    for (const { chainIds } of images) {
      await lookInto(fixture.daemon, api, chainIds.at(-1)!, (root) =>
        expect(readdirSync(join(root, "tmp"))).toEqual(["a", "b", "c"]),
      );
    }
  }
});

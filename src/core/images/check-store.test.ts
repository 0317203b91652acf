import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Containers } from "../containers/containers.js";
import { Content } from "../content/content.js";
import { EventBus } from "../events/event-bus.js";
import { Collection } from "../metadata/collection.js";
import { Leases } from "../metadata/leases.js";
import { Namespaces } from "../metadata/namespaces.js";
import { Store } from "../metadata/store.js";
import { checkStore } from "./check-store.js";
import { Images } from "./image-records.js";

let dir: string;
let store: Store;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "check-"));
  store = new Store(join(dir, "metadata"));
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

test("tells of references that lead nowhere, where there has to be something", async () => {
  const [bus, log] = [new EventBus(), pino({ level: "silent" })];
  const namespaces = new Namespaces(store, bus);
  const collection = new Collection(store, log);
  const leases = new Leases(store, namespaces, collection);
  const content = new Content(join(dir, "content"), { store, namespaces, leases, collection, bus, log });
  const images = new Images({ store, namespaces, collection, bus });
  const containers = new Containers(store, namespaces, collection, bus);
  const faults = async () => {
    const faults: string[] = [];
    for await (const fault of checkStore({ collection, rooms: [content] })) faults.push(fault);
    return faults.sort();
  };
  expect(await faults()).toEqual([]);

  const missing = `sha256:${"0".repeat(64)}`;
  const ingest = await content.write("ns", "r");
  await ingest.write(randomBytes(10));
  // Parts for other platforms are not there as a rule.
  const { digest } = await ingest.commit({ labels: { "containerd.io/gc.ref.content.m.1": missing } });
  const target = { mediaType: "m", digest, size: 10, annotations: {} };
  await images.create("ns", { name: "i", labels: {}, target });
  await leases.create("ns", "l", {});
  await leases.addResource("ns", "l", { type: "content", id: missing });
  const spec = { typeUrl: "s", value: Buffer.alloc(0) };
  const container = { id: "c", labels: {}, runtime: { name: "r" }, spec, extensions: {}, sandbox: "", snapshotKey: "" };
  await containers.create("ns", { ...container, image: "of the client's own", snapshotter: "" });
  expect(await faults()).toEqual([]);

  await images.create("ns", { name: "empty", labels: {}, target: { ...target, digest: missing } });
  await containers.create("ns", { ...container, id: "d", image: "i", snapshotter: "overlayfs", snapshotKey: "gone" });
  expect(await faults()).toEqual([
    'containers "d" of namespace "ns" needs snapshots/overlayfs "gone" of namespace "ns", which is not there',
    `images "empty" of namespace "ns" needs content "${missing}" of namespace "ns", which is not there`,
  ]);
});

import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EventBus } from "../events/event-bus.js";
import { Collection } from "../metadata/collection.js";
import { MIGRATIONS } from "../metadata/migrations.js";
import { Namespaces } from "../metadata/namespaces.js";
import { Store } from "../metadata/store.js";
import type { ContainerRecord } from "./container-record.js";
import { Containers } from "./containers.js";

let dir: string;
let stores: Store[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "containers-"));
  stores = [];
});
afterEach(async () => {
  for (const store of stores) await store.close();
  rmSync(dir, { recursive: true, force: true });
});

function open(): { namespaces: Namespaces; containers: Containers } {
  const store = new Store(join(dir, "metadata"));
  const bus = new EventBus();
  stores.push(store);
  const namespaces = new Namespaces(store, bus);
  const collection = new Collection(store, pino({ level: "silent" }));
  return { namespaces, containers: new Containers(store, namespaces, collection, bus) };
}

function wanted(id: string, fields: Partial<ContainerRecord> = {}): ContainerRecord {
  return {
    id,
    labels: {},
    image: "",
    runtime: { name: "io.containerd.runc.v2" },
    spec: { typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: Buffer.from("{}") },
    snapshotter: "",
    snapshotKey: "",
    extensions: {},
    sandbox: "",
    createdAt: 0n,
    updatedAt: 0n,
    ...fields,
  };
}

test("nothing is made before the first use", async () => {
  const { containers } = open();
  expect(existsSync(join(dir, "metadata"))).toBe(false);
  await expect(containers.get("ns", "a")).rejects.toMatchObject({ kind: "not-found" });
  expect(statSync(join(dir, "metadata")).mode & 0o777).toBe(0o700);
});

test("a record comes back byte for byte, from the next store as well", async () => {
  const bytes = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * 7) % 256));
  const record = wanted("a", {
    labels: { key: "value", "a.b/c": "ü", "": "of no name" },
    spec: { typeUrl: "of nobody", value: bytes },
    runtime: { name: "r", options: { typeUrl: "o", value: bytes.subarray(3, 99) } },
    extensions: { x: { typeUrl: "", value: Buffer.alloc(0) }, y: { typeUrl: "t", value: bytes.subarray(7) } },
    image: "docker.io/library/busybox:latest",
    snapshotter: "overlayfs",
    snapshotKey: "a",
    sandbox: "s",
  });
  const { containers } = open();
  const made = await containers.create("ns", record);
  expect(made.createdAt).toBeGreaterThan(1_700_000_000_000_000_000n);
  expect(made).toEqual({ ...record, createdAt: made.createdAt, updatedAt: made.createdAt });
  // What is read later does not change what was read before.
  const first = await containers.get("ns", "a");
  await containers.create("ns", wanted("b", { spec: { typeUrl: "", value: Buffer.alloc(20_000, 1) } }));
  await containers.get("ns", "b");
  expect(first).toEqual(made);
  await stores.pop()!.close();
  expect(await open().containers.get("ns", "a")).toEqual(made);
});

test("a namespace has its own containers, and comes into being with the first", async () => {
  const { containers, namespaces } = open();
  await containers.create("one", wanted("a", { image: "1" }));
  await containers.create("two", wanted("a", { image: "2" }));
  await containers.create("one", wanted("b"));
  // Namespaces of which one's name begins like the other's.
  await containers.create("one-more", wanted("c"));
  expect((await containers.list("one")).map(({ id }) => id)).toEqual(["a", "b"]);
  expect((await containers.list("two")).map(({ image }) => image)).toEqual(["2"]);
  expect(await containers.list("three")).toEqual([]);
  expect((await namespaces.list()).map(({ name }) => name)).toEqual(["one", "one-more", "two"]);
  await expect(namespaces.delete("one")).rejects.toMatchObject({ kind: "failed-precondition" });
  await containers.delete("one", "a");
  await containers.delete("one", "b");
  await namespaces.delete("one");
  expect((await containers.get("two", "a")).image).toBe("2");
});

test("of many that create the same id at once, one succeeds", async () => {
  const { containers } = open();
  const made = await Promise.allSettled(
    Array.from({ length: 50 }, (_, i) => containers.create("ns", wanted("a", { image: `${i}` }))),
  );
  const winners = made.filter(({ status }) => status === "fulfilled");
  expect(winners).toHaveLength(1);
  for (const one of made)
    if (one.status === "rejected") expect(one.reason).toMatchObject({ kind: "already-exists", what: "record-exists" });
  expect(await containers.list("ns")).toEqual([(winners[0] as PromiseFulfilledResult<ContainerRecord>).value]);
});

test("changes made at once are made one after the other", async () => {
  const { containers } = open();
  await containers.create("ns", wanted("a", { image: "" }));
  await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      containers.update("ns", "a", (before) => ({ ...before, image: `${before.image}${i};` })),
    ),
  );
  const record = await containers.get("ns", "a");
  expect(record.image).toBe(Array.from({ length: 20 }, (_, i) => `${i};`).join(""));
  expect(record.updatedAt).toBeGreaterThan(record.createdAt);
});

test("all but the specification can be read, and changed, without it", async () => {
  const { containers } = open();
  const spec = { typeUrl: "t", value: Buffer.from('{"large":true}') };
  const made = await containers.create("ns", wanted("a", { spec, image: "1" }));
  const { spec: _, ...brief } = made;
  expect(await containers.getBrief("ns", "a")).toEqual(brief);
  expect(await containers.getBrief("ns", "b").catch((error) => error.kind)).toBe("not-found");
  const changed = await containers.updateBrief("ns", "a", (before) => ({ ...before, image: "2" }));
  expect(changed).toEqual({ ...brief, image: "2", updatedAt: changed.updatedAt });
  expect(await containers.get("ns", "a")).toEqual({ ...changed, spec });
  const refused = containers.updateBrief("ns", "a", (before) => ({ ...before, runtime: { name: "" } }));
  await expect(refused).rejects.toMatchObject({ kind: "invalid-argument" });
  const other = { typeUrl: "t", value: Buffer.from("{}") };
  expect((await containers.update("ns", "a", (before) => ({ ...before, spec: other }))).spec).toEqual(other);
  expect(await containers.list("ns")).toMatchObject([{ id: "a", image: "2", spec: other }]);
  // With its record.
  await containers.delete("ns", "a");
  await containers.create("ns", wanted("a", { spec }));
  expect((await containers.get("ns", "a")).spec).toEqual(spec);
});

test("records of an earlier daemon, with their specifications in them, are as they were", async () => {
  const ids = Array.from({ length: 250 }, (_, n) => `c${String(n).padStart(3, "0")}`);
  const spec = { typeUrl: "t", value: Buffer.alloc(1000, 7) };
  const earlier = new Store(join(dir, "metadata"), MIGRATIONS.slice(0, 1));
  const records = earlier.table<ContainerRecord>("containers");
  await earlier.write(() => {
    for (const id of ids) records.put(["ns", id], wanted(id, { spec, image: id }));
  });
  await earlier.close();
  const { containers } = open();
  expect(await containers.list("ns")).toEqual(ids.map((id) => wanted(id, { spec, image: id })));
  expect(await containers.getBrief("ns", ids[200]!)).not.toHaveProperty("spec");
});

test("a change that is refused changes nothing", async () => {
  const { containers } = open();
  const made = await containers.create("ns", wanted("a"));
  const change = containers.update("ns", "a", (before) => ({ ...before, runtime: { name: "" } }));
  await expect(change).rejects.toMatchObject({ kind: "invalid-argument" });
  expect(await containers.get("ns", "a")).toEqual(made);
});

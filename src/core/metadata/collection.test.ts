import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { now } from "../../system/linux/clock.js";
import { Collection, isYoung, type Node, referencesOf } from "./collection.js";
import { Store, type Table } from "./store.js";

let dir: string;
let stores: Store[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "collection-"));
  stores = [];
});
afterEach(async () => {
  for (const store of stores) await store.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Each look takes some turns of the loop, as if there were very much to look at. */
class SlowStore extends Store {
  pace: readonly number[] = [0];
  #looks = 0;

  override async read<T>(work: () => T): Promise<T> {
    const turns = this.pace[this.#looks++ % this.pace.length]!;
    for (let n = 0; n < turns; n++) await nextTurn();
    return await super.read(work);
  }
}

interface Thing {
  needs: string[];
}

/** Things that need each other, and roots that need things: each with a name in one namespace. */
class Room {
  readonly store: SlowStore;
  readonly collection: Collection;
  readonly roots: Table<Thing>;
  readonly things: Table<Thing>;
  /** Removed although a root led to them, or although something that needs them was still there. */
  readonly faults: string[] = [];
  /** In the order in which they were removed. */
  readonly removed: string[] = [];

  /** @param page how many nodes a collection looks at before it makes room for others */
  constructor(page: number) {
    this.store = new SlowStore(join(dir, `${stores.length}`));
    stores.push(this.store);
    this.collection = new Collection(this.store, pino({ level: "silent" }), page);
    this.roots = this.store.table("roots");
    this.things = this.store.table("things");
    const pageOf =
      (table: Table<Thing>, isRoot: boolean) =>
      (after: { namespace: string; key: string } | undefined, limit: number) =>
        table
          .page(after && [after.namespace, after.key], limit)
          .map(({ key: [namespace, key] }) => ({ namespace: namespace!, key: key!, isRoot }));
    this.collection.register({
      kind: "roots",
      page: pageOf(this.roots, true),
      references: (_, name) => nodes(this.roots.get(["ns", name])?.needs ?? []),
    });
    this.collection.register({
      kind: "things",
      page: pageOf(this.things, false),
      references: (_, name) => nodes(this.things.get(["ns", name])?.needs ?? []),
      remove: (_, name) => {
        if (!this.things.has(["ns", name])) return undefined;
        if (this.reachable().has(name)) this.faults.push(`${name} is needed`);
        this.things.remove(["ns", name]);
        this.removed.push(name);
        return async () => 1;
      },
    });
  }

  put(table: Table<Thing>, kind: string, name: string, needs: string[]): Promise<void> {
    return this.store.write(() => {
      // As a client would: it has looked whether what it needs is there.
      const present = needs.filter((one) => this.things.has(["ns", one]));
      table.put(["ns", name], { needs: present });
      this.collection.made({ kind, namespace: "ns", key: name });
      this.collection.refers(nodes(present));
    });
  }

  putThing(name: string, needs: string[] = []): Promise<void> {
    return this.put(this.things, "things", name, needs);
  }

  putRoot(name: string, needs: string[]): Promise<void> {
    return this.put(this.roots, "roots", name, needs);
  }

  removeRoot(name: string): Promise<void> {
    return this.store.write(() => this.roots.remove(["ns", name]));
  }

  /** Things that a root leads to, of those that are there. Within a read or write of the store. */
  reachable(): Set<string> {
    const found = new Set<string>();
    const open = this.roots.list(["ns"]).flatMap(({ needs }) => needs);
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const thing = this.things.get(["ns", name]);
      if (thing === undefined || found.has(name)) continue;
      found.add(name);
      open.push(...thing.needs);
    }
    return found;
  }

  names(): Promise<string[]> {
    return this.store.read(() => this.things.keys(["ns"]).map(([, name]) => name!));
  }
}

function nodes(names: readonly string[]): Node[] {
  return names.map((key) => ({ kind: "things", namespace: "ns", key }));
}

const name = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
const names = fc.array(name, { maxLength: 3 });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant("thing" as const), name, needs: names }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("root" as const), name, needs: names }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("removeRoot" as const), name }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("collect" as const) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("turns" as const), turns: fc.nat(20) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("wait" as const) }) },
);

const paces = fc.array(fc.nat(4), { minLength: 1, maxLength: 8 });

test("whatever is done meanwhile, what is needed stays, and the rest goes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), paces, async (steps, pace) => {
      const room = new Room(1);
      room.store.pace = pace;
      const under: Promise<unknown>[] = [];
      const collections: Promise<unknown>[] = [];
      for (const one of steps) {
        if (one.op === "thing") under.push(room.putThing(one.name, one.needs));
        else if (one.op === "root") under.push(room.putRoot(one.name, one.needs));
        else if (one.op === "removeRoot") under.push(room.removeRoot(one.name));
        else if (one.op === "wait") await under.at(-1);
        else if (one.op === "collect") collections.push(room.collection.run());
        else for (let n = 0; n < one.turns; n++) await nextTurn();
      }
      await Promise.all([...under, ...collections]);
      // Everything that a root leads to has all that it needs.
      const needed = await room.store.read(() => room.reachable());
      await room.store.read(() => {
        for (const thing of needed)
          for (const need of room.things.get(["ns", thing])!.needs)
            expect(room.things.has(["ns", need]), `${thing} needs ${need}`).toBe(true);
      });
      await room.collection.run();
      expect(room.faults).toEqual([]);
      expect(await room.names()).toEqual([...needed].sort());
      await room.store.close();
    }),
    { numRuns: 60 },
  );
});

test("what needs others goes before them, circles as well", async () => {
  const room = new Room(2);
  await room.putThing("base");
  await room.putThing("middle", ["base"]);
  await room.putThing("top", ["middle", "base"]);
  await room.putThing("round");
  await room.putThing("trip", ["round", "trip"]);
  await room.putThing("round", ["trip"]);
  await room.putThing("kept");
  await room.putRoot("root", ["kept"]);
  expect(await room.collection.run()).toEqual({ removed: { things: 5 }, freed: 5 });
  expect(room.removed.filter((one) => ["base", "middle", "top"].includes(one))).toEqual(["top", "middle", "base"]);
  expect(await room.names()).toEqual(["kept"]);
  expect(await room.collection.run()).toEqual({ removed: {}, freed: 0 });
});

test("who asks while one goes on gets the next, which sees what was let go of by then", async () => {
  const room = new Room(1);
  await room.putThing("a");
  await room.putRoot("root", ["a"]);
  const first = room.collection.run();
  await nextTurn();
  await room.removeRoot("root");
  const [second, third] = [room.collection.run(), room.collection.run()];
  expect(second).toBe(third);
  await second;
  await first;
  expect(await room.names()).toEqual([]);
});

test("something that is let go of is gone soon", async () => {
  const room = new Room(64);
  await room.putThing("a");
  room.collection.soon();
  room.collection.soon();
  await expect.poll(() => room.names()).toEqual([]);
});

test("what labels name", () => {
  expect(
    referencesOf("ns", {
      "containerd.io/gc.ref.content": "sha256:1",
      "containerd.io/gc.ref.content.l.0": "sha256:2",
      "containerd.io/gc.ref.contents": "no",
      "containerd.io/gc.ref.snapshot.overlayfs": "chain",
      "containerd.io/gc.ref.snapshot.overlayfs/2": "other chain",
      "containerd.io/uncompressed": "no",
    }),
  ).toEqual([
    { kind: "content", namespace: "ns", key: "sha256:1" },
    { kind: "content", namespace: "ns", key: "sha256:2" },
    { kind: "snapshots/overlayfs", namespace: "ns", key: "chain" },
    { kind: "snapshots/overlayfs", namespace: "ns", key: "other chain" },
  ]);
});

describe("many", () => {
  test("make room for others while they go", async () => {
    const room = new Room(64);
    const count = 10_000;
    await room.store.write(() => {
      for (let n = 0; n < count; n++) room.things.put(["ns", `${n}`], { needs: n === 0 ? [] : [`${n - 1}`] });
    });
    let turns = 0;
    const collected = room.collection.run();
    const counting = (async () => {
      for (let isDone = false; !isDone; turns++)
        isDone = await Promise.race([collected.then(() => true), nextTurn(false)]);
    })();
    expect((await collected).removed).toEqual({ things: count });
    await counting;
    expect(turns).toBeGreaterThan(20);
    expect(room.removed).toEqual(Array.from({ length: count }, (_, n) => `${count - 1 - n}`));
  });
});

test("what is new is kept for a day; what is of the day after tomorrow is not new, as the clock was set back since", () => {
  const hours = (count: number) => now() + BigInt(count) * 3_600_000_000_000n;
  const ages = [-25, -23, 0, 23, 47].map((count) => isYoung(hours(count), { isPressed: false }));
  expect(ages).toEqual([false, true, true, true, false]);
  expect([-1, 0, 1].map((count) => isYoung(hours(count), { isPressed: true }))).toEqual([false, true, true]);
});

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Collection, type CollectionRun } from "./collection.js";
import { CollectionSchedule } from "./collection-schedule.js";
import { Store, type Table } from "./store.js";

const log = pino({ level: "silent" });

let dir: string;
let store: Store;
let collection: Collection;
let things: Table<number>;
/** The collections that there were. */
let runs: CollectionRun[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "schedule-"));
  store = new Store(join(dir, "metadata"));
  collection = new Collection(store, log);
  things = store.table("things");
  runs = [];
  collection.register({
    kind: "things",
    page: (after, limit, run) => {
      if (after === undefined) runs.push(run);
      return things
        .page(after && [after.namespace, after.key], limit)
        .map(({ key: [namespace, key] }) => ({ namespace: namespace!, key: key!, isRoot: false }));
    },
    references: () => [],
    remove: (namespace, key) => {
      things.remove([namespace, key]);
      return async () => 0;
    },
  });
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const left = () => store.read(() => things.keys(["ns"]).length);

async function scheduleOf(interval: number, highWater: number): Promise<CollectionSchedule> {
  await store.write(() => things.put(["ns", "a"], 1));
  return new CollectionSchedule(collection, { interval, highWater, root: dir, log });
}

test("never, when told so", async () => {
  const schedule = await scheduleOf(0, 100);
  for (let n = 0; n < 5; n++) await schedule.look();
  expect(runs).toEqual([]);
});

test("from time to time", async () => {
  const schedule = await scheduleOf(1, 100);
  await expect.poll(() => schedule.look().then(left)).toBe(0);
  expect(runs[0]).toEqual({ isPressed: false });
});

test("when the disk is nearly full, once for a while", async () => {
  const schedule = await scheduleOf(0, 1);
  await schedule.look();
  expect(await left()).toBe(0);
  expect(runs[0]).toEqual({ isPressed: true });
  const { length } = runs;
  await schedule.look();
  expect(runs).toHaveLength(length);
});

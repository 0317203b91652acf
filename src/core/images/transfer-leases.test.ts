import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EventBus } from "../events/event-bus.js";
import { Collection } from "../metadata/collection.js";
import { Leases } from "../metadata/leases.js";
import { Namespaces } from "../metadata/namespaces.js";
import { Store } from "../metadata/store.js";
import { TransferLeases } from "./transfer-leases.js";

let dir: string;
let store: Store;
let leases: Leases;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "leases-"));
  store = new Store(dir);
  leases = new Leases(store, new Namespaces(store, new EventBus()), new Collection(store, pino({ level: "silent" })));
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const digest = `sha256:${"0".repeat(64)}`;

test("what a transfer that has failed has left is the next one's, also when another one is just taking it", async () => {
  const transfers = new TransferLeases(leases);
  const fails = transfers.during("ns", undefined, "import", async (lease) => {
    await leases.addResource("ns", lease, { type: "content", id: digest });
    throw new Error("made to fail");
  });
  await expect(fails).rejects.toThrow("made to fail");
  const taken = await transfers.during("ns", undefined, "import", async (lease) => leases.resources("ns", lease));
  expect(taken).toEqual([{ type: "content", id: digest }]);
  expect(await leases.list("ns")).toEqual([]);

  const left = await transfers
    .during("ns", undefined, "import", async (lease) => {
      await leases.addResource("ns", lease, { type: "content", id: digest });
      throw new Error(lease);
    })
    .catch((error: Error) => error.message);
  const { list } = leases;
  // It goes right after it was seen.
  leases.list = async (namespace) => {
    const seen = await list.call(leases, namespace);
    if (seen.some(({ id }) => id === left)) await leases.delete(namespace, left);
    return seen;
  };
  expect(await transfers.during("ns", undefined, "import", async () => "done")).toBe("done");
});

test("a transfer that takes longer than what it leaves is kept for does not lose it", async () => {
  const kept = 500;
  const transfers = new TransferLeases(leases, kept);
  const lasted = await transfers.during("ns", undefined, "pull", async (lease) => {
    await leases.addResource("ns", lease, { type: "content", id: digest });
    const begun = Date.now();
    const endOf = async () => {
      const found = (await leases.list("ns")).find(({ id }) => id === lease);
      return Date.parse(found?.labels["containerd.io/gc.expire"] ?? "");
    };
    await expect.poll(endOf).toBeGreaterThan(begun + 3 * kept);
    return await leases.resources("ns", lease);
  });
  expect(lasted).toEqual([{ type: "content", id: digest }]);
  expect(await leases.list("ns")).toEqual([]);
});

test("a clock that is set forward by years takes nothing from a transfer that is under way", async () => {
  const transfers = new TransferLeases(leases);
  const clock = vi.spyOn(Date, "now").mockReturnValue(0);
  const kept = await transfers
    .during("ns", undefined, "pull", async (lease) => {
      clock.mockRestore();
      // By its label it has been over for decades; others look after such when they make theirs.
      await leases.create("ns", "other", {});
      await leases.addResource("ns", lease, { type: "content", id: digest });
      return await leases.resources("ns", lease);
    })
    .finally(() => clock.mockRestore());
  expect(kept).toEqual([{ type: "content", id: digest }]);
  expect((await leases.list("ns")).map(({ id }) => id)).toEqual(["other"]);
});

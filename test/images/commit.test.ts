/** Images that are made of an image and what a container has written. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, expect, it } from "vitest";
import { Content } from "../../src/core/content/content.js";
import { EventBus } from "../../src/core/events/event-bus.js";
import { checkStore } from "../../src/core/images/check-store.js";
import type { CommitRequest } from "../../src/core/images/commit.js";
import { changedConfig } from "../../src/core/images/config-changes.js";
import { bytesOf } from "../../src/core/images/documents.js";
import { Images } from "../../src/core/images/image-records.js";
import { chainIds } from "../../src/core/images/manifest.js";
import { ImageTransfers } from "../../src/core/images/transfers.js";
import { Collection } from "../../src/core/metadata/collection.js";
import { Leases } from "../../src/core/metadata/leases.js";
import { Namespaces } from "../../src/core/metadata/namespaces.js";
import { Store } from "../../src/core/metadata/store.js";
import { Snapshots } from "../../src/core/snapshots/snapshots.js";
import { directoryPrefix } from "../harness/run-name.js";
import { treeOf } from "./layers/tree.js";

const NAMESPACE = "default";
const root = mkdtempSync(`${directoryPrefix()}commit-`);
const log = pino({ level: "silent" });
const bus = new EventBus();
const store = new Store(join(root, "metadata"));
const namespaces = new Namespaces(store, bus);
const collection = new Collection(store, log);
const leases = new Leases(store, namespaces, collection);
const parts = { store, namespaces, leases, collection, bus, log };
const content = new Content(join(root, "content"), parts);
const images = new Images(parts);
const snapshots = new Snapshots({ ...parts, root });
const transfers = new ImageTransfers({
  ...{ content, images, leases, snapshots, layers: snapshots.layers },
  ...{ root, hostsDirs: [], workers: 1, discardBlobs: false, version: "test" },
});

afterAll(async () => {
  for (const { name } of await images.list(NAMESPACE)) await images.delete(NAMESPACE, name);
  await collection.run();
  await snapshots.cleanup();
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

function commit(request: Partial<CommitRequest>) {
  return transfers.commit({
    ...{ namespace: NAMESPACE, base: "", upper: "", idMaps: undefined, name: "", change: (before) => before },
    ...{ author: "", comment: "", createdBy: "", onRead: async () => {}, signal: new AbortController().signal },
    ...request,
  });
}

async function documentsOf(digest: string) {
  const json = async (of: string) => JSON.parse((await bytesOf(content, NAMESPACE, of)).toString());
  const manifest = await json(digest);
  return { manifest, config: await json(manifest.config.digest) };
}

it("have its layers and one more, a config with the changes, a name, and can be used at once", async () => {
  const upper = join(root, "first");
  mkdirSync(join(upper, "etc"), { recursive: true });
  writeFileSync(join(upper, "etc/one"), "1");
  writeFileSync(join(upper, "etc/two"), "2");
  execFileSync("chown", ["-R", "100000:100000", upper]);
  const range = [{ inside: 0, outside: 100_000, length: 65_536 }];
  const first = await commit({
    ...{ upper, idMaps: { uids: range, gids: range }, name: "docker.io/library/first:latest", author: "A" },
    change: (before) => changedConfig(before, ['CMD ["sh"]', "ENV A=1"]),
  });
  expect(first.name).toBe("docker.io/library/first:latest");

  const over = join(root, "second");
  mkdirSync(join(over, "etc"), { recursive: true });
  execFileSync("mknod", [join(over, "etc/one"), "c", "0", "0"]);
  writeFileSync(join(over, "etc/three"), "3");
  let read = 0;
  const second = await commit({
    ...{ base: first.target.digest, upper: over, comment: "C", createdBy: "sh" },
    change: (before) => changedConfig(before, ["ENV B=$A", "LABEL l=m"]),
    onRead: async () => {
      read++;
    },
  });
  expect(second.name).toBe(second.target.digest);
  expect(read).toBe(1);
  const { manifest, config } = await documentsOf(second.target.digest);
  expect(manifest.layers).toHaveLength(2);
  expect(config.config).toEqual({ Cmd: ["sh"], Env: ["A=1", "B=1"], Labels: { l: "m" } });
  expect(config.history).toMatchObject([{ author: "A" }, { comment: "C", created_by: "sh" }]);

  const tree = await snapshots.withMounted(NAMESPACE, chainIds(config.rootfs.diff_ids)[1]!, async (at) => treeOf(at));
  expect(Object.keys(tree).sort()).toEqual(["", "etc", "etc/three", "etc/two"]);
  expect(tree["etc/two"]).toMatchObject({ owner: "0:0", size: "1" });
  const faults: string[] = [];
  for await (const fault of checkStore({ collection, rooms: [content, snapshots] })) faults.push(fault);
  expect(faults).toEqual([]);
  expect(await leases.list(NAMESPACE)).toEqual([]);
  // All of it belongs to the images: a collection takes nothing.
  await collection.run();
  expect((await documentsOf(second.target.digest)).manifest).toEqual(manifest);
});

it("are not there when what a container has written can't be a layer, or somebody calls it off", async () => {
  const upper = join(root, "bad");
  mkdirSync(upper);
  writeFileSync(join(upper, ".wh.file"), "");
  const before = (await images.list(NAMESPACE)).length;
  await expect(commit({ upper, name: "bad" })).rejects.toThrow(".wh.");
  await expect(
    commit({ upper: join(root, "first"), name: "off", signal: AbortSignal.abort(new Error("off")) }),
  ).rejects.toThrow("off");
  expect(await images.list(NAMESPACE)).toHaveLength(before);
  expect(await leases.list(NAMESPACE)).toEqual([]);
});

/** What is told of a --root where records, directories, layer files and mounts do not fit together. */
import { mkdirSync, readdirSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Store } from "../../src/core/metadata/store.js";
import { mountErofs } from "../../src/system/mount/erofs.js";
import { unmountNow } from "../../src/system/mount/kernel-mount.js";
import { faultsOfRoot, openRoot } from "../harness/check-root.js";
import { KEPT, unpackLayer } from "../harness/client-unpack.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { file, ImageLayout } from "../harness/test-images.js";

const snapshotter = "overlayfs";
const OF_ACTIVE = 'snapshot "active" of namespace "default"';

let daemon: TestDaemon;
/** Two layers on each other, an active snapshot on the upper one, and a third layer that nothing is put on. The daemon is dead. */
let ids: { upper: string; lone: string; active: string };
let files: { lower: string; upper: string; lone: string };
beforeEach(async () => {
  daemon = await startDaemon();
  const api = daemon.v1();
  const layout = new ImageLayout(join(daemon.dir, "layout"));
  const keys: string[] = [];
  for (const [name, parent] of [
    ["lower", ""],
    ["upper", "lower"],
    ["lone", ""],
  ] as const) {
    await unpackLayer(api, layout, { name, parent }, [file(`of-${name}`, name)]);
    const added = readdirSync(join(daemon.root, "layers")).filter((file) => file.endsWith(".erofs"));
    keys.push(...added.filter((file) => !keys.includes(file)));
  }
  await api.snapshots.prepare({ snapshotter, key: "active", parent: "upper", labels: KEPT });
  await daemon.kill();
  const root = openRoot(daemon.root);
  const found = new Map((await root.snapshots.list("default")).map(({ name, id }) => [name, `${id}`]));
  await root.store.close();
  ids = { upper: found.get("upper")!, lone: found.get("lone")!, active: found.get("active")! };
  const [lower, upper, lone] = keys.map((name) => join(daemon.root, "layers", name));
  files = { lower: lower!, upper: upper!, lone: lone! };
});
const directory = (id: string) => join(daemon.root, "snapshots", id);
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

test("nothing of one that a kill has left as it was", async () => {
  expect(await faultsOfRoot(daemon.root)).toEqual([]);
});

test("layer files that are gone, have become others, or are of nobody", async () => {
  renameSync(files.lone, `${files.lone.slice(0, -"0.erofs".length)}x.erofs`);
  truncateSync(files.upper, 4096);
  writeFileSync(join(daemon.root, "layers/tmp/7"), "");
  const faults = await faultsOfRoot(daemon.root);
  expect(faults.map((fault) => fault.replace(/^layer \S+: /, "").replace(/not \d+$/, "not N")).sort()).toEqual(
    [
      `no file ${files.lone}`,
      `${files.upper} has 4096 bytes, not N`,
      `${files.lone.slice(0, -"0.erofs".length)}x.erofs: a file that no record knows of`,
      `${join(daemon.root, "layers/tmp/7")}: a file that no record knows of`,
    ].sort(),
  );
  expect((await faultsOfRoot(daemon.root, { ofKilled: true })).length).toBe(2);
});

test("directories that are gone, or of nobody", async () => {
  rmSync(directory(ids.active), { recursive: true });
  for (const name of ["999", "look-7"]) mkdirSync(join(daemon.root, "snapshots", name));
  const stray = (name: string) => `${join(daemon.root, "snapshots", name)}: a directory that no record knows of`;
  expect((await faultsOfRoot(daemon.root)).sort()).toEqual(
    [stray("999"), stray("look-7"), `${OF_ACTIVE}: no directory ${directory(ids.active)}/fs`].sort(),
  );
});

test("mounts that nothing uses, and of another layer", async () => {
  unmountNow(join(directory(ids.upper), "fs"));
  mountErofs(files.lower, join(directory(ids.upper), "fs"));
  const lone = join(directory(ids.lone), "fs");
  mkdirSync(lone, { recursive: true });
  mountErofs(files.lone, lone);
  expect((await faultsOfRoot(daemon.root)).sort()).toEqual(
    [
      `${lone}: a mount that nothing uses`,
      `${directory(ids.upper)}/fs: ${files.lower} is mounted, not ${files.upper}`,
    ].sort(),
  );
});

test("records that do not hang together", async () => {
  const store = new Store(join(daemon.root, "metadata"));
  const users = store.table<true>("layer-users");
  const children = store.table<true>("snapshot-children");
  const owners = store.table<object>("snapshot-owners");
  const { lone: id, upper, active } = ids;
  const [layer = ""] = await store.read(() => users.page(undefined, 9).find(({ key }) => key[1] === id)!.key);
  await store.write(() => {
    users.remove([layer, id]);
    users.put([layer, active], true);
    children.remove([upper, "live", active]);
    children.put([id, "live", active], true);
    owners.put(["999"], { namespace: "default", name: "gone" });
  });
  await store.close();
  // Nobody knows any more that they are used.
  const ofMounts = /a mount that nothing uses$/;
  expect((await faultsOfRoot(daemon.root)).filter((fault) => !ofMounts.test(fault)).sort()).toEqual(
    [
      `snapshot "lone" of namespace "default": layer ${layer} may be removed, though this uses it`,
      `layer ${layer}: kept for ${active}, which does not use it`,
      `${OF_ACTIVE}: "upper" may be removed, though this is put on it`,
      `directory ${id}: kept for ${active}, which is not put on it`,
      "directory 999: kept for a snapshot that is not there",
    ].sort(),
  );
});

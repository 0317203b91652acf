/** Layer files: mounted while something uses them, over restarts and kills of the daemon; collected with what has used them. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import pino from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EventBus } from "../../src/core/events/event-bus.js";
import { Collection } from "../../src/core/metadata/collection.js";
import { Leases } from "../../src/core/metadata/leases.js";
import { Namespaces } from "../../src/core/metadata/namespaces.js";
import { Store } from "../../src/core/metadata/store.js";
import { Snapshots } from "../../src/core/snapshots/snapshots.js";
import { backingFile } from "../../src/system/mount/loop-device.js";
import { mount } from "../../src/system/mount/mount.js";
import { KEPT, putLayer, unpackLayer } from "../harness/client-unpack.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import { Mounted, mountsBelow } from "../harness/mounted.js";
import { directory, file, ImageLayout } from "../harness/test-images.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually, PATIENCE } from "../harness/wait.js";

const snapshotter = "overlayfs";

let daemon: TestDaemon;
let layout: ImageLayout;
beforeEach(async () => {
  daemon = await startDaemon();
  layout = new ImageLayout(join(daemon.dir, "layout"));
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const prepare = async (api: ApiV1, key: string, parent = "") =>
  (await api.snapshots.prepare({ snapshotter, key, parent })).mounts;
const mountsOf = async (api: ApiV1, key: string) => (await api.snapshots.mounts({ snapshotter, key })).mounts;
const remove = (api: ApiV1, key: string) => api.snapshots.remove({ snapshotter, key });

/** A chain of so many layers, `NAME-1` the lowest. */
async function chain(api: ApiV1, count: number, name = "layer"): Promise<string> {
  let parent = "";
  for (let i = 1; i <= count; i++) {
    await unpackLayer(api, layout, { name: `${name}-${i}`, parent }, [
      ...[directory("d"), file(`d/of-${i}`, `${name} ${i}`), file("d/top", `${i}`)],
    ]);
    parent = `${name}-${i}`;
  }
  return parent;
}

/** The directories of snapshots at which a layer file is mounted. */
const mountedLayers = () =>
  mountsBelow(daemon.root)
    .filter((line) => line.includes(" erofs "))
    .map((line) => line.split(" ")[4]!);
const layerFiles = () => readdirSync(join(daemon.root, "layers")).filter((name) => name.endsWith(".erofs"));

test("are mounted at the first use, once, and unmounted when nothing uses them", async () => {
  const api = daemon.v1();
  const top = await chain(api, 3);
  expect(mountedLayers()).toEqual([]);
  await prepare(api, "one", top);
  expect(mountedLayers()).toHaveLength(3);
  await prepare(api, "two", top);
  await api.snapshots.view({ snapshotter, key: "low", parent: "layer-1" });
  expect(mountedLayers()).toHaveLength(3);
  await remove(api, "one");
  expect(mountedLayers()).toHaveLength(3);
  await remove(api, "two");
  expect(mountedLayers()).toHaveLength(1);
  await remove(api, "low");
  expect(mountedLayers()).toEqual([]);
  expect(layerFiles()).toHaveLength(3);
  // A mount of a client's goes on when ours is gone.
  using mounted = new Mounted(daemon.dir, await prepare(api, "three", top));
  await remove(api, "three");
  expect(mountedLayers()).toEqual([]);
  expect(readFileSync(join(mounted.path, "d/of-2"), "utf8")).toBe("layer 2");
});

test("of different namespaces are one file, which goes with the last snapshot of it", async () => {
  const [api, other] = [daemon.v1("one"), daemon.v1("two")];
  await chain(api, 2);
  await chain(other, 2);
  expect(layerFiles()).toHaveLength(2);
  await prepare(other, "key", "layer-2");
  for (const name of ["layer-2", "layer-1"]) await remove(api, name);
  expect(layerFiles()).toHaveLength(2);
  using mounted = new Mounted(daemon.dir, await mountsOf(other, "key"));
  expect(readFileSync(join(mounted.path, "d/top"), "utf8")).toBe("2");
  for (const name of ["key", "layer-2", "layer-1"]) await remove(other, name);
  expect([layerFiles(), mountedLayers()]).toEqual([[], []]);
});

test("a daemon that is killed, or stopped, leaves them to the next one", async () => {
  const api = daemon.v1();
  const top = await chain(api, 2);
  const mounts = await prepare(api, "key", top);
  for (const kill of [true, false]) {
    await daemon.restart({ kill });
    expect(mountedLayers()).toHaveLength(2);
    expect(await mountsOf(daemon.v1(), "key")).toEqual(mounts);
    expect(mountedLayers()).toHaveLength(2);
  }
  // What another one needs stays, though this daemon has never been asked for it.
  await daemon.restart({ kill: true });
  await prepare(daemon.v1(), "more", top);
  await remove(daemon.v1(), "more");
  expect(mountedLayers()).toHaveLength(2);
  await daemon.restart({ kill: true });
  await remove(daemon.v1(), "key");
  expect(mountedLayers()).toEqual([]);
});

test("what a killed daemon has left half made goes at the first use; what others have put there stays", async () => {
  const api = daemon.v1();
  const top = await chain(api, 2);
  const [mounted] = await prepare(api, "key", top);
  const upper = mounted!.options.find((option) => option.startsWith("upperdir="))!.slice("upperdir=".length);
  const [lowest] = mountedLayers();
  await remove(api, "key");
  await daemon.kill();
  const snapshots = join(daemon.root, "snapshots");
  // Mounted, and killed before there was a snapshot that uses it.
  const [layer] = layerFiles();
  execFileSync("mount", ["-t", "erofs", "-o", "ro", join(daemon.root, "layers", layer!), lowest!]);
  // A snapshot's directories without its record; its id is never used again.
  const outside = join(daemon.dir, "outside");
  mkdirSync(outside);
  writeFileSync(join(outside, "kept"), "kept");
  mkdirSync(join(snapshots, "4711/fs/d"), { recursive: true });
  symlinkSync(outside, join(snapshots, "4711/fs/link"));
  // A file that was being made, and one without a record.
  writeFileSync(join(daemon.root, "layers/tmp/0"), "half");
  writeFileSync(join(daemon.root, `layers/sha256-${"0".repeat(64)}.erofs`), "no record");
  // Of others.
  mkdirSync(join(snapshots, "mine"));
  mkdirSync(join(snapshots, "4712/fs"), { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "tmpfs", join(snapshots, "4712/fs")]);
  writeFileSync(join(snapshots, "4712/fs/file"), "");
  await daemon.start();
  await daemon.v1().snapshots.cleanup({ snapshotter });
  expect(mountsBelow(daemon.root).map((line) => line.split(" ")[4])).toEqual([
    join(realpathSync(snapshots), "4712/fs"),
  ]);
  expect(existsSync(join(snapshots, "4712/fs/file"))).toBe(true);
  expect([existsSync(join(snapshots, "4711")), existsSync(join(snapshots, "mine"))]).toEqual([false, true]);
  expect(readFileSync(join(outside, "kept"), "utf8")).toBe("kept");
  expect(layerFiles()).toHaveLength(2);
  expect(readdirSync(join(daemon.root, "layers/tmp"))).toEqual([]);
  const [next] = await prepare(daemon.v1(), "key", top);
  expect(next!.options.join()).toMatch(/snapshots\/4713\/fs/);
  expect(upper).not.toMatch("4713");
  execFileSync("umount", [join(snapshots, "4712/fs")]);
});

test("a daemon that is used for nothing of it touches nothing of it", async () => {
  const api = daemon.v1();
  await prepare(api, "key", await chain(api, 1));
  await daemon.restart();
  const before = mountsBelow(daemon.root);
  mkdirSync(join(daemon.root, "snapshots/4711"));
  await daemon.v1().version.version();
  await daemon.v1().containers.list({});
  expect(mountsBelow(daemon.root)).toEqual(before);
  expect(existsSync(join(daemon.root, "snapshots/4711"))).toBe(true);
});

test("one that somebody has unmounted is mounted again: never an empty directory in its place", async () => {
  const api = daemon.v1();
  await prepare(api, "key", await chain(api, 2));
  for (const path of mountedLayers()) execFileSync("umount", [path]);
  using mounted = new Mounted(daemon.dir, await mountsOf(api, "key"));
  expect(readFileSync(join(mounted.path, "d/of-1"), "utf8")).toBe("layer 1");
  for (const path of mountedLayers()) execFileSync("umount", [path]);
  await remove(api, "key");
  expect(mountedLayers()).toEqual([]);
});

test("a file that is lost, or damaged, is an error of what needs it", async () => {
  const api = daemon.v1();
  const top = await chain(api, 2);
  await daemon.stop();
  const [first, second] = layerFiles().sort();
  rmSync(join(daemon.root, "layers", first!));
  writeFileSync(join(daemon.root, "layers", second!), "damaged");
  await daemon.start();
  expect(await refusal(prepare(daemon.v1(), "key", top))).toMatch(
    /^FAILED_PRECONDITION: layer file .* can't be mounted: /,
  );
  expect(mountedLayers()).toEqual([]);
  expect((await daemon.v1().listSnapshots(snapshotter)).map(({ name }) => name)).toEqual(["layer-1", "layer-2"]);
  await prepare(daemon.v1(), "of others");
});

test("more layers than a page of options has room for", async () => {
  const count = times(400, 130);
  const { diffId } = await unpackLayer(daemon.v1(), layout, { name: "one" }, [directory("d"), file("d/file", "text")]);
  await daemon.stop();
  await using opened = open();
  const { snapshots } = opened;
  const layer = (await snapshots.layers.get(diffId))!;
  let parent = "";
  for (let i = 0; i < count; i++) {
    await snapshots.commitLayer("many", `layer-${i}`, parent, layer, {});
    parent = `layer-${i}`;
  }
  const [mounted] = await snapshots.prepare("many", "key", parent, {});
  expect(mountedLayers()).toHaveLength(count);
  const target = join(daemon.dir, "target");
  mkdirSync(target);
  // As a task's root file system is mounted.
  await mount(mounted!, target, AbortSignal.timeout(PATIENCE));
  expect(readFileSync(join(target, "d/file"), "utf8")).toBe("text");
  execFileSync("umount", [target]);
  await snapshots.remove("many", "key");
  expect(mountedLayers()).toEqual([]);
});

/** Snapshots below the root of a daemon that does not run. */
function open(erofsWay?: "file" | "loop") {
  const log = pino({ level: "silent" });
  const store = new Store(join(daemon.root, "metadata"));
  const bus = new EventBus();
  const collection = new Collection(store, log);
  const namespaces = new Namespaces(store, bus);
  const leases = new Leases(store, namespaces, collection);
  const parts = { store, namespaces, leases, collection, bus, log, root: daemon.root };
  const snapshots = new Snapshots({ ...parts, ...(erofsWay && { erofsWay }) });
  return { snapshots, [Symbol.asyncDispose]: () => store.close() };
}

test("by loop devices, where the kernel can't mount files: gone with the mounts, also those that a kill has left", async () => {
  await chain(daemon.v1("ns"), 2);
  await daemon.stop();
  const devices = () =>
    readdirSync("/sys/block")
      .filter((name) => backingFile(`/dev/${name}`)?.startsWith(`${realpathSync(daemon.root)}/`))
      .sort();
  {
    await using opened = open("loop");
    const mounts = await opened.snapshots.prepare("ns", "key", "layer-2", {});
    expect([mountedLayers().length, devices().length]).toEqual([2, 2]);
    {
      using mounted = new Mounted(daemon.dir, [{ ...mounts[0]!, options: [...mounts[0]!.options] }]);
      expect(readFileSync(join(mounted.path, "d/of-1"), "utf8")).toBe("layer 1");
      expect(readFileSync(join(mounted.path, "d/top"), "utf8")).toBe("2");
    }
    await opened.snapshots.remove("ns", "key");
    await eventually(() => devices().length === 0);
    expect(mountedLayers()).toEqual([]);
    await opened.snapshots.prepare("ns", "key", "layer-2", {});
  }
  // The next one, whose kernel mounts files, finds them, and unmounts one that nothing needs.
  const [lowest] = mountedLayers();
  await daemon.start();
  await mountsOf(daemon.v1("ns"), "key");
  expect([mountedLayers().length, devices().length]).toEqual([2, 2]);
  await remove(daemon.v1("ns"), "key");
  await eventually(() => devices().length === 0);
  await daemon.kill();
  execFileSync("mount", ["-t", "erofs", "-o", "ro,loop", join(daemon.root, "layers", layerFiles()[0]!), lowest!]);
  await daemon.start();
  await daemon.v1("ns").snapshots.cleanup({ snapshotter });
  expect(mountedLayers()).toEqual([]);
  await eventually(() => devices().length === 0);
});

test("for a user namespace: files belong to its ids, layers stay as they are", async () => {
  const api = daemon.v1();
  await unpackLayer(api, layout, { name: "low" }, [directory("d"), file("d/web", "low", { uid: 1001, gid: 1002 })]);
  // A directory among the layers.
  {
    using mounted = new Mounted(daemon.dir, await prepare(api, "making middle", "low"));
    writeFileSync(join(mounted.path, "d/root"), "middle");
  }
  await api.snapshots.commit({ snapshotter, name: "middle", key: "making middle", labels: KEPT });
  await unpackLayer(api, layout, { name: "top", parent: "middle" }, [file("d/of-top", "top", { uid: 7, gid: 7 })]);
  const labels = {
    "containerd.io/snapshot/uidmapping": "0:100000:65536",
    "containerd.io/snapshot/gidmapping": "0:200000:65536",
  };
  const { mounts } = await api.snapshots.prepare({ snapshotter, key: "key", parent: "top", labels });
  const owner = (path: string) => {
    const { uid, gid } = statSync(path);
    return [uid, gid];
  };
  {
    using mounted = new Mounted(daemon.dir, mounts);
    expect(["d/web", "d/root", "d/of-top", "d", "."].map((name) => owner(join(mounted.path, name)))).toEqual([
      ...[
        [101_001, 201_002],
        [100_000, 200_000],
        [100_007, 200_007],
        [100_000, 200_000],
        [100_000, 200_000],
      ],
    ]);
    // By its owner: copied up, it stays his.
    const user = ["--reuid=101001", "--regid=201002", "--clear-groups"];
    execFileSync("setpriv", [...user, "sh", "-c", "echo more >> d/web"], { cwd: mounted.path });
    expect(readFileSync(join(mounted.path, "d/web"), "utf8")).toBe("lowmore\n");
    expect(owner(join(mounted.path, "d/web"))).toEqual([101_001, 201_002]);
  }
  using plain = new Mounted(daemon.dir, await prepare(api, "plain", "top"));
  expect(owner(join(plain.path, "d/web"))).toEqual([1001, 1002]);
  const view = await api.snapshots.view({ snapshotter, key: "view", parent: "low", labels });
  expect(view.mounts[0]!.type).toBe("bind");
  using looked = new Mounted(daemon.dir, view.mounts);
  expect(owner(join(looked.path, "d/web"))).toEqual([101_001, 201_002]);
  expect(
    await refusal(
      api.snapshots.prepare({
        snapshotter,
        key: "x",
        parent: "top",
        labels: { ...labels, "containerd.io/snapshot/gidmapping": "a:b:c" },
      }),
    ),
  ).toBe(
    'INVALID_ARGUMENT: label containerd.io/snapshot/gidmapping="a:b:c": not of the form INSIDE:OUTSIDE:LENGTH: invalid argument',
  );
  // The next daemon has the mounts as they are, or makes them anew; with the snapshot they go.
  await daemon.restart({ kill: true });
  expect(await mountsOf(daemon.v1(), "key")).toEqual(mounts);
  for (const key of ["plain", "view", "key"]) await remove(daemon.v1(), key);
  expect(mountsBelow(daemon.root)).toEqual([]);
  expect((await daemon.v1().listSnapshots(snapshotter)).map(({ name }) => name)).toEqual(["low", "middle", "top"]);
});

test("a limit for what is written, which there is not, is refused: nobody may count on it", async () => {
  const labels = { "containerd.io/snapshot/disk_quota": "10g" };
  expect(await refusal(daemon.v1().snapshots.prepare({ snapshotter, key: "key", labels }))).toBe(
    "UNIMPLEMENTED: label containerd.io/snapshot/disk_quota: a limit for what is written is not supported: not implemented",
  );
  expect(await daemon.v1().listSnapshots(snapshotter)).toEqual([]);
});

test("a kernel without EROFS: an error that says what it lacks", async () => {
  const known = readFileSync("/proc/filesystems", "utf8").replace(/^.*\terofs\n/m, "");
  const list = join(daemon.dir, "filesystems");
  writeFileSync(list, known);
  const api = daemon.v1();
  const top = await chain(api, 1);
  await daemon.stop();
  const wrapper = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /proc/filesystems && shift && exec "$@"', "sh"];
  await using other = await startDaemon({ root: daemon.root, wrapper: [...wrapper, list] });
  expect(await refusal(prepare(other.v1(), "key", top))).toMatch(
    /^FAILED_PRECONDITION: layer file .*: this kernel has no EROFS, .*CONFIG_EROFS_FS.* module erofs/,
  );
  // What needs none works, and the rest does once there is one.
  await prepare(other.v1(), "plain");
  writeFileSync(list, `${known}\terofs\n`);
  await prepare(other.v1(), "key", top);
});

test("a root on an overlayfs: an error that says why", async () => {
  const [lower, upper, work, root] = ["lower", "upper", "work", "merged"].map((name) => join(daemon.dir, name));
  for (const path of [lower!, upper!, work!, root!]) mkdirSync(path);
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  execFileSync("mount", ["-t", "overlay", "-o", options, "overlay", root!]);
  try {
    await using other = await startDaemon({ root: root! });
    expect(await refusal(prepare(other.v1(), "key"))).toMatch(
      /^FAILED_PRECONDITION: no snapshots in .*merged\/snapshots: on an overlayfs, .*--root on another file system/,
    );
    expect((await other.v1().containers.list({})).containers).toEqual([]);
  } finally {
    spawnSync("umount", ["--lazy", root!]);
  }
});

test("what nothing needs is collected, with its layer files; what a lease, an image or a container needs is not", async () => {
  const api = daemon.v1();
  await api.leases.create({ id: "lease" });
  const layer = await layout.layer([file("file", "text")]);
  const diff = await putLayer(api, layout, layer);
  for (const name of ["leased", "labelled", "contained"]) {
    const lease = { lease: "lease" };
    const { mounts } = await api.snapshots.prepare({ snapshotter, key: `extract-1 ${name}` }, lease);
    await api.diff.apply({ diff, mounts });
    await api.snapshots.commit({ snapshotter, name, key: `extract-1 ${name}` }, lease);
  }
  await prepare(api, "active", "contained");
  const data = Buffer.from("{}");
  using writer = api.writeContent();
  const labels = { ...KEPT, "containerd.io/gc.ref.snapshot.overlayfs": "labelled" };
  const written = await writer.commit({ ref: "config", data, total: BigInt(data.length), labels });
  const names = async () => (await api.listSnapshots(snapshotter)).map(({ name }) => name);
  await api.leases.delete({ id: "lease", sync: true });
  expect(await names()).toEqual(["active", "contained", "labelled"]);
  await remove(api, "active");
  await api.leases.create({ id: "another" });
  await api.leases.delete({ id: "another", sync: true });
  expect(await names()).toEqual(["labelled"]);
  expect(layerFiles()).toHaveLength(1);
  await api.content.delete({ digest: written.digest });
  await eventually(async () => (await names()).length === 0);
  // Side by side.
  await eventually(() => layerFiles().length === 0 && readdirSync(join(daemon.root, "snapshots")).length === 0);
});

/**
 * The snapshots service: trees of files that are put on each other. Debian's containerd collects what nothing needs as soon as something is
 * removed, active snapshots too: they have a label here that keeps them.
 */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import type { Info } from "../../src/proto/containerd/services/snapshots/v1/snapshots.js";
import { Kind } from "../../src/proto/containerd/services/snapshots/v1/snapshots.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { Mounted } from "../harness/mounted.js";
import { type ApiV1, refusal } from "../harness/v1.js";

const fixture = useContainerd1();
const ours = test.skipIf(isDebians);

const snapshotter = "overlayfs";
const KEPT = { "containerd.io/gc.root": "for the test" };

const prepare = async (api: ApiV1, key: string, parent = "", labels: Record<string, string> = {}) =>
  (await api.snapshots.prepare({ snapshotter, key, parent, labels: { ...KEPT, ...labels } })).mounts;
const view = async (api: ApiV1, key: string, parent = "") =>
  (await api.snapshots.view({ snapshotter, key, parent, labels: KEPT })).mounts;
const mountsOf = async (api: ApiV1, key: string) => (await api.snapshots.mounts({ snapshotter, key })).mounts;
const commit = (api: ApiV1, name: string, key: string) =>
  api.snapshots.commit({ snapshotter, name, key, labels: KEPT });
const remove = (api: ApiV1, key: string) => api.snapshots.remove({ snapshotter, key });
const stat = async (api: ApiV1, key: string) => (await api.snapshots.stat({ snapshotter, key })).info!;
const usage = (api: ApiV1, key: string) => api.snapshots.usage({ snapshotter, key });
const names = async (api: ApiV1, ...filters: string[]) =>
  (await api.listSnapshots(snapshotter, ...filters)).map(({ name }) => name);

/** A committed snapshot with these files, made as a client does it. */
async function committed(api: ApiV1, name: string, parent: string, write: (directory: string) => void): Promise<void> {
  {
    using mounted = new Mounted(fixture.daemon.dir, await prepare(api, `making ${name}`, parent));
    write(mounted.path);
  }
  await commit(api, name, `making ${name}`);
}

/** Of an overlay: the value of an option. */
const option = ({ options }: { options: string[] }, name: string) =>
  options.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);

test("trees are put on each other: written, committed, looked at", async () => {
  const api = fixture.daemon.v1("stack");
  await committed(api, "one", "", (directory) => {
    mkdirSync(join(directory, "etc"));
    writeFileSync(join(directory, "etc/name"), "one");
    writeFileSync(join(directory, "gone"), "");
  });
  await committed(api, "two", "one", (directory) => {
    expect(readFileSync(join(directory, "etc/name"), "utf8")).toBe("one");
    writeFileSync(join(directory, "etc/name"), "two");
    writeFileSync(join(directory, "etc/more"), "");
    rmSync(join(directory, "gone"));
  });
  using top = new Mounted(fixture.daemon.dir, await prepare(api, "top", "two"));
  writeFileSync(join(top.path, "mine"), "mine");
  expect([readdirSync(top.path).sort(), readdirSync(join(top.path, "etc")).sort()]).toEqual([
    ["etc", "mine"],
    ["more", "name"],
  ]);
  using looked = new Mounted(fixture.daemon.dir, await view(api, "look", "two"));
  expect(readdirSync(looked.path)).toEqual(["etc"]);
  expect(readFileSync(join(looked.path, "etc/name"), "utf8")).toBe("two");
  expect(() => writeFileSync(join(looked.path, "no"), "")).toThrow("EROFS");
  using lowest = new Mounted(fixture.daemon.dir, await view(api, "lowest", "one"));
  expect(readFileSync(join(lowest.path, "etc/name"), "utf8")).toBe("one");
  expect(() => writeFileSync(join(lowest.path, "no"), "")).toThrow("EROFS");
});

test("clients get plain bind and overlay mounts", async () => {
  const api = fixture.daemon.v1("mounts");
  const [alone, ...more] = await prepare(api, "alone");
  expect([alone!.type, alone!.options, more]).toEqual(["bind", ["rw", "rbind"], []]);
  expect(await mountsOf(api, "alone")).toEqual([alone]);
  const [empty] = await view(api, "empty");
  expect([empty!.type, empty!.options]).toEqual(["bind", ["ro", "rbind"]]);
  await commit(api, "one", "alone");
  const [onOne] = await prepare(api, "on one", "one");
  expect([onOne!.type, onOne!.source, option(onOne!, "lowerdir")]).toEqual(["overlay", "overlay", alone!.source]);
  const [upper, work] = [option(onOne!, "upperdir")!, option(onOne!, "workdir")!];
  expect(dirname(upper)).toBe(dirname(work));
  expect(await mountsOf(api, "on one")).toEqual([onOne]);
  // What else is said does not keep BuildKit from finding the directories: these it knows.
  const others = onOne!.options.filter((one) => !/^(lowerdir|upperdir|workdir)=/.test(one));
  expect(others.filter((one) => one !== "index=off" && !one.startsWith("redirect_dir="))).toEqual([]);
  const [look] = await view(api, "look", "one");
  expect([look!.type, look!.source, look!.options]).toEqual(["bind", alone!.source, ["ro", "rbind"]]);
  await commit(api, "two", "on one");
  const [both] = await view(api, "both", "two");
  expect([both!.type, option(both!, "lowerdir"), option(both!, "upperdir")]).toEqual([
    "overlay",
    `${upper}:${alone!.source}`,
    undefined,
  ]);
});

test("a root directory belongs to whom it belongs below", async () => {
  const api = fixture.daemon.v1("owner");
  await committed(api, "owned", "", (directory) => chownSync(directory, 1234, 5678));
  using top = new Mounted(fixture.daemon.dir, await prepare(api, "top", "owned"));
  const { uid, gid, mode } = statSync(top.path);
  expect([uid, gid, mode & 0o7777]).toEqual([1234, 5678, 0o755]);
});

test("what is known of one: kind, parent, times, labels", async () => {
  const api = fixture.daemon.v1("info");
  await prepare(api, "key", "", { a: "1", empty: "" });
  const active = await stat(api, "key");
  expect(active).toEqual({
    ...{ name: "key", parent: "", kind: Kind.ACTIVE, labels: { ...KEPT, a: "1" } },
    ...{ createdAt: active.createdAt, updatedAt: active.createdAt },
  } satisfies Info);
  await commit(api, "name", "key");
  const made = await stat(api, "name");
  expect([made.kind, made.labels, made.parent]).toEqual([Kind.COMMITTED, KEPT, ""]);
  expect(made.createdAt!.nanos).not.toBe(active.createdAt!.nanos);
  expect(await refusal(stat(api, "key"))).toBe("NOT_FOUND: snapshot key does not exist: not found");
  await view(api, "look", "name");
  const look = await stat(api, "look");
  expect([look.kind, look.parent]).toEqual([Kind.VIEW, "name"]);
});

test("labels change by masks, nothing else does", async () => {
  const api = fixture.daemon.v1("labels");
  await prepare(api, "key", "", { a: "1", b: "2" });
  const update = async (labels: Record<string, string>, ...updateMask: string[]) => {
    const wanted: Info = { ...(await stat(api, "key")), labels, parent: "another", kind: Kind.COMMITTED };
    return (await api.snapshots.update({ snapshotter, info: wanted, updateMask })).info!;
  };
  expect((await update({ a: "3", z: "4" }, "labels.a")).labels).toEqual({ ...KEPT, a: "3", b: "2" });
  expect((await update({}, "labels.a")).labels).toEqual({ ...KEPT, b: "2" });
  expect((await update({ ...KEPT, "a.b/c": "5" }, "labels")).labels).toEqual({ ...KEPT, "a.b/c": "5" });
  const info = await update({ ...KEPT, d: "6" });
  expect([info.labels, info.parent, info.kind]).toEqual([{ ...KEPT, d: "6" }, "", Kind.ACTIVE]);
  expect(info.updatedAt).not.toEqual(info.createdAt);
  expect(await stat(api, "key")).toEqual(info);
  expect(await refusal(update({}, "parent"))).toBe(
    'INVALID_ARGUMENT: cannot update "parent" field on snapshot "key": invalid argument',
  );
  expect(await refusal(update({ x: "y".repeat(5000) }))).toBe(
    "INVALID_ARGUMENT: info.Labels: label key and value greater than maximum size (4096 bytes), key: x: invalid argument",
  );
});

test("lists are filtered; each namespace has its own", async () => {
  const api = fixture.daemon.v1("lists");
  await prepare(api, "a");
  await commit(api, "A", "a");
  await prepare(api, "b", "A", { colour: "red" });
  await view(api, "c", "A");
  expect(await names(api)).toEqual(["A", "b", "c"]);
  const found = await Promise.all(
    ["kind==active", "kind==committed", "kind==view", "parent==A", "name==A", "labels.colour", "id==1"].map((filter) =>
      names(api, filter),
    ),
  );
  expect(found).toEqual([["b"], ["A"], ["c"], ["b", "c"], ["A"], ["b"], []]);
  expect(await names(api, "name==b", "kind==view")).toEqual(["b", "c"]);
  const other = fixture.daemon.v1("lists-2");
  expect(await names(other)).toEqual([]);
  expect(await refusal(prepare(other, "b", "A"))).toBe("NOT_FOUND: parent snapshot A does not exist: not found");
  await prepare(other, "b");
  expect(await names(other)).toEqual(["b"]);
  expect((await stat(api, "b")).parent).toBe("A");
});

test("more than one message of a list", async () => {
  const api = fixture.daemon.v1("long-list");
  const keys = Array.from({ length: 230 }, (_, i) => `key ${String(i).padStart(3, "0")}`);
  await Promise.all(keys.map((key) => prepare(api, key)));
  expect(await names(api)).toEqual(keys);
});

test("what can't be done says why", async () => {
  const api = fixture.daemon.v1("errors");
  const { snapshots } = api;
  // Debian's containerd has no place for a namespace's snapshots before the first one.
  await prepare(api, "first");
  const missing = "NOT_FOUND: snapshot nope does not exist: not found";
  const first = await stat(api, "first");
  const refused = [
    ...[stat(api, "nope"), mountsOf(api, "nope"), usage(api, "nope"), remove(api, "nope"), commit(api, "x", "nope")],
    snapshots.update({ snapshotter, info: { ...first, name: "nope" } }),
  ];
  for (const words of await Promise.all(refused.map(refusal))) expect(words).toBe(missing);
  expect(await refusal(prepare(api, "x", "nope"))).toBe("NOT_FOUND: parent snapshot nope does not exist: not found");
  expect(await refusal(prepare(api, "first"))).toBe('ALREADY_EXISTS: snapshot "first": already exists');
  expect(await refusal(view(api, "first"))).toBe('ALREADY_EXISTS: snapshot "first": already exists');
  expect(await refusal(prepare(api, "x", "first"))).toMatch(
    /^INVALID_ARGUMENT: .*parent ".*first" is not committed snapshot: invalid argument$/,
  );
  expect(await refusal(commit(api, "first", "first"))).toBe('ALREADY_EXISTS: snapshot "first": already exists');
  await commit(api, "base", "first");
  await prepare(api, "child", "base");
  await view(api, "look", "base");
  expect(await refusal(commit(api, "base", "child"))).toBe('ALREADY_EXISTS: snapshot "base": already exists');
  for (const key of ["base", "look"])
    expect(await refusal(commit(api, "x", key))).toMatch(
      /^FAILED_PRECONDITION: failed to commit snapshot: snapshot ".*" is not active: failed precondition$/,
    );
  expect(await refusal(mountsOf(api, "base"))).toMatch(
    /^FAILED_PRECONDITION: failed to get active mount: requested snapshot .*base not active or view: failed precondition$/,
  );
  expect(await refusal(remove(api, "base"))).toBe(
    "FAILED_PRECONDITION: cannot remove snapshot with child: failed precondition",
  );
  expect(await refusal(snapshots.update({ snapshotter }))).toMatch(/^INVALID_ARGUMENT: /);
  // Debian's containerd has no words, and no code, of its own for it.
  for (const words of await Promise.all([prepare(api, ""), commit(api, "", "child")].map(refusal)))
    expect(words).toMatch(isDebians ? "UNKNOWN: bucket name required" : /^INVALID_ARGUMENT: .*empty/);
  // Nothing of it has left anything.
  expect(await names(api)).toEqual(["base", "child", "look"]);
});

test("the snapshotter is named in each call; there is one", async () => {
  const { snapshots } = fixture.api;
  const api = fixture.api;
  for (const [name, words] of [
    ["", "INVALID_ARGUMENT: snapshotter argument missing: invalid argument"],
    ["zfs", "INVALID_ARGUMENT: snapshotter not loaded: zfs: invalid argument"],
  ] as const) {
    const wrong = { snapshotter: name, key: "x" };
    const calls: Promise<unknown>[] = [
      ...[snapshots.prepare(wrong), snapshots.view(wrong), snapshots.mounts(wrong), snapshots.commit(wrong)],
      ...[snapshots.remove(wrong), snapshots.stat(wrong), snapshots.update(wrong), snapshots.usage(wrong)],
      ...[snapshots.cleanup(wrong), api.listSnapshots(name)],
    ];
    expect(await Promise.all(calls.map(refusal))).toEqual(calls.map(() => words));
  }
});

test("events tell of what is prepared, committed, removed", async () => {
  const api = fixture.daemon.v1("told");
  const events = await api.subscribe('topic~="^/snapshot/"');
  await prepare(api, "key");
  await commit(api, "name", "key");
  await view(api, "look", "name");
  await prepare(api, "child", "name");
  for (const key of ["look", "child", "name"]) await remove(api, key);
  await events.waitFor("/snapshot/remove", { key: "name" });
  const told = events.events.filter(({ namespace }) => namespace === "told");
  expect(told.every(({ type }) => type.startsWith("containerd.events.Snapshot"))).toBe(true);
  expect(told.map(({ topic, event }) => [topic, event.key, event.parent ?? event.name])).toEqual([
    ["/snapshot/prepare", "key", ""],
    ["/snapshot/commit", "key", "name"],
    ["/snapshot/prepare", "child", "name"],
    ["/snapshot/remove", "look", undefined],
    ["/snapshot/remove", "child", undefined],
    ["/snapshot/remove", "name", undefined],
  ]);
});

test("usage counts what is in a snapshot itself", async () => {
  const api = fixture.daemon.v1("usage");
  const write = (directory: string) => {
    mkdirSync(join(directory, "d"));
    writeFileSync(join(directory, "d/file"), Buffer.alloc(100_000));
  };
  await committed(api, "full", "", write);
  const full = await usage(api, "full");
  expect(full.inodes).toBe(3n);
  expect(Number(full.size)).toBeGreaterThanOrEqual(100_000);
  expect(Number(full.size)).toBeLessThan(200_000);
  using top = new Mounted(fixture.daemon.dir, await prepare(api, "top", "full"));
  const before = await usage(api, "top");
  expect(before.inodes).toBe(1n);
  writeFileSync(join(top.path, "more"), Buffer.alloc(50_000));
  const after = await usage(api, "top");
  expect([after.inodes, Number(after.size - before.size) >= 50_000]).toEqual([2n, true]);
  await view(api, "look", "full");
  expect(await usage(api, "look")).toEqual({ size: 0n, inodes: 0n });
});

test("keys may be any text", async () => {
  const api = fixture.daemon.v1("keys");
  const keys = ["extract-123-Ab_c sha256:0", "a/../../b", "ü €", "with\nline", "k".repeat(1000)];
  for (const key of keys) await prepare(api, key);
  expect((await names(api)).sort()).toEqual([...keys].sort());
  for (const key of keys) {
    expect((await stat(api, key)).name).toBe(key);
    await remove(api, key);
  }
  expect(await names(api)).toEqual([]);
});

test("what is removed is gone from the disk; a namespace with snapshots stays", async () => {
  const api = fixture.daemon.v1("removed");
  const [mount] = await prepare(api, "key");
  writeFileSync(join(mount!.source, "file"), "");
  expect(await refusal(api.namespaces.delete({ name: "removed" }))).toMatch(
    /^FAILED_PRECONDITION: namespace "removed" must be empty, but it still has snapshots/,
  );
  await remove(api, "key");
  // Debian's containerd removes the files some time later.
  if (!isDebians) expect(existsSync(dirname(mount!.source))).toBe(false);
  await api.namespaces.delete({ name: "removed" });
});

ours("Cleanup resolves once the space is free", async () => {
  expect(await fixture.api.snapshots.cleanup({ snapshotter })).toEqual({});
});

/**
 * The root file system of a task as a list of mounts: made before the runtime is called, gone with the task. Debian's containerd mounts in
 * a namespace of its own, where no test sees it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Mount } from "../../src/proto/containerd/types/mount.js";
import type { Spec } from "../harness/bundle.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { makeRootfs } from "../harness/rootfs.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { mountSilence } from "../harness/silence.js";
import { createContainer, createTask, removeContainer, startTask } from "../harness/task.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const wrapper = wrapRuntime(tmpdir(), `held-runc-${process.pid}`, "create", { kind: "hold" });
const containerd = useContainerd1(isDebians ? {} : { flags: ["--runtime", wrapper.path] });
const ours = test.skipIf(isDebians);

afterAll(() => {
  for (const suffix of ["", ".calls", ".on"]) rmSync(`${wrapper.path}${suffix}`, { force: true });
});

let source: string;
beforeAll(() => {
  source = join(containerd.daemon.dir, "source");
  makeRootfs(source);
  writeFileSync(join(source, "kept"), "kept");
});

function mount(type: string, from: string, ...options: string[]): Mount {
  return { type, source: from, target: "", options };
}

/** A specification whose root is the bundle's. */
const spec = (config: Spec) => {
  config.root = { path: "rootfs", readonly: false };
};

const mountsOf = (daemon: TestDaemon) =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(` ${realpathSync(daemon.runDir)}/tasks/`));

/** The directories of tasks, and of what is left of some. */
const directoriesOf = (daemon: TestDaemon, api: ApiV1) => readdirSync(join(daemon.runDir, "tasks", api.namespace));

function nothingIsLeft(daemon: TestDaemon, api: ApiV1): void {
  expect(mountsOf(daemon)).toEqual([]);
  expect(directoriesOf(daemon, api)).toEqual([]);
  expect(readFileSync(join(source, "kept"), "utf8")).toBe("kept");
  expect(existsSync(join(source, "bin", "busybox"))).toBe(true);
}

ours("is what the list says, with its options, until the task is deleted", async () => {
  const { daemon, api } = containerd;
  const [upper, work] = [join(daemon.dir, "upper"), join(daemon.dir, "work")];
  for (const directory of [upper, work]) mkdirSync(directory);
  const lists: [name: string, rootfs: Mount[], output: RegExp][] = [
    ["bound", [mount("bind", source, "rbind", "rw")], /^kept done\n$/],
    ["readonly", [mount("bind", source, "rbind", "ro")], /^kept .*[Rr]ead-only/],
    [
      "overlay",
      [mount("overlay", "overlay", `lowerdir=${source}`, `upperdir=${upper}`, `workdir=${work}`)],
      /^kept done\n$/,
    ],
    ["stacked", [mount("tmpfs", "", "size=1m", "nosuid"), mount("bind", source, "bind", "ro")], /^kept .*[Rr]ead-only/],
  ];
  for (const [name, rootfs, words] of lists) {
    const args = ["sh", "-c", 'printf "%s " "$(cat /kept)"; echo new 2>&1 >/written && echo done'];
    await using task = await createTask(daemon, api, { name, args, spec, stdio: true, request: { rootfs } });
    expect(mountsOf(daemon).length, name).toBe(rootfs.length);
    await task.start();
    await task.exit();
    expect((await task.output()).stdout, name).toMatch(words);
    // What has stopped is looked at by its client before it goes.
    expect(mountsOf(daemon).length, name).toBe(rootfs.length);
    await task.delete();
    nothingIsLeft(daemon, api);
  }
  expect(readFileSync(join(upper, "written"), "utf8")).toBe("new\n");
});

ours("an overlay may have more directories than their names have room in the kernel's page", async () => {
  const { daemon, api } = containerd;
  const directory = join(daemon.dir, "layers".repeat(10));
  const layers = Array.from({ length: 60 }, (_, index) => join(directory, `${index}`));
  for (const [index, layer] of layers.entries()) {
    mkdirSync(layer, { recursive: true });
    writeFileSync(join(layer, `file${index}`), "");
  }
  makeRootfs(join(directory, "base"));
  const lower = `lowerdir=${[...layers, join(directory, "base")].join(":")}`;
  expect(lower.length).toBeGreaterThan(4096);
  await using task = await startTask(daemon, api, {
    ...{ name: "layers", args: ["sh", "-c", "ls -d /file* | wc -l"], spec, stdio: true },
    request: { rootfs: [mount("overlay", "overlay", lower)] },
  });
  expect((await task.output()).stdout).toBe("60\n");
});

ours("a mount that fails is an error that names it, and undoes those before", async () => {
  const { daemon, api } = containerd;
  const containerId = await createContainer(daemon, api, { name: "failing", args: ["true"], spec });
  const first = mount("bind", source, "rbind");
  const missing = join(daemon.dir, "missing");
  const cases: [Mount, RegExp][] = [
    [
      mount("nosuchfs", "x"),
      /^UNKNOWN: failed to mount rootfs component nosuchfs "x": unknown file system type: unknown$/,
    ],
    [mount("bind", missing, "bind"), /^UNKNOWN: failed to mount rootfs component bind ".*missing": .*does not exist/],
    [mount("tmpfs", "t", "size=nonsense"), /^UNKNOWN: failed to mount rootfs component tmpfs "t": /],
    [
      mount("overlay", "o", `lowerdir=${"relative:".repeat(1000)}end`),
      /^UNKNOWN: failed to mount rootfs component overlay "o": /,
    ],
    [mount("", "nothing"), /^UNKNOWN: failed to mount rootfs component file system "nothing": /],
    [{ ...first, target: "etc" }, /^INVALID_ARGUMENT: .*"etc": a target below/],
    [mount("tmpfs", "a\0b"), /^INVALID_ARGUMENT: .*NUL/],
  ];
  for (const [wrong, words] of cases) {
    expect(await refusal(api.tasks.create({ containerId, rootfs: [first, wrong] }))).toMatch(words);
    nothingIsLeft(daemon, api);
  }
  await api.containers.delete({ id: containerId });
});

test.skipIf(isDebians || !full)("a mount that hangs is an error that names it, and holds up nobody else", async () => {
  const { daemon, api } = containerd;
  const silent = join(daemon.dir, "silent");
  const end = mountSilence(silent);
  try {
    const [hanging, other] = await Promise.all(
      ["hanging", "other"].map((name) => createContainer(daemon, api, { name, args: ["true"], spec })),
    );
    const rootfs = [mount("bind", source, "rbind"), mount("bind", join(silent, "below"), "rbind")];
    let isOver = false;
    const refused = refusal(api.tasks.create({ containerId: hanging!, rootfs })).finally(() => {
      isOver = true;
    });
    await eventually(() => mountsOf(daemon).length === 1, { what: "the first mount" });
    for (let n = 0; n < 3; n++) {
      await api.tasks.create({ containerId: other!, rootfs: rootfs.slice(0, 1) });
      await api.tasks.delete({ containerId: other! });
    }
    expect(isOver).toBe(false);
    expect(await refused).toMatch(
      /^DEADLINE_EXCEEDED: failed to mount rootfs component bind ".*below": not done within/,
    );
    nothingIsLeft(daemon, api);
    // The id is free.
    await api.tasks.create({ containerId: hanging!, rootfs: rootfs.slice(0, 1) });
    for (const id of [hanging!, other!]) await removeContainer(api, id);
  } finally {
    end();
  }
  nothingIsLeft(daemon, api);
});

ours("a kill of the daemon changes nothing of it: what runs has it, what is deleted later loses it", async () => {
  const { daemon } = containerd;
  const rootfs = [mount("tmpfs", "t"), mount("bind", source, "rbind")];
  const options = (name: string, ...args: string[]) => ({ name, args, spec, request: { rootfs } });
  const before = containerd.api;
  const created = await createTask(daemon, before, options("created", "sleep", "1000"));
  const running = await startTask(daemon, before, options("running", "sleep", "1000"));
  const stopped = await startTask(daemon, before, options("stopped", "true"));
  await stopped.exit();
  await daemon.kill();
  expect(mountsOf(daemon).length).toBe(6);
  await daemon.restart();
  const { api } = containerd;
  for (const { id } of [created, running, stopped]) {
    expect((await api.tasks.get({ containerId: id })).process!.containerId).toBe(id);
    await removeContainer(api, id);
  }
  nothingIsLeft(daemon, api);
});

ours("a kill of the daemon during a Create leaves nothing mounted, and removes nothing of what was", async () => {
  const { daemon } = containerd;
  const rootfs = [mount("tmpfs", "t"), mount("bind", source, "rbind")];
  const containerId = await createContainer(daemon, containerd.api, { name: "killed", args: ["true"], spec });
  const creates = () => readFileSync(`${wrapper.path}.calls`, "utf8").split(" create ").length;
  const earlier = creates();
  wrapper.on();
  const refused = refusal(containerd.api.tasks.create({ containerId, rootfs }));
  await eventually(() => creates() > earlier, { what: "the runtime" });
  expect(mountsOf(daemon).length).toBe(2);
  await daemon.kill();
  await refused;
  wrapper.off();
  await daemon.restart();
  const { api } = containerd;
  await eventually(() => directoriesOf(daemon, api).length === 0, { what: "the end of what was not created" });
  nothingIsLeft(daemon, api);
  await removeContainer(api, containerId);
});

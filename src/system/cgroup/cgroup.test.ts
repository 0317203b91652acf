import { execFile, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { hasHierarchies, ScratchCgroup } from "../../../test/harness/scratch-cgroup.js";
import { readProcStat, stateOf } from "../linux/proc-stat.js";
import { cgroupOf } from "./cgroup.js";
import { CgroupV1 } from "./v1.js";
import { CgroupV2 } from "./v2.js";

const HIERARCHIES = ["pids", "memory", "freezer", "cpuacct", "unified"];

describe.skipIf(!hasHierarchies(...HIERARCHIES))("cgroupOf, here", () => {
  test("a process in its own cgroup: v1 wins over v2 beside it", async () => {
    await using scratch = new ScratchCgroup(HIERARCHIES);
    const pid = await scratch.runReady("exec sleep 1000");
    const cgroup = cgroupOf(pid);
    expect(cgroup).toBeInstanceOf(CgroupV1);
    expect(cgroup.pids()).toEqual([pid]);
    const stats = cgroup.stats();
    expect(stats.pids.current).toBe(1n);
    expect(stats.memory.ram.usage).toBeGreaterThan(0n);
    cgroup.watchOom().close();
  });

  test("on v2 only, and in v1's systemd hierarchy only", async () => {
    await using unified = new ScratchCgroup(["unified"]);
    const first = await unified.runReady("exec sleep 1000");
    expect(cgroupOf(first)).toBeInstanceOf(CgroupV2);
    expect(cgroupOf(first).pids()).toEqual([first]);

    await using named = new ScratchCgroup(["systemd"]);
    const second = await named.runReady("exec sleep 1000");
    expect(cgroupOf(second).pids()).toEqual([second]);
    await using both = new ScratchCgroup(["systemd", "unified"]);
    const third = await both.runReady("exec sleep 1000");
    expect(cgroupOf(third)).toBeInstanceOf(CgroupV2);
  });

  test("a process where this one is has no cgroup of its own", () => {
    const child = spawn("sleep", ["1000"]);
    try {
      expect(() => cgroupOf(child.pid!)).toThrow("no cgroup of its own");
    } finally {
      child.kill();
    }
  });

  test("a process that is gone, or a zombie, which v1 shows at the root", async () => {
    expect(() => cgroupOf(5_000_000)).toThrow("ENOENT");
    await using scratch = new ScratchCgroup(["pids"]);
    // The shell turns into a sleep that never waits for its child, which is killed only then: a shell would reap it.
    const shell = scratch.run("{ sleep 1000 & echo $!; exec sleep 1000; }");
    const zombie = Number(await new Promise((resolve) => shell.stdout!.once("data", resolve)));
    await vi.waitUntil(() => readProcStat(shell.pid)?.comm === "sleep");
    process.kill(zombie, "SIGKILL");
    await vi.waitUntil(() => stateOf(zombie) === "Z");
    expect(() => cgroupOf(zombie)).toThrow("no such process");
  });
});

/** The same in other worlds of mounts: a process of its own each, started by a script in a new mount namespace. */
describe.skipIf(!hasHierarchies(...HIERARCHIES))("cgroupOf, elsewhere", () => {
  const cache = new URL(`../../../node_modules/.cache/cgroup-test-${process.pid}/`, import.meta.url).pathname;
  const program = `${cache}cgroup-of.mjs`;

  beforeAll(async () => {
    mkdirSync(cache, { recursive: true });
    await build({
      stdin: {
        contents: `
          import { cgroupOf } from "./cgroup.js";
          try {
            const cgroup = cgroupOf(Number(process.argv[2]));
            const pids = cgroup.pids();
            console.log(JSON.stringify({ kind: cgroup.constructor.name, pids, current: Number(cgroup.stats().pids.current) }));
          } catch (error) {
            console.log(JSON.stringify(error.message));
          }`,
        resolveDir: new URL(".", import.meta.url).pathname,
      },
      outfile: program,
      bundle: true,
      format: "esm",
      platform: "node",
      external: ["koffi"],
    });
  });
  afterAll(() => rmSync(cache, { recursive: true }));

  /** What `cgroupOf(pid)` finds in a new mount namespace after these commands. */
  async function seenAfter(commands: string, pid: number, ...namespaces: string[]): Promise<unknown> {
    const script = `set -e\n${commands}\nexec ${process.execPath} ${program} ${pid}`;
    const { stdout } = await promisify(execFile)("unshare", ["-m", ...namespaces, "sh", "-c", script]);
    return JSON.parse(stdout);
  }

  test("v2 only", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    const pid = await scratch.runReady("exec sleep 1000");
    const mount = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup";
    expect(await seenAfter(mount, pid)).toEqual({ kind: "CgroupV2", pids: [pid], current: 0 });
  });

  test("v2 mounted over v1: hidden mounts do not count, nor does where v1 has the process", async () => {
    await using scratch = new ScratchCgroup(["pids", "unified"]);
    const pid = await scratch.runReady("exec sleep 1000");
    const mount = "mount -t cgroup2 none /sys/fs/cgroup";
    expect(await seenAfter(mount, pid)).toEqual({ kind: "CgroupV2", pids: [pid], current: 0 });
  });

  test("a container that sees its own part of the hierarchies only", async () => {
    await using scratch = new ScratchCgroup(["pids", "cpuacct"]);
    scratch.makeBelow("inner");
    const pid = await scratch.runReady("exec sleep 1000", "inner");
    const mount = ["pids", "cpuacct"].map((name) => `mount --bind ${scratch.path(name)} /sys/fs/cgroup/${name}`);
    mount.push("umount /sys/fs/cgroup/memory");
    expect(await seenAfter(mount.join("\n"), pid)).toEqual({ kind: "CgroupV1", pids: [pid], current: 1 });
  });

  test("a cgroup namespace with mounts of its own", async () => {
    await using scratch = new ScratchCgroup(["pids"]);
    scratch.makeBelow("daemon");
    scratch.makeBelow("daemon/inner");
    const pid = await scratch.runReady("exec sleep 1000", "daemon/inner");
    const enter = `echo 0 > ${scratch.path("pids")}/daemon/cgroup.procs`;
    const mount = "umount /sys/fs/cgroup/pids && mount -t cgroup -o pids none /sys/fs/cgroup/pids";
    const script = `${enter}\nexec unshare -C sh -c '${mount} && exec ${process.execPath} ${program} ${pid}'\n`;
    expect(await seenAfter(script, pid)).toEqual({ kind: "CgroupV1", pids: [pid], current: 1 });
  });

  test("a cgroup namespace: what is outside of it, or is mounted from outside, is refused", async () => {
    await using scratch = new ScratchCgroup(["pids"]);
    scratch.makeBelow("daemon");
    scratch.makeBelow("other");
    const pid = await scratch.runReady("exec sleep 1000", "other");
    const enter = `echo 0 > ${scratch.path("pids")}/daemon/cgroup.procs`;
    const own = `${enter}\nexec unshare -C ${process.execPath} ${program} ${pid}`;
    // The mount's root is "/../.." and the process in "/../other": nobody tells what the directory between them is called.
    expect(await seenAfter(own, pid)).toContain("no cgroup of its own");
    const mount = "umount /sys/fs/cgroup/pids && mount -t cgroup -o pids none /sys/fs/cgroup/pids";
    const mounted = `${enter}\nexec unshare -C sh -c '${mount} && exec ${process.execPath} ${program} ${pid}'\n`;
    expect(await seenAfter(mounted, pid)).toContain("no cgroup of its own");
  });
});

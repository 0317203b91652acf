/** A container's cgroup: remembered, whatever its init does; ended with it, without a fork, and never anybody else's. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases } from "../harness/extent.js";
import { isRunning, processes } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

const hasV1 = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");
const LIMIT = 64 * 2 ** 20;

let daemon: TestDaemon;
const strangers: ChildProcess[] = [];
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  for (const stranger of strangers.splice(0)) stranger.kill("SIGKILL");
  await daemon[Symbol.asyncDispose]();
});

const initOf = (container: TestContainer) => container.response.container!.processes[0]!.systemPid;
const stateFile = ({ id }: { id: string }) => join(daemon.stateDir, id, "cgroup.json");

/** Every directory of the process's cgroup that is not the top of its hierarchy. */
function directoriesOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cgroup`, "utf8")
    .split("\n")
    .filter((line) => /^\d+:.*:\/./.test(line))
    .map((line) => {
      const [, controllers, path] = line.split(":");
      const hierarchy = controllers === "" ? "unified" : controllers!.replace("name=", "").split(",")[0]!;
      return join("/sys/fs/cgroup", hierarchy, path!);
    });
}

/** A new cgroup of cpuset takes no process before it is told its processors and memory. */
function copyCpuset(from: string, to: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) writeFileSync(join(to, file), readFileSync(join(from, file)));
}

/** Moves a process into cgroups below its own, as an init such as systemd does with itself. */
function moveDown(pid: number): void {
  for (const directory of directoriesOf(pid)) {
    mkdirSync(join(directory, "init.scope"));
    if (existsSync(join(directory, "cpuset.cpus"))) copyCpuset(directory, join(directory, "init.scope"));
    writeFileSync(join(directory, "init.scope/cgroup.procs"), String(pid));
  }
}

async function pidsAndLimit({ id }: { id: string }) {
  const { containers } = await daemon.api.state({ id });
  const { cgroup_stats } = await daemon.api.stats({ id });
  return { pids: containers[0]!.pids, limit: cgroup_stats?.memory_stats?.usage?.limit };
}

describe.runIf(hasV1)("an init that has moved itself into a cgroup below", () => {
  async function moved(name: string) {
    const container = await startContainer(daemon, { name, args: ["sleep", "1000"], memoryLimit: LIMIT });
    const exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    const before = await pidsAndLimit(container);
    expect(before).toEqual({ pids: [initOf(container), exec.systemPid].sort((a, b) => a - b), limit: BigInt(LIMIT) });
    moveDown(initOf(container));
    return { container, before };
  }

  test("State and Stats are the container's all the same, also after a restart", async () => {
    const { container, before } = await moved("c");
    await using _ = container;
    expect(await pidsAndLimit(container)).toEqual(before);
    await daemon.restart({ kill: true });
    void daemon.events;
    expect(await pidsAndLimit(container)).toEqual(before);
  });

  test.each(
    cases<[string, undefined | ((text: string) => string)]>(
      [
        ["no file", undefined],
        ["not JSON", () => "{"],
        ["not an object", () => "[1]"],
        ["another boot's", (text: string) => text.replace(/"boot":"[^"]*"/, '"boot":"x"')],
        [
          "the top of a hierarchy",
          (text: string) => text.replace(/"path":"\/sys[^"]*"/, '"path":"/sys/fs/cgroup/memory"'),
        ],
        ["a later cgroup's", (text: string) => text.replace(/"inode":\d+/, '"inode":1')],
        ["no cgroup", (text: string) => text.replace(/"path":"\/sys[^"]*"/, '"path":"/etc"')],
      ],
      3,
    ),
  )("what is written down is not trusted when it can't be true: %s", async (_name, damage) => {
    await using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"], memoryLimit: LIMIT });
    const before = await pidsAndLimit(container);
    await daemon.stop();
    const text = readFileSync(stateFile(container), "utf8");
    if (damage === undefined) {
      const { place: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
      writeFileSync(stateFile(container), JSON.stringify(rest));
    } else {
      expect(damage(text)).not.toBe(text);
      writeFileSync(stateFile(container), damage(text));
    }
    await daemon.start();
    void daemon.events;
    expect(await pidsAndLimit(container)).toEqual(before);
  });
});

/** In the host's pid namespace: the kernel kills nobody at the end of its init. */
const hostPids = (spec: { linux: { namespaces: { type: string }[] } }) => {
  spec.linux.namespaces = spec.linux.namespaces.filter(({ type }) => type !== "pid");
};

/** Lets a process fork no more: it is alone in a cgroup for one. That cgroup is answered. */
function forbidForks(pid: number): string {
  const directory = join("/sys/fs/cgroup/pids", daemon.id(`nofork-${pid}`));
  mkdirSync(directory);
  writeFileSync(join(directory, "cgroup.procs"), String(pid));
  writeFileSync(join(directory, "pids.max"), "1");
  return directory;
}

const shimOf = ({ id }: { id: string }, pid = "init") =>
  processes().find(({ directory }) => directory === join(daemon.stateDir, id, pid))!.pid;

const inCgroupOf = ({ id }: { id: string }) =>
  processes().filter(({ cgroups, state }) => state !== "Z" && cgroups.some((path) => path.split("/").includes(id)));

describe.runIf(hasV1)(
  "what is left of a container with the host's pids when its init ends, and nothing can be forked",
  () => {
    /** With processes in sessions of their own, some orphans, one of an exec. */
    async function crowd(name: string) {
      const script = "setsid sleep 1000 & (setsid sleep 1000 &); exec sleep 1000";
      const container = await startContainer(daemon, { name, args: ["sh", "-c", script], spec: hostPids });
      using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "(setsid sleep 1000 &)"] });
      expect(await exec.exit()).toBe(0);
      await eventually(() => inCgroupOf(container).filter(({ command }) => command === "sleep 1000").length === 4);
      return container;
    }

    test("is killed before the exit is told, and the id is free", async () => {
      const container = await crowd("c");
      forbidForks(shimOf(container));
      await container.kill();
      expect(await container.exit(40_000)).toBe(137);
      expect(inCgroupOf(container)).toEqual([]);
      await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
      await using again = await startContainer(daemon, {
        name: "again",
        args: ["sleep", "1000"],
        request: { id: container.id },
      });
      expect(initOf(again)).toBeGreaterThan(0);
      await daemon.api.signal({ id: container.id, pid: "init", signal: 9 });
      await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
    });

    test("also by a daemon that comes later", async () => {
      const container = await crowd("c");
      const alone = forbidForks(shimOf(container));
      await daemon.stop();
      process.kill(initOf(container), "SIGKILL");
      await eventually(() => existsSync(join(daemon.stateDir, container.id, "init/exitStatus")));
      await daemon.start();
      void daemon.events;
      expect(await container.exit(40_000)).toBe(137);
      expect(inCgroupOf(container)).toEqual([]);
      rmdirSync(alone);
      await daemon.expectNothingLeft();
    });

    test("also when its shim is killed", async () => {
      const container = await crowd("c");
      process.kill(shimOf(container), "SIGKILL");
      expect(await container.exit(40_000)).toBe(137);
      expect(inCgroupOf(container)).toEqual([]);
      await daemon.expectNothingLeft();
    });
  },
);

describe.runIf(hasV1)("a cgroup that was there before the container", () => {
  /** A process of nobody of ours in a cgroup; its name is the container's cgroupsPath. */
  function strangerIn(name: string): { path: string; pid: number } {
    const path = `/${daemon.id(name)}`;
    for (const hierarchy of readdirSync("/sys/fs/cgroup")) {
      const directory = join("/sys/fs/cgroup", hierarchy, path);
      if (!existsSync(join(dirname(directory), "cgroup.procs"))) continue;
      mkdirSync(directory);
      if (hierarchy === "cpuset") copyCpuset(dirname(directory), directory);
    }
    const stranger = spawn("sleep", ["1000"], { stdio: "ignore" });
    strangers.push(stranger);
    for (const hierarchy of readdirSync("/sys/fs/cgroup")) {
      const procs = join("/sys/fs/cgroup", hierarchy, path, "cgroup.procs");
      if (existsSync(procs)) writeFileSync(procs, String(stranger.pid));
    }
    return { path, pid: stranger.pid! };
  }

  const within = (path: string) => (spec: { linux: { cgroupsPath?: string } }) => {
    spec.linux.cgroupsPath = path;
  };

  test("keeps its processes when the container ends, and the container's id is free", async () => {
    const stranger = strangerIn("there");
    const inode = statSync(join("/sys/fs/cgroup/pids", stranger.path)).ino;
    const container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"], spec: within(stranger.path) });
    await container.kill();
    expect(await container.exit()).toBe(137);
    await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
    expect(isRunning(stranger.pid)).toBe(true);
    expect(statSync(join("/sys/fs/cgroup/pids", stranger.path)).ino).toBe(inode);
  });

  test("also when its shim, or its start, was killed", async () => {
    const stranger = strangerIn("there");
    const container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"], spec: within(stranger.path) });
    process.kill(shimOf(container), "SIGKILL");
    expect(await container.exit()).toBe(137);
    await expect(
      startContainer(daemon, { name: "d", args: ["/not/there"], spec: within(stranger.path) }),
    ).rejects.toThrow();
    await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
    expect(isRunning(stranger.pid)).toBe(true);
  });

  test("one that two containers share is not ended with the first", async () => {
    const path = `/${daemon.id("shared")}`;
    const first = await startContainer(daemon, { name: "a", args: ["sleep", "1000"], spec: within(path) });
    await using second = await startContainer(daemon, { name: "b", args: ["sleep", "1000"], spec: within(path) });
    process.kill(shimOf(first), "SIGKILL");
    expect(await first.exit()).toBe(137);
    expect(isRunning(initOf(second))).toBe(true);
    expect((await daemon.api.state({ id: second.id })).containers[0]?.pids).toEqual([initOf(second)]);
  });
});

/** At the end of a container the shim does what runc's `delete` would do, where that is no more than to remove what is there. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ContainerOptions, startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { kill, processes } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
/** One that is called as runc is, and notes its calls. */
let runtime: string;
beforeEach(async () => {
  daemon = await startDaemon();
  runtime = wrapRuntime(mkdtempSync(join(daemon.dir, "runtime-")), "runc", "state", { kind: "fail" }).path;
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const start = (name: string, options: Partial<ContainerOptions> = {}) =>
  startContainer(daemon, { name, args: ["sleep", "1000"], request: { runtime }, ...options });
const pidOf = (container: TestContainer) => container.response.container!.processes[0]!.systemPid;
const SUBCOMMANDS = ["create", "start", "kill", "delete", "state"];
/** Of each call the subcommand. */
const calls = () =>
  readFileSync(`${runtime}.calls`, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" ").find((word) => SUBCOMMANDS.includes(word)));
const isKnown = ({ id }: TestContainer) => existsSync(`/run/runc/${id}`);

/** Its cgroups. */
function cgroupsOf(pid: number): string[] {
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
  const of = (name: string) =>
    name === "" ? ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] : [`/sys/fs/cgroup/${name}`];
  return lines
    .map((line) => /^\d+:(?:name=)?([^:]*):(.*)$/.exec(line)!)
    .filter(([, , path]) => path !== "/")
    .flatMap(([, name, path]) => of(name!).map((mount) => `${mount}${path}`))
    .filter((directory) => existsSync(join(directory, "cgroup.procs")));
}

test("no call of the runtime; cgroups that the container has made in its own go with it", async () => {
  await using container = await start("plain");
  const cgroups = cgroupsOf(pidOf(container));
  expect(cgroups.length).toBeGreaterThan(0);
  for (const cgroup of cgroups) for (const below of ["a", "a/b", "c"]) mkdirSync(join(cgroup, below));
  expect(isKnown(container)).toBe(true);
  await container.kill();
  expect(await container.exit()).toBe(137);
  expect(isKnown(container)).toBe(false);
  expect(cgroups.filter((cgroup) => existsSync(cgroup))).toEqual([]);
  expect(calls()).toEqual(["create"]);
  await daemon.expectNothingLeft();
});

test("a runtime that has more to do does it: hooks, processes in the host's pid namespace", async () => {
  const seen = join(daemon.dir, "seen");
  await using hooked = await start("hooked", {
    spec: (spec) => {
      spec.hooks = { poststop: [{ path: "/bin/sh", args: ["sh", "-c", `cat >${seen}`] }] };
    },
  });
  await hooked.kill();
  expect(await hooked.exit()).toBe(137);
  expect(JSON.parse(readFileSync(seen, "utf8")).id).toBe(hooked.id);
  await using host = await start("host", {
    spec: (spec) => {
      spec.linux.namespaces = spec.linux.namespaces.filter(({ type }: { type: string }) => type !== "pid");
    },
  });
  await host.kill();
  expect(await host.exit()).toBe(137);
  expect(calls()).toEqual(["create", "delete", "create", "kill", "delete"]);
  await daemon.expectNothingLeft();
});

test("a shim that is killed in the middle of it leaves nothing that would keep the id", async () => {
  const container = await start("killed");
  await daemon.kill();
  const shims = processes().filter(({ command }) => command.startsWith(`containerd-shim ${container.id} `));
  expect(shims).toHaveLength(1);
  kill(shims[0]!.pid);
  kill(pidOf(container));
  await eventually(() => !existsSync(`/proc/${pidOf(container)}`));
  unlinkSync(`/run/runc/${container.id}/state.json`);
  await daemon.start();
  await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
  expect(isKnown(container)).toBe(false);
  await using again = await start("again", { request: { id: container.id } });
  expect(again.response.container?.id).toBe(container.id);
  execFileSync("runc", ["state", container.id]);
});

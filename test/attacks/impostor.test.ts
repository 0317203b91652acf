/**
 * A process of a container that pretends to be a shim: in the container's own root there is a directory with the name of a process
 * directory on the host, the process stands in it, and its arguments are a shim's. Nothing of it may be believed: what it names would be
 * run as root on the host.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Spec } from "../harness/bundle.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases } from "../harness/extent.js";
import { isRunning, kill, processes } from "../harness/processes.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeEach(async () => {
  // So that nobody waits for long for what an impostor pretends to be at.
  daemon = await startDaemon({ flags: await startTimeoutFlags() });
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const directory = (id: string, process = "init") => join(realpathSync(daemon.stateDir), id, process);

/** What a container may be, from harmless to what only root can ask for. None of them is a shim. */
const attackers: { who: string; spec: (spec: Spec) => void }[] = [
  {
    who: "a container without rights",
    spec: (spec) => {
      spec.process.user = { uid: 1000, gid: 1000 };
      spec.process.capabilities = {};
      // Its own files are its user's to write to.
      spec.mounts = spec.mounts.filter(({ destination }) => destination !== "/tmp");
      chmodSync(join(daemon.dir, "bundles", "impostor", "rootfs", "tmp"), 0o1777);
    },
  },
  {
    who: "a container that is root and sees the host's processes",
    spec: (spec) => {
      spec.linux.namespaces = spec.linux.namespaces.filter(({ type }) => type !== "pid");
    },
  },
  {
    who: "a container that has the state directory itself",
    spec: (spec) => {
      const path = realpathSync(daemon.stateDir);
      spec.mounts.push({ destination: path, type: "bind", source: path, options: ["rbind", "ro"] });
    },
  },
];

/** Starts the attacker. `target` is the process directory whose shim it wants to be, of the container `victim`. */
async function startImpostor(spec: (spec: Spec) => void, victim: string, target: string) {
  const proof = join(daemon.dir, "pwned");
  // It lies in the container's own files, where the host's root finds it too.
  const program = join(daemon.dir, "bundles", "impostor", "rootfs", "runtime");
  const container = await startContainer(daemon, {
    name: "impostor",
    ownRootfs: true,
    args: [
      "sh",
      "-c",
      `until cd ${target}; do mkdir -p ${target}; sleep 0.05; done 2>/dev/null; sleep 1000 & while :; do sleep 0.1; done`,
      victim,
      "/bundle",
      program,
    ],
    spec,
  });
  writeFileSync(program, `#!/bin/sh\necho "$(id -u) $*" >>${proof}\n`);
  chmodSync(program, 0o755);
  const pid = container.response.container!.processes[0]!.systemPid;
  return {
    container,
    pid,
    inPlace: () =>
      eventually(() => processes().find((process) => process.pid === pid)?.directory === target, {
        what: "the impostor in its place",
      }),
    /** A process whose parent is the impostor. */
    child: () =>
      eventually(() => processes().find(({ parent, command }) => parent === pid && command === "sleep 1000")?.pid),
    /** Who has run its runtime, and how. */
    executed: () => (existsSync(proof) ? readFileSync(proof, "utf8") : ""),
  };
}

/** What stands in a process directory, as the process table shows it, without the impostor and its children. */
const shims = (path: string, impostor: number) =>
  processes().filter(({ directory, pid, parent }) => directory === path && pid !== impostor && parent !== impostor);

describe.each(cases(attackers))("$who", ({ spec }) => {
  test("names no runtime: a container whose state.json is gone", async () => {
    using victim = await startContainer(daemon, { name: "victim", args: ["sleep", "1000"] });
    const target = directory(victim.id);
    const impostor = await startImpostor(spec, victim.id, target);
    await daemon.kill();
    // What a daemon left that was killed while it removed the container.
    kill(victim.response.container!.processes[0]!.systemPid);
    await eventually(() => shims(target, impostor.pid).length === 0, { what: "the end of the victim's shim" });
    await impostor.inPlace();
    rmSync(join(daemon.stateDir, victim.id, "state.json"));
    // Without a second copy of it.
    rmSync(join(target, "process.json"));
    await daemon.start();
    await eventually(() => !existsSync(join(daemon.stateDir, victim.id)), { what: "the removal of the directory" });
    expect(await victim.exit()).toBe(137);
    expect(impostor.executed()).toBe("");
    expect(isRunning(impostor.pid)).toBe(true);
    await impostor.container.kill();
    await impostor.container.exit();
    await daemon.expectNothingLeft();
  });

  test("is not waited for, nor killed, in place of a start's shim", async () => {
    const id = daemon.id("begun");
    const target = directory(id);
    const impostor = await startImpostor(spec, id, target);
    await daemon.kill();
    mkdirSync(target, { recursive: true });
    writeFileSync(
      join(daemon.stateDir, id, "state.json"),
      JSON.stringify({ bundle: "/b", runtime: "runc", labels: [], stdin: "", stdout: "", stderr: "" }),
    );
    makeFifos(join(target, "exit"), join(target, "control"));
    await impostor.inPlace();
    await daemon.start();
    await eventually(() => !existsSync(join(daemon.stateDir, id)), { what: "the removal of the directory" });
    expect(isRunning(impostor.pid)).toBe(true);
    expect(impostor.executed()).toBe("");
    await impostor.container.kill();
    await impostor.container.exit();
    await daemon.expectNothingLeft();
  });

  test("is not waited for, nor killed, in place of an exec's shim", async () => {
    using victim = await startContainer(daemon, { name: "victim", args: ["sleep", "1000"] });
    const target = directory(victim.id, "shell");
    const impostor = await startImpostor(spec, victim.id, target);
    await daemon.kill();
    mkdirSync(target);
    makeFifos(join(target, "exit"), join(target, "control"));
    await impostor.inPlace();
    await daemon.start();
    await eventually(() => !existsSync(target), { what: "the removal of the directory" });
    expect(isRunning(impostor.pid)).toBe(true);
    using exec = await startExec(daemon, victim, { pid: "shell", args: ["true"] });
    expect(await exec.exit()).toBe(0);
  });

  test("passes off no child of its own as the process whose start time is lost", async () => {
    using victim = await startContainer(daemon, { name: "victim", args: ["sleep", "1000"] });
    const target = directory(victim.id);
    const impostor = await startImpostor(spec, victim.id, target);
    await daemon.kill();
    kill(victim.response.container!.processes[0]!.systemPid);
    await eventually(() => shims(target, impostor.pid).length === 0, { what: "the end of the victim's shim" });
    await impostor.inPlace();
    const child = await impostor.child();
    // As if the number had become the child's: only the start time would tell.
    writeFileSync(join(target, "pid"), String(child));
    for (const name of ["starttime", "exitStatus"]) rmSync(join(target, name));
    await daemon.start();
    expect(await victim.exit()).toBe(255);
    expect(isRunning(child)).toBe(true);
    expect(isRunning(impostor.pid)).toBe(true);
  });
});

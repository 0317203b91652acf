/** A container that makes /etc/passwd a FIFO holds the runtime's `init` of an exec, or of its own start, for as long as it likes. */
import { spawnSync } from "node:child_process";
import { closeSync, constants, existsSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { kill, processes } from "../harness/processes.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { eventually, PATIENCE } from "../harness/wait.js";

let daemon: TestDaemon;
/** For a test in which nothing is to take too long; the others wait until it has. */
async function startPatientDaemon(): Promise<void> {
  daemon = await startDaemon({ flags: ["--start-timeout", `${PATIENCE}ms`] });
}
async function startHastyDaemon(): Promise<void> {
  daemon = await startDaemon({ flags: await startTimeoutFlags() });
}
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** A container that sleeps, whose /etc/passwd is a FIFO. */
async function hostile(name: string): Promise<TestContainer> {
  const container = await startContainer(daemon, { name, args: ["sleep", "1000"], ownRootfs: true });
  expect(spawnSync("mkfifo", [passwd(container.bundle)]).status).toBe(0);
  return container;
}

const passwd = (bundle: string) => join(bundle, "rootfs/etc/passwd");
const ran = (bundle: string) => existsSync(join(bundle, "rootfs/tmp-ran"));
/** What only an exec that was let go on leaves. */
const EXEC = {
  pid: "e",
  args: ["sh", "-c", "echo $SECRET >/tmp-ran; sleep 1000"],
  request: { env: ["SECRET=x", "PATH=/bin"] },
};

/** Processes in the container's cgroup besides its own. */
const strangers = ({ id }: { id: string }) =>
  processes().filter(
    ({ cgroups, command, state }) =>
      state !== "Z" && command !== "sleep 1000" && cgroups.some((path) => path.split("/").includes(id)),
  );

/** Lets whatever reads /etc/passwd go on; fails when nobody does. */
function letGo(bundle: string): void {
  const fd = openSync(passwd(bundle), constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(fd, "root:x:0:0:root:/:/bin/sh\n");
  closeSync(fd);
}

/** Nothing is left that could go on, and nothing has. */
async function expectNothingHeld(container: { id: string; bundle: string }): Promise<void> {
  expect(strangers(container)).toEqual([]);
  expect(() => letGo(container.bundle)).toThrow("ENXIO");
  const { containers } = await daemon.api.state({ id: container.id });
  expect(containers[0]?.processes.map(({ pid }) => pid)).toEqual(["init"]);
  expect(ran(container.bundle)).toBe(false);
}

/** The runtime's process in the container. */
const held = (container: TestContainer) =>
  eventually(() => strangers(container).find(({ command }) => command.endsWith("init")), { interval: 5 });

test("the control: let go in time, the exec runs", async () => {
  await startPatientDaemon();
  await using container = await hostile("c");
  const started = startExec(daemon, container, EXEC);
  await held(container);
  await eventually(() => letGo(container.bundle) === undefined);
  using _ = await started;
  await eventually(() => ran(container.bundle));
});

test("an exec that was told to have taken too long never runs", async () => {
  await startHastyDaemon();
  await using container = await hostile("c");
  await expect(startExec(daemon, container, EXEC)).rejects.toThrow("before the specified timeout");
  await expectNothingHeld(container);
});

test("nor one whose caller has left", async () => {
  await startPatientDaemon();
  await using container = await hostile("c");
  await expect(startExec(daemon, container, { ...EXEC, call: { timeout: 1_000 } })).rejects.toThrow();
  await eventually(() => strangers(container).length === 0);
  await expectNothingHeld(container);
});

test("nor one whose shim was killed", async () => {
  await startPatientDaemon();
  await using container = await hostile("c");
  const started = startExec(daemon, container, EXEC);
  await held(container);
  const shim = processes().find(({ directory }) => directory === join(daemon.stateDir, container.id, "e"));
  kill(shim!.pid);
  await expect(started).rejects.toThrow();
  await expectNothingHeld(container);
});

test("nor one whose daemon was killed, once the next one has given it up", async () => {
  await startPatientDaemon();
  await using container = await hostile("c");
  startExec(daemon, container, EXEC).catch(() => {});
  await held(container);
  await daemon.restart({ kill: true, flags: await startTimeoutFlags() });
  void daemon.events;
  await eventually(() => !existsSync(join(daemon.stateDir, container.id, "e")));
  await expectNothingHeld(container);
});

test("nor does it run in a container that was paused meanwhile; the pause does not wait for it", async () => {
  await startPatientDaemon();
  await using container = await hostile("c");
  const left = new AbortController();
  const started = startExec(daemon, container, { ...EXEC, call: { signal: left.signal } }).then(
    () => "started",
    () => "failed",
  );
  await held(container);
  await daemon.api.updateContainer({ id: container.id, pid: "init", status: "paused" });
  // Had the pause waited, there would have been no exec to be called off any more.
  expect(await Promise.race([started, "under way"])).toBe("under way");
  left.abort();
  expect(await started).toBe("failed");
  await daemon.api.updateContainer({ id: container.id, pid: "init", status: "running" });
  await eventually(() => strangers(container).length === 0);
  await eventually(() => !existsSync(join(daemon.stateDir, container.id, "e")));
  await expectNothingHeld(container);
});

test("a start that was told to have taken too long leaves nothing", async () => {
  await startHastyDaemon();
  const bundle = daemon.bundle("s", { args: ["sh", "-c", "echo x >/tmp-ran; sleep 1000"], ownRootfs: true });
  expect(spawnSync("mkfifo", [passwd(bundle)]).status).toBe(0);
  const id = daemon.id("s");
  await expect(daemon.api.createContainer({ id, bundlePath: bundle })).rejects.toThrow("before the specified timeout");
  expect(strangers({ id })).toEqual([]);
  expect(() => letGo(bundle)).toThrow("ENXIO");
  expect(ran(bundle)).toBe(false);
  await daemon.expectNothingLeft();
});

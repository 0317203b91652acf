/** The process that forks the daemon's shims: what happens when it dies, and where it can't be had. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startContainer } from "./harness/container.js";
import { startDaemon, type TestDaemon } from "./harness/daemon.js";
import { startExec } from "./harness/exec.js";
import { spawnerCommand } from "./harness/leftovers.js";
import { isRunning, kill, processes } from "./harness/processes.js";
import { directoryPrefix } from "./harness/run-name.js";
import { wrapRuntime } from "./harness/runtime-wrapper.js";
import { whyNotCopied } from "./harness/self-copying.js";
import { startTimeoutFlags } from "./harness/start-timeout.js";
import { eventually } from "./harness/wait.js";

const spawnerOf = (daemon: TestDaemon) =>
  processes().find(({ parent, command }) => parent === daemon.pid && command === spawnerCommand);

const shimsOf = (daemon: TestDaemon) =>
  processes().filter(
    ({ directory, command }) => directory.startsWith(daemon.stateDir) && command.startsWith("containerd-shim "),
  );

test("shims are its children, and show what they are for", async () => {
  await using daemon = await startDaemon();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  const [shim] = shimsOf(daemon);
  expect(shim).toMatchObject({
    parent: spawnerOf(daemon)!.pid,
    directory: join(daemon.stateDir, container.id, "init"),
  });
  expect(shim!.command).toBe(`containerd-shim ${container.id} ${daemon.dir}/bundles/c runc`);
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft();
});

test("the runtime begins in a sealed copy of itself, which no shim keeps", async ({ skip }) => {
  const reason = whyNotCopied("runc");
  if (reason !== undefined) skip(reason);
  await using daemon = await startDaemon();
  const report = join(daemon.dir, "report");
  using container = await startContainer(daemon, {
    name: "c",
    args: ["sleep", "1000"],
    spec: (spec) => {
      const args = [
        "sh",
        "-c",
        `readlink /proc/$PPID/exe > ${report}; tr '\\0' ' ' < /proc/$PPID/cmdline >> ${report}`,
      ];
      spec.hooks = { prestart: [{ path: "/bin/sh", args }] };
    },
  });
  expect(readFileSync(report, "utf8")).toMatch(/^\/memfd:runtime \(deleted\)\nrunc --log /);
  const [shim] = shimsOf(daemon);
  const open = readdirSync(`/proc/${shim!.pid}/fd`).map((fd) => readlinkSync(`/proc/${shim!.pid}/fd/${fd}`));
  expect(open.filter((path) => path.includes("memfd"))).toEqual([]);
  await container.kill();
  expect(await container.exit()).toBe(137);
});

test("it dies: containers and their execs go on, new ones start, all end as they should", async () => {
  await using daemon = await startDaemon();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  using exec = await startExec(daemon, container, { pid: "before", args: ["sh", "-c", "sleep 0.5; exit 4"] });
  const before = daemon.snapshot();
  for (let round = 0; round < 5; round++) {
    const spawner = spawnerOf(daemon)!;
    kill(spawner.pid);
    await eventually(() => !isRunning(spawner.pid));
    using later = await startContainer(daemon, { name: `later${round}`, args: ["sh", "-c", "exit 3"] });
    expect(await later.exit()).toBe(3);
    expect(spawnerOf(daemon)!.pid).not.toBe(spawner.pid);
  }
  expect(await exec.exit()).toBe(4);
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft({ before });
});

test("it dies in the middle of many starts: each has started or failed, nothing else is there", async () => {
  await using daemon = await startDaemon();
  for (let round = 0; round < 4; round++) {
    const starts = Array.from({ length: 20 }, (_, n) =>
      startContainer(daemon, { name: `c${round}-${n}`, args: ["sleep", "1000"] }),
    );
    await eventually(() => shimsOf(daemon).length > round * 3, { interval: 1 });
    kill(spawnerOf(daemon)!.pid);
    const results = await Promise.allSettled(starts);
    const started = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    for (const result of results) {
      if (result.status === "rejected") expect((result.reason as Error).message).toMatch(/shim spawner/);
    }
    expect((await daemon.api.state()).containers.map(({ id }) => id).sort()).toEqual(
      started.map(({ id }) => id).sort(),
    );
    for (const container of started) {
      await container.kill();
      expect(await container.exit()).toBe(137);
    }
    await daemon.expectNothingLeft();
  }
});

test("it dies while a runtime hangs: the start is ended in time all the same", async () => {
  await using daemon = await startDaemon({ flags: await startTimeoutFlags() });
  const wrapper = wrapRuntime(daemon.dir, "hanging", "create", { kind: "hang" });
  wrapper.on();
  const start = startContainer(daemon, { name: "c", args: ["true"], request: { runtime: wrapper.path } });
  await Promise.all([
    expect(start).rejects.toThrow("containerd: container did not start before the specified timeout"),
    eventually(() => shimsOf(daemon).length === 1).then(() => kill(spawnerOf(daemon)!.pid)),
  ]);
  await daemon.expectNothingLeft();
});

test("it ends with the daemon, and its shims go on", async () => {
  await using daemon = await startDaemon();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  const spawner = spawnerOf(daemon)!;
  await daemon.kill();
  await eventually(() => !isRunning(spawner.pid));
  expect(shimsOf(daemon)).toHaveLength(1);
  await daemon.start();
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft();
});

test("where it does not come up, shims are executed", async () => {
  const bin = mkdtempSync(`${directoryPrefix()}bin-`);
  const luajit = execFileSync("sh", ["-c", "command -v luajit"], { encoding: "utf8" }).trim();
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, "luajit"), `#!/bin/sh\n[ "$2" = --spawner ] && exit 1\nexec ${luajit} "$@"\n`);
  chmodSync(join(bin, "luajit"), 0o755);
  try {
    await using daemon = await startDaemon({ env: { PATH: `${bin}:${process.env.PATH}` } });
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "exit 4"] });
    expect(await exec.exit()).toBe(4);
    expect(spawnerOf(daemon)).toBeUndefined();
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  } finally {
    rmSync(bin, { recursive: true });
  }
});

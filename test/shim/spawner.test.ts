/** The process that forks the daemon's shims: what happens when it dies, and where it can't be had. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { status } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { times } from "../harness/extent.js";
import { spawnerCommand } from "../harness/leftovers.js";
import { isRunning, kill, processes } from "../harness/processes.js";
import { directoryPrefix } from "../harness/run-name.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { whyNotCopied } from "../harness/self-copying.js";
import { eventually, PATIENCE } from "../harness/wait.js";

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
  for (let round = 0; round < times(4, 2); round++) {
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

test("it dies while a runtime hangs: the start can be called off all the same", async () => {
  await using daemon = await startDaemon({ flags: ["--start-timeout", `${PATIENCE}ms`] });
  const wrapper = wrapRuntime(daemon.dir, "hanging", "create", { kind: "hang" });
  wrapper.on();
  const left = new AbortController();
  const start = startContainer(daemon, {
    name: "c",
    args: ["true"],
    request: { runtime: wrapper.path },
    call: { signal: left.signal },
  });
  const calledOff = expect(start).rejects.toMatchObject({ code: status.CANCELLED });
  await wrapper.called("create");
  kill(spawnerOf(daemon)!.pid);
  left.abort();
  await calledOff;
  await daemon.expectNothingLeft();
});

describe("it stands still", () => {
  const stopSpawner = (daemon: TestDaemon) => {
    const { pid } = spawnerOf(daemon)!;
    kill(pid, "SIGSTOP");
    // A test that fails must not leave it to the machine.
    onTestFinished(() => {
      if (processes().some((process) => process.pid === pid && process.command === spawnerCommand)) kill(pid);
    });
    return pid;
  };
  /** Of all shims, also those that were executed since the spawner had died. */
  const directories = (daemon: TestDaemon) =>
    processes()
      .filter(({ directory, command }) => directory.startsWith(daemon.stateDir) && /containerd-shim /.test(command))
      .map(({ directory }) => directory);

  test("the exits of all that runs are told", async () => {
    await using daemon = await startDaemon();
    using first = await startContainer(daemon, { name: "first", args: ["sleep", "1000"] });
    using second = await startContainer(daemon, { name: "second", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, first, { pid: "e", args: ["sleep", "1000"] });
    stopSpawner(daemon);
    await exec.kill();
    expect(await exec.exit()).toBe(137);
    await first.kill();
    expect(await first.exit()).toBe(137);
    // Also of one whose shim has died.
    for (const shim of shimsOf(daemon)) if (shim.directory.includes(second.id)) kill(shim.pid);
    expect(await second.exit()).toBe(137);
    // Zombies of its own until somebody reaps them: it has to end for that.
    kill(spawnerOf(daemon)!.pid);
    await daemon.expectNothingLeft();
  });

  test("another takes its place, and what it was asked for is done once", async () => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    const stopped = stopSpawner(daemon);
    const [started, exec] = await Promise.all([
      startContainer(daemon, { name: "later", args: ["sleep", "1000"] }),
      startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] }),
    ]);
    await eventually(() => !isRunning(stopped));
    expect(directories(daemon).sort()).toEqual(
      [`${container.id}/e`, `${container.id}/init`, `${started.id}/init`].map((name) => join(daemon.stateDir, name)),
    );
    using next = await startContainer(daemon, { name: "next", args: ["sh", "-c", "exit 3"] });
    expect(await next.exit()).toBe(3);
    expect(spawnerOf(daemon)).toBeDefined();
    await exec.kill();
    expect(await exec.exit()).toBe(137);
    for (const { id } of [started, container]) {
      await daemon.api.signal({ id, pid: "init", signal: 9 });
      await daemon.events.waitFor({ type: "exit", id, pid: "init", status: 137 });
    }
    await daemon.expectNothingLeft();
  });

  test("a start and an exec end with their time, the ids are free, and nothing of them comes later", async () => {
    // Sooner than the daemon gives the spawner up. A start that works may take longer on a busy machine, and is tried again.
    await using daemon = await startDaemon({ flags: ["--start-timeout", "1s"] });
    const start = (name: string) => eventually(() => startContainer(daemon, { name, args: ["sleep", "1000"] }));
    using container = await start("c");
    for (let round = 0; round < 2; round++) {
      const stopped = stopSpawner(daemon);
      const starting = startContainer(daemon, { name: "late", args: ["sleep", "1000"] });
      const executing = startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
      const message = "containerd: container did not start before the specified timeout";
      await Promise.all([expect(starting).rejects.toThrow(message), expect(executing).rejects.toThrow(message)]);
      kill(stopped, "SIGCONT");
      using again = await start("late");
      using exec = await eventually(() => startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] }));
      expect(directories(daemon)).toHaveLength(3);
      await exec.kill();
      expect(await eventually(() => daemon.events.all({ type: "exit", pid: "e" })[round]?.status)).toBe(137);
      await again.kill();
      expect(await eventually(() => daemon.events.all({ type: "exit", id: again.id })[round]?.status)).toBe(137);
    }
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("a caller that leaves is let go of, and the next one is served", async () => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    stopSpawner(daemon);
    const leave = new AbortController();
    const starting = startContainer(daemon, { name: "left", args: ["sleep", "1000"], call: { signal: leave.signal } });
    starting.catch(() => {});
    await eventually(() => existsSync(join(daemon.stateDir, daemon.id("left"), "init", "control")));
    leave.abort();
    await expect(starting).rejects.toThrow(/cancel/i);
    await eventually(() => !existsSync(join(daemon.stateDir, daemon.id("left"))));
    using next = await startContainer(daemon, { name: "left", args: ["sh", "-c", "exit 3"] });
    expect(await next.exit()).toBe(3);
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("and the daemon is killed: what was asked for is never done", async () => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    const stopped = stopSpawner(daemon);
    const starting = startContainer(daemon, { name: "asked", args: ["sleep", "1000"] });
    starting.catch(() => {});
    await eventually(() => existsSync(join(daemon.stateDir, daemon.id("asked"), "init", "control")));
    await daemon.restart({ kill: true });
    await eventually(() => !existsSync(join(daemon.stateDir, daemon.id("asked"))));
    using again = await startContainer(daemon, { name: "asked", args: ["sleep", "1000"] });
    kill(stopped, "SIGCONT");
    await eventually(() => !isRunning(stopped));
    expect(directories(daemon)).toHaveLength(2);
    for (const started of [again, container]) {
      await started.kill();
      expect(await started.exit()).toBe(137);
    }
    await daemon.expectNothingLeft();
  });
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

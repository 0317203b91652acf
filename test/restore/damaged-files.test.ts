/**
 * Damaged files of containers that run: whatever stands in a file's place when a daemon starts, the container is taken over with what can
 * be found out, or it is ended and its exit told. It is never left running without anybody knowing of it.
 */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { wire } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases } from "../harness/extent.js";
import { isRunning } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const remove = (path: string) => rmSync(path, { recursive: true, force: true });

const damages: Record<string, (path: string) => void> = {
  missing: remove,
  empty: (path) => {
    remove(path);
    writeFileSync(path, "");
  },
  garbage: (path) => {
    remove(path);
    writeFileSync(path, "\0\xff{]\n");
  },
  json: (path) => {
    remove(path);
    writeFileSync(path, '{"args":7,"env":[1],"user":{"uid":"x"},"labels":[2],"runtime":3,"rlimits":[null]}');
  },
  directory: (path) => {
    remove(path);
    mkdirSync(path);
    writeFileSync(join(path, "something"), "");
  },
  fifo: (path) => {
    remove(path);
    makeFifos(path);
  },
  endless: (path) => {
    remove(path);
    symlinkSync("/dev/zero", path);
  },
};

const initPid = (response: wire.CreateContainerResponse) => response.container!.processes[0]!.systemPid;

const exits = (id: string, pid = "init") =>
  daemon.events.all({ type: "exit" }).filter((event) => event.id === id && event.pid === pid);

/** The containers that State shows, by id, with the pid of each process. */
async function shown(): Promise<Map<string, Record<string, number>>> {
  const { containers } = await daemon.api.state();
  return new Map(
    containers.map(({ id, processes }) => [
      id,
      Object.fromEntries(processes.map((each) => [each.pid, each.systemPid])),
    ]),
  );
}

async function startMany(names: string[]): Promise<Map<string, TestContainer>> {
  const start = async (name: string) =>
    [name, await startContainer(daemon, { name, args: ["sleep", "1000"] })] as const;
  return new Map(await Promise.all(names.map(start)));
}

/** It ends by a signal, its exit is told once, also after another restart. */
async function expectEnds(containers: TestContainer[]): Promise<void> {
  await Promise.all(containers.map((container) => container.kill()));
  for (const container of containers) expect(await container.exit(30_000), container.id).toBe(137);
  await daemon.expectNothingLeft();
  await daemon.restart({ kill: true });
  for (const { id } of containers) {
    await daemon.events.waitFor({ type: "exit", id, pid: "init" });
    expect(exits(id), id).toHaveLength(1);
  }
}

describe("is taken over", () => {
  test.each(
    cases(
      [
        "state.json",
        "init/process.json",
        "init/exit",
        "init/pid",
        "init/control",
        "init/starttime",
        "init/shim",
        "init/started",
        "init/log.json",
        "init/exitStatus",
        "init/exitStatus.reserved",
      ],
      4,
    ),
  )(
    "a container whose %s is anything",
    async (file) => {
      const containers = await startMany(Object.keys(damages));
      await daemon.kill();
      for (const [name, container] of containers) damages[name]!(join(daemon.stateDir, container.id, file));
      // Twice: what the first one has mended or could not mend the second one finds.
      for (let round = 0; round < 2; round++) {
        await daemon.start();
        for (const [name, { id, response }] of containers) {
          await eventually(async () => (await shown()).get(id)?.init === initPid(response), {
            what: `${file} ${name}: the container, round ${round}`,
          });
        }
        expect(daemon.events.all({ type: "exit" })).toEqual([]);
        if (round === 0) await daemon.kill();
      }
      await expectEnds([...containers.values()]);
    },
    120_000,
  );

  test("an exec whose files are anything", async () => {
    const files = ["process.json", "exit", "control", "pid", "starttime", "shim", "started"];
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    const execs: { pid: string; systemPid: number; file: string; name: string }[] = [];
    for (const file of files) {
      for (const name of Object.keys(damages)) {
        if (execs.length % 2 === 1 && name !== "fifo" && name !== "missing") continue;
        const pid = `${file}-${name}`;
        using exec = await startExec(daemon, container, { pid, args: ["sleep", "1000"] });
        execs.push({ pid, systemPid: exec.systemPid, file, name });
      }
    }
    await daemon.kill();
    for (const { pid, file, name } of execs) damages[name]!(join(daemon.stateDir, container.id, pid, file));
    await daemon.start();
    for (const { pid, systemPid } of execs) {
      await eventually(async () => (await shown()).get(container.id)?.[pid] === systemPid, { what: pid });
    }
    for (const { pid } of execs) await daemon.api.signal({ id: container.id, pid, signal: 9 });
    for (const { pid } of execs) {
      expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid })).status, pid).toBe(137);
    }
    await container.kill();
    expect(await container.exit()).toBe(137);
    for (const { pid } of execs) expect(exits(container.id, pid), pid).toHaveLength(1);
    await daemon.expectNothingLeft();
  }, 120_000);

  test("a container of which several files are lost", async () => {
    const lost: Record<string, string[]> = {
      identity: ["init/pid", "init/starttime"],
      all: [
        "init/pid",
        "init/starttime",
        "init/process.json",
        "init/shim",
        "init/started",
        "init/exit",
        "init/control",
      ],
      state: ["state.json", "init/process.json"],
      "state-and-shim": ["state.json", "init/process.json", "init/shim"],
    };
    const containers = await startMany(Object.keys(lost));
    await daemon.kill();
    for (const [name, { id }] of containers) {
      for (const file of lost[name]!) remove(join(daemon.stateDir, id, file));
    }
    await daemon.start();
    for (const [name, { id, response }] of containers) {
      await eventually(async () => (await shown()).get(id)?.init === initPid(response), { what: name });
    }
    const { containers: listed } = await daemon.api.state();
    // All that is needed to use them was found out as well.
    for (const container of containers.values()) {
      expect(listed.find(({ id }) => id === container.id)!.bundlePath).toBe(container.bundle);
      using exec = await startExec(daemon, container, {
        pid: "e",
        args: ["true"],
        request: { cwd: "/", env: ["PATH=/bin"] },
      });
      expect(await exec.exit()).toBe(0);
    }
    await expectEnds([...containers.values()]);
  });

  test("a container of a runtime that nobody knows any more, to its end", async () => {
    const { path } = wrapRuntime(daemon.dir, "own-runtime", "state", { kind: "fail" });
    using container = await startContainer(daemon, {
      name: "own",
      args: ["sleep", "1000"],
      request: { runtime: path, runtimeArgs: ["--root", join(daemon.dir, "own-root")] },
    });
    await daemon.kill();
    for (const file of ["state.json", "init/process.json"]) remove(join(daemon.stateDir, container.id, file));
    await daemon.start();
    await eventually(async () => (await shown()).get(container.id)?.init === initPid(container.response));
    await container.kill();
    expect(await container.exit()).toBe(137);
    expect(readdirSync(join(daemon.dir, "own-root"))).not.toContain(container.id);
    await daemon.expectNothingLeft();
  });
});

test("what events.log calls a process is never taken for a directory that is none of its container's", async () => {
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  using other = await startContainer(daemon, { name: "other", args: ["sleep", "1000"] });
  const stranger = join(daemon.stateDir, "stranger");
  await daemon.kill();
  mkdirSync(stranger);
  const files = () => readdirSync(daemon.stateDir, { recursive: true }).map(String).sort();
  const before = files();
  for (const pid of [undefined, "", ".", "..", "../stranger", `../${other.id}`, `../${other.id}/init`, "state.json"]) {
    const line = { id: container.id, type: "start-process", timestamp: new Date().toISOString(), pid };
    appendFileSync(join(daemon.stateDir, "events.log"), `${JSON.stringify(line)}\n`);
  }
  // A process with a name like any other, of which its exit tells that the lines above were looked at.
  const line = { id: container.id, type: "start-process", timestamp: new Date().toISOString(), pid: "lost" };
  appendFileSync(join(daemon.stateDir, "events.log"), `${JSON.stringify(line)}\n`);
  await daemon.start();
  await daemon.events.waitFor({ type: "exit", id: container.id, pid: "lost" });
  await eventually(() => expect(files()).toEqual(before));
  expect(existsSync(stranger)).toBe(true);
  expect(daemon.events.all({ type: "exit" }).map(({ pid }) => pid)).toEqual(["lost"]);
  rmSync(stranger, { recursive: true });
  await expectEnds([container, other]);
});

describe("is ended, and its exit is told", () => {
  test("an exec without its directory; what has its name at once afterwards is left alone", async () => {
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    const names = Array.from({ length: 12 }, (_, n) => `e${n}`);
    await Promise.all(names.map((pid) => startExec(daemon, container, { pid, args: ["sleep", "1000"] })));
    await daemon.kill();
    for (const name of names) remove(join(daemon.stateDir, container.id, name));
    await daemon.start();
    const execs = await Promise.all(names.map((pid) => startExec(daemon, container, { pid, args: ["sleep", "1000"] })));
    for (const { pid, systemPid } of execs) {
      await eventually(() => exits(container.id, pid).length > 0, { what: `the exit of the first ${pid}` });
      expect(exits(container.id, pid), pid).toHaveLength(1);
      expect((await shown()).get(container.id)?.[pid], pid).toBe(systemPid);
      await daemon.api.signal({ id: container.id, pid, signal: 9 });
      await eventually(() => exits(container.id, pid).length === 2, { what: `the exit of ${pid}` });
    }
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("a container without its init's directory, after its execs", async () => {
    const containers = await startMany(["missing", "file", "fifo", "renamed"]);
    for (const container of containers.values()) {
      using _exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    }
    await daemon.kill();
    for (const [name, { id }] of containers) {
      const path = join(daemon.stateDir, id, "init");
      if (name === "renamed") renameSync(path, join(daemon.dir, "elsewhere"));
      else remove(path);
      if (name === "file") writeFileSync(path, "");
      if (name === "fifo") makeFifos(path);
    }
    await daemon.start();
    for (const [name, container] of containers) {
      // Nobody has seen the one end whose shim is nowhere to be found.
      expect(name === "renamed" ? [137, 255] : [137], name).toContain(await container.exit(30_000));
      expect(isRunning(initPid(container.response))).toBe(false);
      expect(daemon.events.all({ type: "exit", id: container.id }).map(({ pid }) => pid)).toEqual(["e", "init"]);
    }
    rmSync(join(daemon.dir, "elsewhere"), { recursive: true });
    await daemon.expectNothingLeft();
  }, 120_000);

  test("a container whose status was recorded and whose pid is lost: with that status", async () => {
    using container = await startContainer(daemon, { name: "c", args: ["sh", "-c", "sleep 0.2; exit 7"] });
    await daemon.kill();
    const directory = join(daemon.stateDir, container.id, "init");
    await eventually(() => readdirSync(directory).includes("exitStatus"));
    for (const name of ["pid", "starttime"]) remove(join(directory, name));
    await daemon.start();
    expect(await container.exit()).toBe(7);
    await daemon.expectNothingLeft();
  });

  test("an exec without its directory, or of which nobody can tell which process it is", async () => {
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using gone = await startExec(daemon, container, { pid: "gone", args: ["sleep", "1000"] });
    using file = await startExec(daemon, container, { pid: "file", args: ["sleep", "1000"] });
    using lost = await startExec(daemon, container, { pid: "lost", args: ["sleep", "1000"] });
    using torn = await startExec(daemon, container, { pid: "torn", args: ["sleep", "1000"] });
    await daemon.kill();
    const path = (...names: string[]) => join(daemon.stateDir, container.id, ...names);
    remove(path("gone"));
    remove(path("file"));
    writeFileSync(path("file"), "");
    for (const name of ["pid", "starttime"]) {
      remove(path("lost", name));
      truncateSync(path("torn", name));
    }
    await daemon.start();
    for (const { pid, systemPid } of [gone, file, lost, torn]) {
      expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid })).status, pid).toBe(137);
      expect(isRunning(systemPid), pid).toBe(false);
    }
    expect((await shown()).get(container.id)).toEqual({ init: initPid(container.response) });
    using again = await startExec(daemon, container, { pid: "lost", args: ["true"] });
    await eventually(() => exits(container.id, "lost").length === 2);
    expect(again.systemPid).toBeGreaterThan(0);
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });
});

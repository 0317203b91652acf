/** Checkpoints with real CRIU: create with every option, list, delete, start from one; what fails leaves the container running. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Partially, status, type wire } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { unpackedProgram } from "../harness/paths.js";
import { type RuntimeWrapper, wrapRuntime } from "../harness/runtime-wrapper.js";
import { collect, makeFifos, openReader, openStdio } from "../harness/stdio.js";
import { eventually, sleep } from "../harness/wait.js";

/** Counts for ever; where it is shows whether it was saved. */
const COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const create = (container: { id: string }, checkpoint: Partially<wire.Checkpoint>, checkpointDir = "") =>
  daemon.api.createCheckpoint({ id: container.id, checkpoint, checkpointDir });
const list = async (container: { id: string }, checkpointDir = "") =>
  (await daemon.api.listCheckpoint({ id: container.id, checkpointDir })).checkpoints;
const path = (container: TestContainer, name: string) => join(container.bundle, "checkpoints", name);

async function end(container: TestContainer): Promise<void> {
  await container.kill();
  await container.exit();
}

/** A running counter whose output nobody misses. */
async function startCounter(name: string, options: object = {}): Promise<TestContainer> {
  const container = await startContainer(daemon, { name, args: COUNTER, stdio: true, ...options });
  await container.printed("\n10\n");
  return container;
}

/** It counts on. */
async function expectRunning(container: TestContainer): Promise<void> {
  expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
  let counts = 0;
  const count = () => counts++;
  container.stdio.stdout.on("data", count);
  await eventually(() => counts > 3, { what: `${container.id} counting on` });
  container.stdio.stdout.off("data", count);
}

interface Restored extends Disposable {
  id: string;
  first(): Promise<number>;
  end(): Promise<void>;
}

/** Starts a new container from a checkpoint; its first line of output. */
async function restore(
  from: TestContainer,
  name: string,
  request: Partially<wire.CreateContainerRequest>,
): Promise<Restored> {
  const id = daemon.id(name);
  const stdout = join(daemon.dir, `${name}.restored`);
  makeFifos(stdout);
  const reader = openReader(stdout);
  const output = collect(reader);
  try {
    await daemon.api.createContainer({ id, bundlePath: from.bundle, stdout, ...request });
  } catch (error) {
    reader.destroy();
    throw error;
  }
  return {
    id,
    first: async () => Number(await eventually(() => /^(\d+)\n/.exec(output.soFar().toString())?.[1])),
    async end() {
      await daemon.api.signal({ id, pid: "init", signal: 9 });
      await daemon.events.waitFor({ id, type: "exit", pid: "init" });
    },
    [Symbol.dispose]: () => reader.destroy(),
  };
}

describe("errors", () => {
  let container: TestContainer;
  beforeAll(async () => {
    container = await startCounter("errors");
  });
  afterAll(() => end(container));

  test("unknown container", async () => {
    const notFound = { code: status.NOT_FOUND, details: "containerd: container not found" };
    await expect(create({ id: "nobody" }, { name: "x" })).rejects.toMatchObject(notFound);
    await expect(daemon.api.deleteCheckpoint({ id: "nobody", name: "x" })).rejects.toMatchObject(notFound);
    await expect(list({ id: "nobody" })).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: "no such containers",
    });
  });

  test("a missing checkpoint", async () => {
    await expect(daemon.api.createCheckpoint({ id: container.id })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "checkpoint cannot be empty",
    });
    await daemon.api.getServerVersion();
  });

  test("names that are empty or leave the directory: refused, and nothing is made or removed", async () => {
    const precious = join(container.bundle, "precious");
    mkdirSync(precious);
    writeFileSync(join(precious, "config.json"), "{}");
    await expect(daemon.api.deleteCheckpoint({ id: container.id, name: "" })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "checkpoint name cannot be empty",
    });
    const before = readdirSync(container.bundle);
    for (const name of ["", ".", "..", "../precious", "a/b", "/tmp/x", "a\0b"]) {
      const refused = { code: status.INVALID_ARGUMENT };
      await expect(create(container, { name }), name).rejects.toMatchObject(refused);
      await expect(daemon.api.deleteCheckpoint({ id: container.id, name }), name).rejects.toMatchObject(refused);
      if (name !== "") {
        await expect(restore(container, `bad-${Math.random()}`, { checkpoint: name }), name).rejects.toMatchObject(
          refused,
        );
      }
    }
    expect(readdirSync(container.bundle)).toEqual(before);
    expect(existsSync(join(precious, "config.json"))).toBe(true);
    await expectRunning(container);
  });

  test("delete, or start from, a checkpoint that is not there", async () => {
    const file = join(path(container, "ghost"), "config.json");
    const notFound = { code: status.NOT_FOUND, details: `open ${file}: no such file or directory` };
    await expect(daemon.api.deleteCheckpoint({ id: container.id, name: "ghost" })).rejects.toMatchObject(notFound);
    await expect(restore(container, "ghost", { checkpoint: "ghost" })).rejects.toMatchObject(notFound);
    expect(existsSync(join(daemon.stateDir, daemon.id("ghost")))).toBe(false);
  });

  test("start from a checkpoint without images: the runtime's words, and nothing is left", async () => {
    const directory = path(container, "hollow");
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "config.json"), JSON.stringify({ name: "hollow" }));
    await expect(restore(container, "hollow", { checkpoint: "hollow" })).rejects.toMatchObject({
      code: status.INTERNAL,
      details: expect.stringMatching(/^oci runtime error: .*hollow.*no such file or directory/),
    });
    expect(existsSync(join(daemon.stateDir, daemon.id("hollow")))).toBe(false);
    expect(existsSync(join("/run/runc", daemon.id("hollow")))).toBe(false);
    await daemon.api.deleteCheckpoint({ id: container.id, name: "hollow" });
  });

  test("entries of the directory that are no checkpoints are not listed", async () => {
    mkdirSync(path(container, "no-config"), { recursive: true });
    writeFileSync(path(container, "a-file"), "");
    mkdirSync(path(container, "torn"));
    writeFileSync(join(path(container, "torn"), "config.json"), "{");
    expect(await list(container)).toEqual([]);
    expect(await list(container, "/nowhere/at/all")).toEqual([]);
  });
});

describe("a runtime that fails", () => {
  let wrapper: RuntimeWrapper;
  let container: TestContainer;
  beforeAll(async () => {
    wrapper = wrapRuntime(daemon.dir, "failing", "checkpoint", { kind: "fail", message: "out of film" });
    container = await startCounter("failing", { request: { runtime: wrapper.path } });
  });
  afterAll(() => end(container));

  test("the container runs on, no half directory is left, and the name is free", async () => {
    wrapper.on();
    for (let round = 0; round < 2; round++) {
      await expect(create(container, { name: "c", exit: true })).rejects.toMatchObject({
        code: status.INTERNAL,
        details: 'exit status 1: "out of film\\n"',
      });
      expect(existsSync(path(container, "c"))).toBe(false);
    }
    wrapper.off();
    await expectRunning(container);
    expect(await list(container)).toEqual([]);
  });
});

const criu = unpackedProgram("criu");
describe.skipIf(!criu)(criu ? "with CRIU" : "with CRIU (skipped: none in /var/cache/containerd-ts)", () => {
  test("create: the container goes on, a directory with the images is there, list shows it with its options", async () => {
    using container = await startCounter("create");
    await create(container, { name: "one" });
    await expectRunning(container);
    expect(readdirSync(path(container, "one"))).toEqual(expect.arrayContaining(["config.json", "inventory.img"]));
    await create(container, { name: "two", tcp: true, unixSockets: true, shell: true, emptyNS: ["network"] });
    await expectRunning(container);
    const none = { exit: false, tcp: false, unixSockets: false, shell: false, emptyNS: [] };
    expect(await list(container)).toEqual([
      { ...none, name: "one" },
      { name: "two", exit: false, tcp: true, unixSockets: true, shell: true, emptyNS: ["network"] },
    ]);
    expect(daemon.events.all({ id: container.id }).map(({ type }) => type)).toEqual(["start-container"]);
    await end(container);
  });

  test("a name that is taken", async () => {
    using container = await startCounter("taken");
    await create(container, { name: "one" });
    const images = readdirSync(path(container, "one"));
    await expect(create(container, { name: "one" })).rejects.toMatchObject({
      code: status.ALREADY_EXISTS,
      details: `mkdir ${path(container, "one")}: file exists`,
    });
    expect(readdirSync(path(container, "one"))).toEqual(images);
    await expectRunning(container);
    await end(container);
  });

  test("delete", async () => {
    using container = await startCounter("delete");
    await create(container, { name: "one" });
    await create(container, { name: "two" });
    await daemon.api.deleteCheckpoint({ id: container.id, name: "one" });
    expect((await list(container)).map(({ name }) => name)).toEqual(["two"]);
    expect(existsSync(path(container, "one"))).toBe(false);
    await end(container);
  });

  test("exit: the container ends once it is saved, with an exit event, and a new one with its id goes on", async () => {
    const container = await startCounter("exit");
    await create(container, { name: "last", exit: true });
    expect(await container.exit()).toBe(137);
    const last = Number((await container.output()).stdout.toString().trim().split("\n").at(-1));
    container[Symbol.dispose]();
    expect(JSON.parse(readFileSync(join(path(container, "last"), "config.json"), "utf8"))).toMatchObject({
      name: "last",
      exit: true,
    });
    await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
    // Its id is free.
    const stdout = join(daemon.dir, "exit.again");
    makeFifos(stdout);
    const output = collect(openReader(stdout));
    const { container: answer } = await daemon.api.createContainer({
      id: container.id,
      bundlePath: container.bundle,
      checkpoint: "last",
      stdout,
    });
    expect(answer?.processes[0]?.systemPid).toBeGreaterThan(0);
    const first = Number(await eventually(() => /^(\d+)\n/.exec(output.soFar().toString())?.[1]));
    expect(first - last).toBeOneOf([0, 1, 2]);
    await daemon.api.signal({ id: container.id, pid: "init", signal: 9 });
    await eventually(() => daemon.events.all({ id: container.id, type: "exit" }).length === 2);
    expect(daemon.events.all({ id: container.id }).map(({ type }) => type)).toEqual([
      "start-container",
      "exit",
      "start-container",
      "exit",
    ]);
  });

  test("start from a checkpoint with a fresh id, beside the original; each has its own life", async () => {
    using container = await startCounter("original");
    await create(container, { name: "c" });
    using copy = await restore(container, "copy", { checkpoint: "c", labels: ["copy"] });
    expect(await copy.first()).toBeGreaterThan(9);
    const { containers } = await daemon.api.state({ id: copy.id });
    expect(containers[0]).toMatchObject({
      status: "running",
      labels: ["copy"],
      pids: [expect.any(Number), expect.any(Number)].slice(0, containers[0]!.pids.length),
    });
    expect(containers[0]!.pids).toContain(containers[0]!.processes[0]!.systemPid);
    await end(container);
    expect((await daemon.api.state({ id: copy.id })).containers).toHaveLength(1);
    await copy.end();
  });

  test("a restored container can do what others can: exec, pause, stats, signals, checkpoint, a restart of the daemon", async () => {
    await using own = await startDaemon();
    const bundle = own.bundle("able", { args: COUNTER });
    const id = own.id("able");
    await own.api.createContainer({ id, bundlePath: bundle });
    await own.api.createCheckpoint({ id, checkpoint: { name: "c", exit: true } });
    await own.events.waitFor({ id, type: "exit", pid: "init" });
    const restored = { id: own.id("restored") };
    await own.api.createContainer({ id: restored.id, bundlePath: bundle, checkpoint: "c" });
    using exec = await startExec(own, restored, { pid: "e", args: ["sh", "-c", "echo hello; exit 3"], stdio: true });
    expect((await exec.output()).stdout).toBe("hello\n");
    expect(await exec.exit()).toBe(3);
    await own.api.updateContainer({ id: restored.id, status: "paused" });
    await own.api.updateContainer({ id: restored.id, status: "running" });
    const { cgroup_stats } = await own.api.stats({ id: restored.id });
    expect(cgroup_stats!.cpu_stats!.cpu_usage!.total_usage).toBeGreaterThan(0n);
    await own.api.createCheckpoint({ id: restored.id, checkpoint: { name: "second" } });
    await own.restart({ kill: true });
    expect((await own.api.state()).containers.map((each) => each.status)).toEqual(["running"]);
    void own.events;
    await own.api.signal({ id: restored.id, pid: "init", signal: 9 });
    expect((await own.events.waitFor({ id: restored.id, type: "exit", pid: "init" })).status).toBe(137);
    await own.expectNothingLeft();
  });

  test("stdio of a restored container: /dev/null, files, FIFOs with stdin", async () => {
    using container = await startContainer(daemon, {
      name: "stdio",
      args: ["sh", "-c", 'while read line; do echo "got $line"; echo "err $line" >&2; done; echo end; exit 5'],
      stdio: true,
    });
    await create(container, { name: "c", exit: true });
    await container.exit();

    // CRIU saves a pipe as a pipe: it is restored as long as it is not /dev/null in one and a FIFO in the other.
    using fifos = openStdio(daemon.dir, "stdio-again");
    const [stdout, stderr] = [collect(fifos.stdout), collect(fifos.stderr)];
    const id = daemon.id("stdio-fifos");
    await daemon.api.createContainer({ id, bundlePath: container.bundle, checkpoint: "c", ...fifos.paths });
    fifos.stdin.write("one\n");
    await eventually(() => stdout.soFar().toString() === "got one\n");
    await daemon.api.updateProcess({ id, pid: "init", closeStdin: true });
    fifos.stdin.destroy();
    expect((await daemon.events.waitFor({ id, type: "exit", pid: "init" })).status).toBe(5);
    expect((await stdout.whole).toString()).toBe("got one\nend\n");
    expect((await stderr.whole).toString()).toBe("err one\n");
  });

  test("stdout of a restored container may be a regular file", async () => {
    using container = await startCounter("file");
    await create(container, { name: "c" });
    await end(container);
    const file = join(daemon.dir, "restored.txt");
    writeFileSync(file, "before\n");
    using copy = await restore(container, "file-copy", { checkpoint: "c", stdout: file });
    await eventually(() => /^before\n\d+\n\d+\n/.test(readFileSync(file, "utf8")));
    await copy.end();
  });

  test("stdio may be /dev/null before and after", async () => {
    const bundle = daemon.bundle("null", { args: ["sh", "-c", "while :; do echo x; sleep 0.01; done"] });
    const id = daemon.id("null");
    await daemon.api.createContainer({ id, bundlePath: bundle });
    await daemon.api.createCheckpoint({ id, checkpoint: { name: "c", exit: true } });
    await daemon.events.waitFor({ id, type: "exit", pid: "init" });
    const again = daemon.id("null-again");
    await daemon.api.createContainer({ id: again, bundlePath: bundle, checkpoint: "c" });
    await sleep(100);
    expect((await daemon.api.state({ id: again })).containers[0]?.status).toBe("running");
    await daemon.api.signal({ id: again, pid: "init", signal: 9 });
    await daemon.events.waitFor({ id: again, type: "exit", pid: "init" });
  });

  test("checkpointDir: create, list, delete and start take it from there", async () => {
    using container = await startCounter("dir");
    const directory = join(daemon.dir, "elsewhere/deep");
    await create(container, { name: "far" }, directory);
    expect(existsSync(join(directory, "far/inventory.img"))).toBe(true);
    expect(existsSync(join(container.bundle, "checkpoints"))).toBe(false);
    expect((await list(container, directory)).map(({ name }) => name)).toEqual(["far"]);
    expect(await list(container)).toEqual([]);
    using copy = await restore(container, "dir-copy", { checkpoint: "far", checkpointDir: directory });
    expect(await copy.first()).toBeGreaterThan(9);
    await copy.end();
    await daemon.api.deleteCheckpoint({ id: container.id, name: "far", checkpointDir: directory });
    expect(readdirSync(directory)).toEqual([]);
    await end(container);
  });

  test("tcp: an established connection is restored with the flag; without it the checkpoint fails and the container runs on", async () => {
    // A network namespace of its own would be restored with lo down, and its connections could not be.
    const network = daemon.id("net");
    execFileSync("ip", ["netns", "add", network]);
    try {
      execFileSync("ip", ["-n", network, "link", "set", "lo", "up"]);
      using container = await startContainer(daemon, {
        name: "tcp",
        args: [
          "sh",
          "-c",
          "sleep 1000 | nc -l -p 7000 >/dev/null & sleep 0.2; while :; do echo x; sleep 0.02; done | nc 127.0.0.1 7000",
        ],
        spec: (spec) => {
          spec.linux.namespaces = spec.linux.namespaces.map(({ type }) =>
            type === "network" ? { type, path: `/run/netns/${network}` } : { type },
          );
        },
      });
      /** How many ends of established connections there are; busybox listens on IPv6, which takes IPv4 too. */
      const connections = () =>
        execFileSync("nsenter", [`--net=/run/netns/${network}`, "cat", "/proc/net/tcp", "/proc/net/tcp6"], {
          encoding: "utf8",
        })
          .split("\n")
          .filter((line) => line.trim().split(/\s+/)[3] === "01").length;
      await eventually(() => connections() === 2);
      await expect(create(container, { name: "without" })).rejects.toMatchObject({
        code: status.INTERNAL,
        details: expect.stringMatching(/^exit status 1: ".*criu/i),
      });
      expect(existsSync(path(container, "without"))).toBe(false);
      expect(connections()).toBe(2);
      expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
      await create(container, { name: "with", tcp: true, exit: true });
      await container.exit();
      expect(connections()).toBe(0);
      const id = daemon.id("tcp-copy");
      await daemon.api.createContainer({ id, bundlePath: container.bundle, checkpoint: "with" });
      expect(connections()).toBe(2);
      await daemon.api.signal({ id, pid: "init", signal: 9 });
      await daemon.events.waitFor({ id, type: "exit", pid: "init" });
    } finally {
      execFileSync("ip", ["netns", "delete", network]);
    }
  });

  test("every option reaches the runtime, at the checkpoint and at the restore", async () => {
    const wrapper = wrapRuntime(daemon.dir, "noting", "state", { kind: "fail" });
    using container = await startCounter("options", { request: { runtime: wrapper.path, runtimeArgs: ["--debug"] } });
    await create(container, { name: "all", exit: true, tcp: true, unixSockets: true, emptyNS: ["network"] });
    await container.exit();
    const calls = () => readFileSync(`${wrapper.path}.calls`, "utf8").split("\n");
    const checkpoint = calls().find((line) => line.includes(" checkpoint "))!;
    expect(checkpoint).toMatch(/^--debug checkpoint /);
    expect(checkpoint).toContain(" --tcp-established --ext-unix-sk --empty-ns network ");
    expect(checkpoint).not.toContain("--leave-running");
    expect(checkpoint).toContain(` --image-path ${path(container, "all")} `);
    using copy = await restore(container, "options-copy", { checkpoint: "all", runtime: wrapper.path });
    const line = calls().find((each) => each.includes(" restore "))!;
    for (const flag of ["--tcp-established", "--ext-unix-sk", "--empty-ns network"]) expect(line).toContain(flag);
    expect(line).not.toContain("--shell-job");
    expect(await copy.first()).toBeGreaterThan(9);
    await copy.end();
  });

  test("shell: a container with a terminal", async () => {
    using container = await startContainer(daemon, { name: "shell", args: COUNTER, terminal: true, stdio: true });
    await container.printed("\r\n10\r\n");
    await create(container, { name: "c", shell: true, exit: true });
    await container.exit();
    using fifos = openStdio(daemon.dir, "shell-again");
    const output = collect(fifos.stdout);
    const id = daemon.id("shell-copy");
    await daemon.api.createContainer({ id, bundlePath: container.bundle, checkpoint: "c", ...fifos.paths });
    const first = Number(await eventually(() => /^(\d+)\r\n/.exec(output.soFar().toString())?.[1]));
    expect(first).toBeGreaterThan(9);
    await daemon.api.signal({ id, pid: "init", signal: 9 });
    await daemon.events.waitFor({ id, type: "exit", pid: "init" });
  });

  test("execs end with a checkpoint that ends the container, their exits come first", async () => {
    using container = await startCounter("execs");
    await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    const result = await create(container, { name: "c", exit: true }).then(
      () => "saved",
      () => "refused",
    );
    if (result === "refused") {
      // Some versions of CRIU take no process that is not a descendant of init.
      await expectRunning(container);
      expect(existsSync(path(container, "c"))).toBe(false);
      await end(container);
    }
    await container.exit();
    expect(daemon.events.all({ id: container.id, type: "exit" }).map(({ pid }) => pid)).toEqual(["e", "init"]);
  });

  test("a paused container can be saved, or is at least unhurt", async () => {
    using container = await startCounter("paused");
    await daemon.api.updateContainer({ id: container.id, status: "paused" });
    await create(container, { name: "c" }).catch(() => {});
    await daemon.api.updateContainer({ id: container.id, status: "running" });
    await expectRunning(container);
    await end(container);
  });

  test("a call that is cancelled in the middle: the container runs on, and no directory is left", async () => {
    using container = await startCounter("cancelled");
    let undone = 0;
    for (const delay of [5, 20, 40, 60, 80, 100, 130]) {
      const cancel = new AbortController();
      const call = daemon.api.createCheckpoint(
        { id: container.id, checkpoint: { name: "c" } },
        { signal: cancel.signal },
      );
      call.catch(() => {});
      await sleep(delay);
      cancel.abort();
      await call.catch((error) => expect(error).toMatchObject({ code: status.CANCELLED }));
      await expectRunning(container);
      // A deletion waits for its turn: after it the cancelled call has ended, too.
      await daemon.api.deleteCheckpoint({ id: container.id, name: "none" }).catch(() => {});
      // The cancellation may have crossed the answer: the checkpoint is whole then and stays.
      if (!existsSync(path(container, "c"))) undone++;
      else {
        expect(existsSync(join(path(container, "c"), "inventory.img"))).toBe(true);
        await daemon.api.deleteCheckpoint({ id: container.id, name: "c" });
      }
    }
    expect(undone).toBeGreaterThan(0);
    await create(container, { name: "c" });
    await end(container);
  });

  test("one that is being made is none yet, also when its caller has gone: list, start and delete pass over it", async () => {
    const wrapper = wrapRuntime(daemon.dir, "held", "checkpoint", { kind: "hold" });
    using container = await startCounter("held", { request: { runtime: wrapper.path } });
    using beside = await startContainer(daemon, { name: "held-beside", args: ["sleep", "1000"] });
    const checkpointDir = join(container.bundle, "checkpoints");
    await create(container, { name: "whole" });
    wrapper.on();
    const cancel = new AbortController();
    const call = daemon.api.createCheckpoint(
      { id: container.id, checkpoint: { name: "half" } },
      { signal: cancel.signal },
    );
    await wrapper.called("checkpoint", 2);
    cancel.abort();
    await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
    expect(existsSync(join(path(container, "half"), "config.json"))).toBe(true);
    expect((await list(container)).map(({ name }) => name)).toEqual(["whole"]);
    // By another path, too.
    expect(
      (await list(beside, `${container.bundle}/../${basename(container.bundle)}/checkpoints`)).map(({ name }) => name),
    ).toEqual(["whole"]);
    const missing = { code: status.NOT_FOUND, details: expect.stringMatching(/half\/config\.json: no such file/) };
    await expect(
      daemon.api.createContainer({ id: daemon.id("held-from"), bundlePath: container.bundle, checkpoint: "half" }),
    ).rejects.toMatchObject(missing);
    await expect(daemon.api.deleteCheckpoint({ id: beside.id, name: "half", checkpointDir })).rejects.toMatchObject(
      missing,
    );
    await expect(create(beside, { name: "half" }, checkpointDir)).rejects.toMatchObject({
      code: status.ALREADY_EXISTS,
    });
    wrapper.off();
    await eventually(() => !existsSync(path(container, "half")), { what: "the end of the cancelled checkpoint" });
    expect((await list(container)).map(({ name }) => name)).toEqual(["whole"]);
    await create(container, { name: "half" });
    expect((await list(container)).map(({ name }) => name)).toEqual(["half", "whole"]);
    await end(beside);
    await end(container);
  });

  test("a checkpoint holds up no other container, nor State of its own", async () => {
    const wrapper = wrapRuntime(daemon.dir, "slow", "checkpoint", { kind: "hold" });
    using container = await startCounter("slow", { request: { runtime: wrapper.path } });
    using other = await startContainer(daemon, { name: "slow-other", args: ["sleep", "1000"] });
    wrapper.on();
    const call = create(container, { name: "c" });
    await wrapper.called("checkpoint");
    await daemon.api.state();
    await daemon.api.stats({ id: container.id });
    await startExec(daemon, other, { pid: "e", args: ["true"] });
    wrapper.off();
    await call;
    await end(other);
    await end(container);
  });
});

/** One container from CreateContainer to its exit, on real runc. */
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Spec } from "../harness/bundle.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { processes, statOf } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));

test("a container says hello and leaves nothing", async () => {
  const before = daemon.snapshot();
  await using container = await startContainer(daemon, { name: "hello", args: ["echo", "hello"], stdio: true });
  const { stdout, stderr } = await container.output();
  expect(stdout.toString()).toBe("hello\n");
  expect(stderr.toString()).toBe("");
  expect(await container.exit()).toBe(0);
  expect((await daemon.api.state()).containers).toEqual([]);
  await daemon.expectNothingLeft({ before });
});

test("the answer to CreateContainer tells the pid of init, and no pids", async () => {
  await using container = await startContainer(daemon, { name: "answer", args: ["sleep", "1000"] });
  const { container: answer } = container.response;
  expect(answer).toMatchObject({
    id: container.id,
    bundlePath: container.bundle,
    status: "running",
    runtime: "runc",
    pids: [],
  });
  expect(answer?.processes).toHaveLength(1);
  const init = answer!.processes[0]!;
  expect(init).toMatchObject({ pid: "init", args: ["sleep", "1000"], cwd: "/", terminal: false });
  // It may still be the runtime's init, just before its execve.
  await eventually(() => readFileSync(`/proc/${init.systemPid}/cmdline`, "utf8") === "sleep\x001000\x00");
  await container.kill();
  await container.exit();
});

test("State shows the container, its processes and the machine", async () => {
  await using container = await startContainer(daemon, {
    name: "state",
    args: ["sh", "-c", "sleep 1000 & sleep 1001 & wait"],
    env: ["COLOR=blue"],
    request: { labels: ["a=b", "plain"] },
  });
  const { containers, machine } = await eventually(async () => {
    const state = await daemon.api.state({ id: container.id });
    return state.containers[0]?.pids.length === 3 && state;
  });
  expect(containers).toHaveLength(1);
  const [{ processes: listed, pids, ...shown }] = containers as [(typeof containers)[0]];
  expect(shown).toMatchObject({
    id: container.id,
    bundlePath: container.bundle,
    status: "running",
    labels: ["a=b", "plain"],
    runtime: "runc",
  });
  expect(listed).toHaveLength(1);
  expect(listed[0]).toMatchObject({
    pid: "init",
    cwd: "/",
    user: { uid: 0, gid: 0, additionalGids: [] },
    capabilities: ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
    noNewPrivileges: true,
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 1024n, hard: 1024n }],
  });
  expect(listed[0]!.env).toContain("COLOR=blue");
  expect(pids).toContain(listed[0]!.systemPid);
  const inside = processes().filter(({ cgroups }) => cgroups.some((path) => path.endsWith(`/${container.id}`)));
  expect([...pids].sort()).toEqual(inside.map(({ pid }) => pid).sort());
  expect(machine?.cpus).toBe(availableParallelism());
  expect(Number(machine?.memory)).toBe(Math.floor(totalmem() / 2 ** 20));
  await container.kill();
  await container.exit();
});

test("State without an id shows all containers", async () => {
  await using first = await startContainer(daemon, { name: "all-1", args: ["sleep", "1000"] });
  await using second = await startContainer(daemon, { name: "all-2", args: ["sleep", "1000"] });
  const { containers } = await daemon.api.state();
  expect(containers.map(({ id }) => id).sort()).toEqual([first.id, second.id]);
  await Promise.all([first.kill(), second.kill()]);
  await Promise.all([first.exit(), second.exit()]);
});

test("the state directory has the original's files", async () => {
  await using container = await startContainer(daemon, {
    name: "files",
    args: ["sleep", "1000"],
    stdio: true,
    request: { labels: ["x=y"] },
  });
  const directory = join(daemon.stateDir, container.id);
  expect(json(join(directory, "state.json"))).toMatchObject({
    bundle: container.bundle,
    labels: ["x=y"],
    stdin: container.stdio.paths.stdin,
    stdout: container.stdio.paths.stdout,
    stderr: container.stdio.paths.stderr,
    runtime: "runc",
    noPivotRoot: false,
  });
  expect(json(join(directory, "init/process.json"))).toMatchObject({
    args: ["sleep", "1000"],
    cwd: "/",
    exec: false,
    containerdStdin: container.stdio.paths.stdin,
    containerdStdout: container.stdio.paths.stdout,
    containerdStderr: container.stdio.paths.stderr,
    checkpoint: "",
    rootUID: 0,
    rootGID: 0,
  });
  for (const name of ["exit", "control"]) {
    const info = statSync(join(directory, "init", name));
    expect(info.isFIFO(), name).toBe(true);
    expect(info.mode & 0o777, name).toBe(0o600);
  }
  const { systemPid } = container.response.container!.processes[0]!;
  expect(readFileSync(join(directory, "init/pid"), "utf8").trim()).toBe(String(systemPid));
  expect(readFileSync(join(directory, "init/starttime"), "utf8").trim()).toBe(statOf(systemPid).field(22));
  await container.kill();
  await container.exit();
  expect(existsSync(directory)).toBe(false);
});

test("the shim runs in the process directory, in a session of its own", async () => {
  await using container = await startContainer(daemon, { name: "shim", args: ["sleep", "1000"] });
  const shim = processes().find(({ directory }) => directory === join(daemon.stateDir, container.id, "init"));
  expect(shim?.command).toContain(` ${container.id} ${container.bundle} runc`);
  expect(Number(statOf(shim!.pid).field(5)), "process group").toBe(shim!.pid);
  await container.kill();
  await container.exit();
});

test("environment, working directory and host name come from the bundle", async () => {
  await using container = await startContainer(daemon, {
    name: "spec",
    args: ["sh", "-c", "echo $GREETING; pwd; hostname; echo $$"],
    env: ["GREETING=good morning"],
    cwd: "/tmp",
    spec: (spec) => {
      spec.hostname = "tea";
    },
    stdio: true,
  });
  expect((await container.output()).stdout.toString()).toBe("good morning\n/tmp\ntea\n1\n");
  expect(await container.exit()).toBe(0);
});

test("an id is free again as soon as the exit event is there", async () => {
  for (let round = 0; round < 5; round++) {
    const bundle = daemon.bundle(`again-${round}`, { args: ["true"] });
    const id = daemon.id("again");
    await daemon.api.createContainer({ id, bundlePath: bundle });
    await eventually(() => daemon.events.all({ type: "exit", id }).length === round + 1, { interval: 1 });
  }
});

test("a container that ends at once: start-container, then exit, each once", async () => {
  const containers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => startContainer(daemon, { name: `short-${n}`, args: ["true"] })),
  );
  for (const { id, exit } of containers) {
    expect(await exit()).toBe(0);
    expect(daemon.events.all({ id }).map(({ type }) => type)).toEqual(["start-container", "exit"]);
  }
  await daemon.expectNothingLeft();
});

test("what init leaves running ends with it", async () => {
  await using container = await startContainer(daemon, {
    name: "orphans",
    args: ["sh", "-c", "(sleep 1000 &) ; (setsid sleep 1001 &) ; exit 3"],
    stdio: true,
  });
  expect(await container.exit()).toBe(3);
  await daemon.expectNothingLeft();
});

test("what init leaves running ends with it, also without a pid namespace", async () => {
  await using container = await startContainer(daemon, {
    name: "host-pids",
    args: ["sh", "-c", "(sleep 1000 &) ; (setsid sleep 1001 &) ; exit 4"],
    spec: (spec) => {
      spec.linux.namespaces = spec.linux.namespaces.filter(({ type }) => type !== "pid");
    },
    stdio: true,
  });
  expect(await container.exit()).toBe(4);
  await daemon.expectNothingLeft();
});

test("a request's runtime and runtimeArgs are used for every call of the runtime", async () => {
  const { path } = wrapRuntime(daemon.dir, "own-runtime", "state", { kind: "fail" });
  await using container = await startContainer(daemon, {
    name: "own",
    args: ["sleep", "1000"],
    request: { runtime: path, runtimeArgs: ["--root", join(daemon.dir, "own-root")], noPivotRoot: true },
  });
  expect(container.response.container?.runtime).toBe(path);
  expect(existsSync(join(daemon.dir, "own-root", container.id))).toBe(true);
  await container.kill();
  expect(await container.exit()).toBe(137);
  const calls = readFileSync(`${path}.calls`, "utf8").trim().split("\n");
  const verbs = ["create", "start", "delete"];
  for (const verb of verbs) {
    const call = calls.find((line) => line.split(" ").includes(verb));
    expect(call, verb).toMatch(/--root \S+own-root .*/);
    expect(call!.indexOf("--root"), verb).toBeLessThan(call!.indexOf(` ${verb} `));
  }
  expect(calls.find((line) => line.includes(" create "))).toContain("--no-pivot");
  expect(existsSync(join(daemon.dir, "own-root", container.id))).toBe(false);
});

describe("the second call of the runtime", () => {
  /** The subcommands that a runtime of this name (a script around runc) was called with for one container. */
  async function callsOf(name: string, options: { args?: string[]; spec?: (spec: Spec) => void; script?: string }) {
    const { path } = wrapRuntime(mkdtempSync(join(daemon.dir, "runtime-")), name, "state", { kind: "fail" });
    if (options.script !== undefined) {
      const script = readFileSync(path, "utf8").replace('exec "$real"', `exec "$real" ${options.script}`);
      writeFileSync(path, script);
    }
    await using container = await startContainer(daemon, {
      name: `calls-${basename(dirname(path))}`,
      args: ["sh", "-c", "echo ran; exec sleep 1000"],
      stdio: true,
      request: { runtime: path, runtimeArgs: options.args ?? [] },
      ...(options.spec === undefined ? {} : { spec: options.spec }),
    });
    await container.printed("ran");
    await container.kill();
    expect(await container.exit()).toBe(137);
    const words = readFileSync(`${path}.calls`, "utf8").split(/\s/);
    return words.filter((word) => word === "create" || word === "start");
  }

  test("is saved for runc, wherever its root directory is", async () => {
    const own = join(daemon.dir, "saved-root");
    expect(await callsOf("runc", {})).toEqual(["create"]);
    expect(await callsOf("docker-runc", { args: ["--root", "/nowhere", "--debug", `--root=${own}`] })).toEqual([
      "create",
    ]);
    expect(await callsOf("runc", { args: ["--root", own] })).toEqual(["create"]);
  });

  test("is made for a runtime of another name, which may have a part in it", async () => {
    expect(await callsOf("runc-like", {})).toEqual(["create", "start"]);
  });

  test("is made when the container waits somewhere else", async () => {
    expect(await callsOf("runc", { script: `--root ${join(daemon.dir, "other-root")}` })).toEqual(["create", "start"]);
  });

  test("is made for a container with hooks that come after the start", async () => {
    const proof = join(daemon.dir, "poststart");
    const spec = (spec: Spec) => {
      spec.hooks = { poststart: [{ path: "/bin/touch", args: ["touch", proof] }] };
    };
    expect(await callsOf("runc", { spec })).toEqual(["create", "start"]);
    expect(existsSync(proof)).toBe(true);
  });
});

test("only --start-workers containers start at a time, the others wait their turn", async () => {
  await using slow = await startDaemon({ flags: ["--start-workers", "2"] });
  const { path, on } = wrapRuntime(slow.dir, "slow", "create", { kind: "sleep", seconds: 0.5 });
  on();
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: 6 }, (_, n) =>
      startContainer(slow, { name: `queued-${n}`, args: ["true"], request: { runtime: path } }),
    ),
  );
  expect(performance.now() - begin).toBeGreaterThan(1500);
});

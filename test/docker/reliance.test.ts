/** What Docker Engine 1.12 – 17.10 relies on, line by line, asked for as it asks. */
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Event } from "../../src/proto/containerd.js";
import { type BundleOptions, makeBundle } from "../harness/bundle.js";
import { daemonEnvironment, startDaemon, type TestDaemon } from "../harness/daemon.js";
import { findProgram, shimProgram, unpackedProgram } from "../harness/paths.js";
import { kill } from "../harness/processes.js";
import { directoryPrefix } from "../harness/run-name.js";
import { collect, makeFifos, openReader, openWriter } from "../harness/stdio.js";
import { eventually, sleep, within } from "../harness/wait.js";
import { DockerClient, type DockerEvents, StatusError } from "./docker-client.js";

let daemon: TestDaemon;
let docker: DockerClient;
let events: DockerEvents;

beforeAll(async () => {
  daemon = await dockerDaemon();
  docker = new DockerClient(join(daemon.dir, "s"));
  events = docker.events({ timestamp: { seconds: 0n, nanos: 0 } });
});
afterAll(async () => {
  docker?.[Symbol.dispose]();
  await daemon?.[Symbol.asyncDispose]();
});

/** With Docker's names of the programs, on its PATH, and Docker's flags. */
async function dockerDaemon(): Promise<TestDaemon> {
  const environment = daemonEnvironment();
  programs = mkdtempSync(directoryPrefix());
  symlinkSync(findProgram("runc")!, join(programs, "docker-runc"));
  symlinkSync(shimProgram, join(programs, "docker-containerd-shim"));
  return startDaemon({
    env: { PATH: `${programs}:${environment.PATH}` },
    flags: ["--shim", "docker-containerd-shim", "--start-timeout", "2m", "--runtime", "docker-runc", "--debug"],
  });
}
let programs: string;
afterAll(() => rmSync(programs, { recursive: true, force: true }));

interface Started {
  id: string;
  bundle: string;
  systemPid: number;
  stdin: ReturnType<typeof openWriter>;
  /** All of its stdout; resolves at its end. */
  stdout: Promise<Buffer>;
}

/** As libcontainerd starts a container: bundle and FIFOs below its own directory. */
async function start(name: string, options: BundleOptions, more: Record<string, unknown> = {}): Promise<Started> {
  const id = daemon.id(name);
  const bundle = makeBundle(join(daemon.dir, "libcontainerd", id), options);
  const paths = ["stdin", "stdout", "stderr"].map((stream) => join(bundle, `init-${stream}`));
  makeFifos(...paths);
  const [stdin = "", stdout = "", stderr = ""] = paths;
  const input = openWriter(stdin);
  const output = collect(openReader(stdout)).whole;
  collect(openReader(stderr));
  try {
    const { container } = await docker.call("CreateContainer", {
      id,
      bundlePath: bundle,
      stdin,
      stdout,
      stderr,
      runtime: "docker-runc",
      // 17.10 always sends it.
      checkpointDir: join(daemon.dir, "checkpoints", id),
      ...more,
    });
    const init = container?.processes.find(({ pid }) => pid === "init");
    return { id, bundle, systemPid: init!.systemPid, stdin: input, stdout: output };
  } catch (error) {
    input.destroy();
    throw error;
  }
}

/** The exit event of a process. */
function exit(id: string, pid = "init"): Promise<Event> {
  return eventually(
    () => events.events.find((event) => event.type === "exit" && event.id === id && event.pid === pid),
    {
      what: `the exit of ${id}/${pid}`,
    },
  );
}

/** The kernel's; a runtime's until it has become the command. */
const commandLine = (pid: number) =>
  readFileSync(`/proc/${pid}/cmdline`, "utf8").replace(/\0$/, "").replaceAll("\0", " ");

async function end({ id, stdin }: Started): Promise<void> {
  await docker.call("Signal", { id, pid: "init", signal: 9 });
  await exit(id);
  stdin.destroy();
}

describe("health", () => {
  test("is SERVING from the first moment that the socket takes connections, while containers are restored", async () => {
    const containers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => start(`health-${index}`, { args: ["sleep", "1000"] })),
    );
    await daemon.kill();
    daemon.spawn();
    // Nobody listens yet, but the file is there.
    const answers: (number | string)[] = [];
    let client = new DockerClient(join(daemon.dir, "s"));
    const refused = /ECONNREFUSED|ENOENT|session|destroyed|NaN/i;
    await eventually(
      async () => {
        try {
          answers.push(await client.health());
        } catch (error) {
          if (!refused.test(`${error} ${(error as StatusError).code}`)) answers.push(String(error));
          client[Symbol.dispose]();
          client = new DockerClient(join(daemon.dir, "s"));
        }
        return answers.length >= 50;
      },
      { interval: 2 },
    );
    expect(new Set(answers)).toEqual(new Set([1]));
    // What depends on the containers waits for them.
    const { containers: listed } = await client.call("State", {});
    expect(listed).toHaveLength(8);
    client[Symbol.dispose]();
    docker[Symbol.dispose]();
    docker = new DockerClient(join(daemon.dir, "s"));
    events = docker.events({ timestamp: { seconds: 0n, nanos: 0 } });
    for (const container of containers) await end(container);
  });

  test("every 500 ms with a deadline of 3 s, while containers start", async () => {
    const statuses: number[] = [];
    const polling = setInterval(
      () =>
        docker.health().then(
          (status) => statuses.push(status),
          () => statuses.push(-1),
        ),
      100,
    );
    const containers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => start(`busy-${index}`, { args: ["sleep", "1000"] })),
    );
    await Promise.all(containers.map(end));
    clearInterval(polling);
    expect(statuses.length).toBeGreaterThan(0);
    expect(new Set(statuses)).toEqual(new Set([1]));
  });
});

describe("CreateContainer", () => {
  test("with the runtime's name, and the answer has init's pid", async () => {
    const container = await start("name", { args: ["sleep", "1000"] });
    await eventually(() => commandLine(container.systemPid) === "sleep 1000");
    await end(container);
  });

  test("with the path of a configured runtime, and its arguments", async () => {
    const log = join(daemon.dir, "runtime.log");
    const container = await start(
      "path",
      { args: ["true"] },
      { runtime: findProgram("runc"), runtimeArgs: ["--debug", `--log=${log}`] },
    );
    await exit(container.id);
    container.stdin.destroy();
    expect(readFileSync(log, "utf8")).toMatch(/"level":"debug"/);
  });

  test.each([
    ["a command that there is not, on the PATH", ["no-such-command"], /no-such-command.*executable file not found/],
    [
      "a command that there is not, by its path",
      ["/no/such/command"],
      /\/no\/such\/command.*no such file or directory/,
    ],
    ["a command that may not be run", ["/etc"], /\/etc.*permission denied/],
  ])("%s: the runtime's words", async (_, args, words) => {
    const error = await start(`bad-${args[0]!.replaceAll("/", "")}`, { args }).then(
      () => undefined,
      (failure: StatusError) => failure,
    );
    expect(error).toBeInstanceOf(StatusError);
    expect(error!.message).toMatch(words);
    expect(error!.message).toMatch(/^oci runtime error: /);
  });

  test("a bundle of Docker up to 17.05: capabilities as a list; the file stays as it is", async () => {
    const id = daemon.id("old");
    const path = join(daemon.dir, "libcontainerd", id, "config.json");
    const options: BundleOptions = { args: ["sleep", "1000"], oldFormat: true };
    const container = await start("old", options);
    const config = JSON.parse(readFileSync(path, "utf8"));
    expect(config.process.capabilities).toBeInstanceOf(Array);
    expect(config.ociVersion).toBe("1.0.0-rc2-dev");
    expect(/CapEff:\s+([0-9a-f]+)/.exec(readFileSync(`/proc/${container.systemPid}/status`, "utf8"))?.[1]).not.toMatch(
      /^0+$/,
    );
    await end(container);
  });
});

describe("after a start", () => {
  test("closeStdin comes at once: the container reads to the end", async () => {
    const container = await start("cat", { args: ["cat"] });
    container.stdin.write("all of it");
    container.stdin.end();
    await docker.call("UpdateProcess", { id: container.id, pid: "init", closeStdin: true });
    expect((await within(container.stdout, "the end of stdout")).toString()).toBe("all of it");
    expect((await exit(container.id)).status).toBe(0);
  });

  test("closeStdin and a signal after the exit: the words that Docker looks for", async () => {
    const container = await start("gone", { args: ["true"] });
    await exit(container.id);
    await expect(docker.call("UpdateProcess", { id: container.id, pid: "init", closeStdin: true })).rejects.toThrow(
      /container not found|process not found/,
    );
    await expect(docker.call("Signal", { id: container.id, pid: "init", signal: 15 })).rejects.toThrow(
      /container not found|no such process/,
    );
    container.stdin.destroy();
  });

  test("both in the very moment of the exit: no other words, ever", async () => {
    const messages = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const container = await start(`race-${round}`, { args: ["true"] });
      for (let ended = false; !ended; ended = events.of(container.id).includes("exit init")) {
        const answers = await Promise.allSettled([
          docker.call("UpdateProcess", { id: container.id, pid: "init", closeStdin: true }),
          docker.call("Signal", { id: container.id, pid: "init", signal: 15 }),
        ]);
        for (const answer of answers) if (answer.status === "rejected") messages.add(answer.reason.message);
      }
      container.stdin.destroy();
    }
    for (const message of messages) expect(message).toMatch(/container not found|process not found|no such process/);
  });
});

describe("exit", () => {
  test("comes after the end of the output and after the runtime's delete: the same id starts at once, its bundle gone", async () => {
    for (let round = 0; round < 5; round++) {
      const container = await start("again", { args: ["sh", "-c", "head -c 100000 /dev/zero; exit 3"] });
      expect((await exit(container.id)).status).toBe(3);
      // In the moment of the event.
      expect(existsSync(`/run/runc/${container.id}`)).toBe(false);
      const stdout = await within(container.stdout, "EOF of the FIFO");
      expect(stdout).toHaveLength(100_000);
      container.stdin.destroy();
      rmSync(container.bundle, { recursive: true });
      events.events.length = 0;
    }
  });

  test("an exec's comes before its container's", async () => {
    const container = await start("exec", { args: ["sleep", "1000"] });
    const { systemPid } = await docker.call("AddProcess", {
      id: container.id,
      pid: "4f5e6d",
      args: ["sleep", "1001"],
      cwd: "/",
      env: ["PATH=/bin"],
      user: { uid: 0, gid: 0 },
      capabilities: ["CAP_KILL"],
    });
    await eventually(() => commandLine(systemPid) === "sleep 1001");
    await end(container);
    expect(events.of(container.id)).toEqual(["start-container", "start-process 4f5e6d", "exit 4f5e6d", "exit init"]);
  });
});

describe("Stats", () => {
  test("has every part that old dockerd dereferences", async () => {
    const container = await start("stats", { args: ["sleep", "1000"], memoryLimit: 64 << 20 });
    const stats = await docker.call("Stats", { id: container.id });
    expect(stats.timestamp).toBeDefined();
    expect(stats.cgroup_stats?.cpu_stats?.cpu_usage).toBeDefined();
    expect(stats.cgroup_stats?.cpu_stats?.throttling_data).toBeDefined();
    expect(stats.cgroup_stats?.memory_stats?.usage).toBeDefined();
    expect(stats.cgroup_stats?.blkio_stats).toBeDefined();
    expect(Number(stats.cgroup_stats?.memory_stats?.usage?.limit)).toBe(64 << 20);
    await end(container);
  });
});

describe("Events", () => {
  const time = ({ timestamp }: Event) => timestamp!.seconds * 1_000_000_000n + BigInt(timestamp!.nanos);

  test("stored ones since a time, of one container, end with EOF; since the epoch all of them are replayed", async () => {
    const container = await start("stored", { args: ["true"] });
    const { timestamp } = await eventually(() =>
      events.events.find(({ id, type }) => id === container.id && type === "start-container"),
    );
    await exit(container.id);
    container.stdin.destroy();
    using later = docker.events({ timestamp, storedOnly: true, id: container.id });
    await eventually(() => later.status !== undefined);
    expect(later.status).toBe("0");
    // Strictly later.
    expect(later.of(container.id)).toEqual(["exit init"]);
    using all = docker.events({ timestamp: { seconds: 0n, nanos: 0 }, storedOnly: true, id: container.id });
    await eventually(() => all.status !== undefined);
    expect(all.of(container.id)).toEqual(["start-container", "exit init"]);
    expect(all.events).toHaveLength(2);
    // To the nanosecond.
    const nanosecondBefore = { seconds: timestamp!.seconds, nanos: timestamp!.nanos - 1 };
    if (nanosecondBefore.nanos >= 0) {
      using from = docker.events({ timestamp: nanosecondBefore, storedOnly: true, id: container.id });
      await eventually(() => from.status !== undefined);
      expect(from.of(container.id)).toEqual(["start-container", "exit init"]);
    }
  });

  test("a live stream from a saved time does not end with the client's half of the stream", async () => {
    using live = docker.events({ timestamp: { seconds: BigInt(Math.floor(Date.now() / 1000)), nanos: 0 } });
    await sleep(100);
    const container = await start("live", { args: ["true"] });
    await eventually(() => live.of(container.id).includes("exit init"));
    container.stdin.destroy();
    expect(live.status).toBeUndefined();
    const times = live.events.map(time);
    expect(times).toEqual([...times].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(times).size).toBe(times.length);
  });
});

describe("live-restore", () => {
  test("after a kill of the daemon: status, bundlePath, init's pid and terminal, pids; missed events by their time", async () => {
    const script = "sleep 1000 & sleep 1001 & wait";
    const on = await start("on", { args: ["sh", "-c", script] });
    await eventually(async () => (await docker.call("State", { id: on.id })).containers[0]?.pids.length === 3);
    const off = await start("off", { args: ["sleep", "1000"] });
    await docker.call("UpdateContainer", { id: on.id, status: "paused" });
    const last = await eventually(() => events.events.find(({ id, type }) => id === on.id && type === "pause"));
    docker[Symbol.dispose]();
    await daemon.kill();
    kill(off.systemPid);
    await daemon.start();
    docker = new DockerClient(join(daemon.dir, "s"));
    events = docker.events({ timestamp: last.timestamp });
    const { containers } = await docker.call("State", { id: on.id });
    expect(containers[0]).toMatchObject({ id: on.id, bundlePath: on.bundle, status: "paused", runtime: "docker-runc" });
    expect(containers[0]!.processes[0]).toMatchObject({ pid: "init", systemPid: on.systemPid, terminal: false });
    const { pids } = containers[0]!;
    expect(pids).toContain(on.systemPid);
    expect(pids.map(commandLine).sort()).toEqual([`sh -c ${script}`, "sleep 1000", "sleep 1001"]);
    await exit(off.id);
    expect(events.of(off.id)).toEqual(["exit init"]);
    expect(events.of(on.id)).toEqual([]);
    await docker.call("UpdateContainer", { id: on.id, status: "running" });
    await end(on);
    off.stdin.destroy();
  });

  test("SIGTERM ends the daemon well within 15 s though Docker's connection stays open and streams events", async () => {
    const began = performance.now();
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    // The daemon gives calls that do not end 10 s: Docker's stream is not one of them.
    expect(performance.now() - began).toBeLessThan(10_000);
    await eventually(() => events.status !== undefined);
    docker[Symbol.dispose]();
    await daemon.start();
    docker = new DockerClient(join(daemon.dir, "s"));
    events = docker.events({ timestamp: { seconds: 0n, nanos: 0 } });
  });
});

describe("pause, update", () => {
  test("a paused container is shown so, and its events are told", async () => {
    const container = await start("pause", { args: ["sleep", "1000"] });
    await docker.call("UpdateContainer", { id: container.id, pid: "init", status: "paused" });
    expect((await docker.call("State", { id: container.id })).containers[0]?.status).toBe("paused");
    await docker.call("UpdateContainer", { id: container.id, pid: "init", status: "running" });
    expect((await docker.call("State", { id: container.id })).containers[0]?.status).toBe("running");
    expect(events.of(container.id)).toEqual(["start-container", "pause", "resume"]);
    await end(container);
  });

  test("docker update's limits, zeros for those that stay", async () => {
    const container = await start("update", { args: ["sleep", "1000"], memoryLimit: 64 << 20 });
    await docker.call("UpdateContainer", { id: container.id, pid: "init", status: "", resources: { cpuShares: 512n } });
    const { cgroup_stats } = await docker.call("Stats", { id: container.id });
    expect(Number(cgroup_stats?.memory_stats?.usage?.limit)).toBe(64 << 20);
    await end(container);
  });
});

describe.skipIf(!unpackedProgram("criu"))("checkpoint", () => {
  test("written below Docker's own directory; the container ends, and starts from it again", async () => {
    const checkpointDir = join(daemon.dir, "checkpoints", daemon.id("check"));
    const container = await start("check", { args: ["sh", "-c", "while sleep 0.1; do :; done"] }, { checkpointDir });
    await docker.call("CreateCheckpoint", { id: container.id, checkpoint: { name: "one", exit: true }, checkpointDir });
    await exit(container.id);
    container.stdin.destroy();
    expect(existsSync(join(checkpointDir, "one"))).toBe(true);
    rmSync(container.bundle, { recursive: true });
    events.events.length = 0;
    const restored = await start(
      "check",
      { args: ["sh", "-c", "while sleep 0.1; do :; done"] },
      { checkpoint: "one", checkpointDir },
    );
    await eventually(() => commandLine(restored.systemPid).startsWith("sh -c while"));
    expect(events.of(restored.id)[0]).toBe("start-container");
    await end(restored);
  });
});

describe("requests without messages that newer clients always send", () => {
  test("AddProcess without user, CreateCheckpoint without checkpoint: answers, and the daemon lives", async () => {
    const container = await start("nil", { args: ["sleep", "1000"] });
    await docker.call("AddProcess", { id: container.id, pid: "nil", args: ["true"], cwd: "/", env: ["PATH=/bin"] });
    expect((await exit(container.id, "nil")).status).toBe(0);
    await expect(docker.call("CreateCheckpoint", { id: container.id })).rejects.toBeInstanceOf(StatusError);
    expect(await docker.health()).toBe(1);
    await end(container);
  });
});

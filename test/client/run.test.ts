/** `run()`: from the options to the result, with nothing left however it ends. */
import { readdirSync } from "node:fs";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { ContainerdError, connect, v0 } from "../../src/client/index.js";
import { useClient } from "../harness/client.js";
import { endedInTime, eventually, sleep } from "../harness/wait.js";
import { runLoad } from "./run-load.js";

const here = useClient();

const files = () => readdirSync(here.daemon.dir).filter((name) => name.startsWith("ctr-"));

async function expectClean(): Promise<void> {
  expect(files()).toEqual([]);
  await here.daemon.expectNothingLeft();
}

async function failure<T>(promise: Promise<unknown>): Promise<T> {
  try {
    await promise;
  } catch (error) {
    return error as T;
  }
  throw new Error("did not fail");
}

test("output, status, stats", async () => {
  const result = await here.client.v0.run({
    ...here.one(),
    args: ["sh", "-c", "echo out; echo err >&2; sleep 3; exit 7"],
  });
  expect(result).toMatchObject({ stdout: "out\n", stderr: "err\n", status: 7, oomKilled: false });
  expect(result.stats.duration).toBeGreaterThan(2500);
  expect(result.stats.cpuTime).toBeGreaterThan(0);
  expect(result.stats.memoryPeak).toBeGreaterThan(0);
  expect(result.stats.last?.pids.current).toBeGreaterThan(0);
  await expectClean();
});

test("the memory's peak is the whole run's, however short it was; and of a container that is waited for", async () => {
  // Samples are taken at the start, and then more and more rarely.
  const args = ["sh", "-c", "sleep 0.5; dd if=/dev/zero of=/dev/null bs=48M count=1 2>/dev/null"];
  const { stats, status } = await here.client.v0.run({ ...here.one(), args });
  expect(status).toBe(0);
  expect(stats.memoryPeak).toBeGreaterThanOrEqual(48 << 20);
  await using container = await here.client.v0.containers.start({ ...here.one(), args });
  expect((await container.wait()).memoryPeak).toBeGreaterThanOrEqual(48 << 20);
});

test("input: text, bytes, a stream; more than its reader takes", async () => {
  const bytes = Buffer.alloc(1_000_000, "abc\n");
  const outputs = await Promise.all([
    here.client.v0.run({ ...here.one(), args: ["cat"], input: "text" }),
    here.client.v0.run({ ...here.one(), args: ["cat"], input: bytes, encoding: "buffer" }),
    here.client.v0.run({ ...here.one(), args: ["wc", "-c"], input: Readable.from([bytes, bytes]) }),
    here.client.v0.run({ ...here.one(), args: ["head", "-c", "3"], input: bytes }),
    here.client.v0.run({ ...here.one(), args: ["cat"] }),
  ]);
  const [text, binary, stream, head, none] = outputs;
  expect(text.stdout).toBe("text");
  expect(binary.stdout.equals(bytes)).toBe(true);
  expect(stream.stdout.trim()).toBe("2000000");
  expect(head).toMatchObject({ stdout: "abc", status: 0 });
  expect(none.stdout).toBe("");
  await expectClean();
});

test("an input that fails fails the run", async () => {
  const broken = new Error("the disk is on fire");
  async function* input() {
    yield "some";
    throw broken;
  }
  expect(await failure(here.client.v0.run({ ...here.one(), args: ["cat"], input: input() }))).toBe(broken);
  await expectClean();
});

test("timeout: what was printed is kept", async () => {
  const args = ["sh", "-c", "echo begun; trap '' TERM; sleep 1000"];
  const { error, timeout } = await endedInTime(
    async (timeout) => ({
      timeout,
      error: await failure<v0.RunError>(here.client.v0.run({ ...here.one(), args, timeout })),
    }),
    ({ error }) => Boolean(error.stdout),
  );
  expect(error).toBeInstanceOf(v0.RunError);
  expect(error).toMatchObject({ reason: "timeout", code: "DEADLINE_EXCEEDED", stdout: "begun\n", stderr: "" });
  expect(error.message).toBe(`the container was killed after its ${timeout} ms`);
  expect(error.containerId).toMatch(/-c\d+$/);
  await expectClean();
});

test.each([Number.POSITIVE_INFINITY, 2 ** 31, Number.MAX_SAFE_INTEGER])(
  "a timeout of %d ms is not over at once",
  async (long) => {
    const patient = connect(here.daemon.listen, { connectTimeout: long, patience: long });
    const args = ["sh", "-c", "sleep 0.3; echo done"];
    expect(await patient.v0.run({ ...here.one(), args, timeout: long })).toMatchObject({ stdout: "done\n", status: 0 });
    expect(await patient.version({ timeout: long })).toMatchObject({ version: expect.any(String) });
    const container = await patient.v0.containers.start({ ...here.one(), args, timeout: long });
    const samples: unknown[] = [];
    for await (const sample of container.watchStats({ interval: long })) {
      samples.push(sample);
      // A longer interval than any container lives for ends with its iteration only.
      if (long !== Number.POSITIVE_INFINITY) break;
    }
    expect(samples).toHaveLength(1);
    expect(await container.wait({ timeout: long })).toMatchObject({ status: 0 });
    container.init.stdout.resume();
    await container.init.close(long);
    await container.remove();
    patient.close();
    await expectClean();
  },
);

test("results, stats and events as JSON", async () => {
  const { id, ...rest } = here.one();
  const result = await here.client.v0.run({ ...rest, id, args: ["sh", "-c", "sleep 0.3"] });
  const read = JSON.parse(JSON.stringify(result));
  expect(read).toMatchObject({ status: 0, stats: { last: { raw: { cgroup_stats: { pids_stats: { current: 1 } } } } } });
  const seen: { type: string; timestamp: string }[] = [];
  for await (const event of here.client.v0.events({ since: 0, storedOnly: true, id }))
    seen.push(JSON.parse(JSON.stringify(event)));
  expect(seen.map(({ type }) => type)).toEqual(["start-container", "exit"]);
  expect(new Date(seen[1]!.timestamp).getTime()).toBeGreaterThan(new Date(seen[0]!.timestamp).getTime());
  await using container = await here.client.v0.containers.start({ ...here.one(), args: ["sleep", "1000"] });
  for (const value of [
    await container.stats(),
    await container.state(),
    await here.client.v0.containers.list(),
    await here.client.v0.api.state(),
  ])
    expect(JSON.parse(JSON.stringify(value))).toBeTruthy();
  await container.kill("KILL");
  expect(JSON.parse(JSON.stringify(await container.wait())).exitedAt).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
});

test("abort: at once, during the start, and while it runs", async () => {
  const reason = new Error("enough");
  expect(
    await failure(here.client.v0.run({ ...here.one(), args: ["sleep", "1000"], signal: AbortSignal.abort(reason) })),
  ).toBe(reason);
  for (const delay of [0, 5, 30, 60, 120, 500]) {
    const controller = new AbortController();
    const running = here.client.v0.run({ ...here.one(), args: ["sleep", "1000"], signal: controller.signal });
    running.catch(() => {});
    await sleep(delay);
    controller.abort(reason);
    expect(await failure(running)).toBe(reason);
    await expectClean();
  }
});

test("limits: out of memory is told; too much output ends it", async () => {
  const args = ["sh", "-c", "sh -c 'x=0123456789abcdef; while :; do x=$x$x$x$x; done'; sleep 0.5; exit 9"];
  const greedy = await here.client.v0.run({ ...here.one(), args, limits: { memory: 16 << 20, cpu: 0.9, pids: 10 } });
  expect(greedy).toMatchObject({ oomKilled: true, status: 9 });
  const error = await failure<v0.RunError>(here.client.v0.run({ ...here.one(), args: ["yes"], maxOutput: 5000 }));
  expect(error).toMatchObject({ reason: "output", code: "RESOURCE_EXHAUSTED" });
  expect(error.stdout).toHaveLength(5000);
  await expectClean();
});

test("a command that cannot be run: the runtime's words, code and container", async () => {
  const own = here.one();
  const error = await failure<ContainerdError>(here.client.v0.run({ ...own, args: ["no-such-command"] }));
  expect(error).toBeInstanceOf(ContainerdError);
  expect(error.message).toContain("executable file not found in $PATH");
  expect(error.containerId).toBe(own.id);
  expect(await failure(here.client.v0.run({ ...here.one(), args: [] }))).toBeInstanceOf(TypeError);
  await expectClean();
});

test("what the options say is what the command finds", async () => {
  const script =
    "hostname; id -u; id -g; pwd; echo $GREETING; touch /x 2>&1; cat /tmp/data/*; " +
    "cat /proc/self/status | grep CapEff; ls /sys/class/net | tr '\\n' ' '";
  const { stdout } = await here.client.v0.run({
    ...here.one(),
    args: ["sh", "-c", script],
    hostname: "me",
    user: { uid: 1000, gid: 1001 },
    cwd: "/tmp",
    env: { GREETING: "hi", NOTHING: undefined },
    mounts: [
      { type: "tmpfs", destination: "/tmp/data", size: 1 << 20 },
      { source: import.meta.filename, destination: "/tmp/data/this", readOnly: true },
    ],
    capabilities: [],
  });
  const lines = stdout.split("\n");
  expect(lines.slice(0, 6)).toEqual(["me", "1000", "1001", "/tmp", "hi", "touch: /x: Read-only file system"]);
  expect(stdout).toContain("what the options say is what the command finds");
  expect(stdout).toMatch(/CapEff:\s+0{16}\n/);
  expect(lines.at(-1)).toContain("lo");
  const host = await here.client.v0.run({ ...here.one(), args: ["ls", "/sys/class/net"], network: "host" });
  expect(host.status).toBe(0);
  const joined = await here.client.v0.run({
    ...here.one(),
    args: ["readlink", "/proc/self/ns/net"],
    network: { path: "/proc/self/ns/net" },
    customize: (spec) => {
      // The daemon's "self" is the runtime; the namespace of this process is meant.
      const namespace = spec.linux.namespaces.find(({ type }) => type === "network");
      namespace!.path = `/proc/${process.pid}/ns/net`;
    },
  });
  expect(joined.status).toBe(0);
  await expectClean();
});

test("without a client: a connection for one run", async () => {
  const { stdout } = await v0.run({ ...here.one(), address: here.daemon.listen, args: ["echo", "alone"] });
  expect(stdout).toBe("alone\n");
});

test("the daemon is killed and started again meanwhile", async () => {
  const running = here.client.v0.run({ ...here.one(), args: ["sh", "-c", "echo before; cat; exit 6"], input: slow() });
  async function* slow() {
    yield "first\n";
    await eventually(async () => (await here.client.v0.containers.list()).length === 1);
    await here.daemon.restart({ kill: true });
    yield "last\n";
  }
  expect(await running).toMatchObject({ stdout: "before\nfirst\nlast\n", status: 6 });
  await expectClean();
});

test("100 runs, 20 at a time, with random aborts and timeouts", async () => {
  const { wrong, outcomes } = await runLoad(here.daemon, { runs: 100, parallel: 20, seed: Date.now() % 1e6 });
  expect(wrong).toEqual([]);
  expect(Object.values(outcomes).reduce((sum, part) => sum + part, 0)).toBe(100);
});

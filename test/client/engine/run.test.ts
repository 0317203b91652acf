import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ContainerdError, RunError, type RunOptions } from "../../../src/client/index.js";
import { importRootfs, useClient } from "../../harness/client.js";
import { sharedRootfs } from "../../harness/rootfs.js";
import { endedInTime, eventually } from "../../harness/wait.js";

const here = useClient();
const image = "base:1";
const HOST_IDS = { userns: "host" as const };

beforeAll(async () => {
  await importRootfs(here.client, image);
});
afterAll(async () => {
  expect(await here.client.containers.list()).toEqual([]);
  await here.client.images.prune({ all: true });
});

const run = (args: string[], options: Partial<RunOptions> = {}) =>
  here.client.run({ image, pull: "never", ...HOST_IDS, stdioDir: here.daemon.dir, args, ...options });

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("it went well"),
    (error: unknown) => error as RunError,
  );

test("output, error output, status, usage", async () => {
  const result = await run(["sh", "-c", "echo out; echo err >&2; exit 3"]);
  expect(result).toMatchObject({ stdout: "out\n", stderr: "err\n", status: 3, oomKilled: false, timedOut: false });
  expect(result.usage.memoryPeak).toBeGreaterThan(0);
  expect(result.usage.cpuTime).toBeGreaterThan(0);
  expect(result.duration).toBeGreaterThan(0);
});

test("output as it comes, as text and as bytes", async () => {
  const told: string[] = [];
  const args = ["sh", "-c", "printf 'ä€'; sleep 0.1; printf b >&2"];
  expect(await run(args, { onStdout: (text) => told.push(text), onStderr: (text) => told.push(text) })).toMatchObject({
    stdout: "ä€",
  });
  expect(told.join("")).toBe("ä€b");
  const bytes = await here.client.run({ image, ...HOST_IDS, stdioDir: here.daemon.dir, args, encoding: "buffer" });
  expect(bytes.stdout).toEqual(Buffer.from("ä€"));
  const broken = new Error("no more");
  const options = {
    onStdout: () => {
      throw broken;
    },
  };
  expect(await failure(run(["sh", "-c", "echo x; sleep 1000"], options))).toBe(broken);
});

test("a timeout, too much output and an abort end it, and it is gone", async () => {
  const late = await endedInTime(
    (timeout) => failure(run(["sh", "-c", "echo begun; trap '' TERM; sleep 1000"], { timeout })),
    ({ stdout }) => Boolean(stdout),
  );
  expect(late).toBeInstanceOf(RunError);
  expect(late).toMatchObject({ reason: "timeout", timedOut: true, kind: "timeout" });
  const greedy = await failure(run(["yes"], { maxOutput: 5000 }));
  expect(greedy).toMatchObject({ reason: "output", timedOut: false });
  expect(greedy.stdout.length).toBe(5000);
  const controller = new AbortController();
  const aborted = run(["sh", "-c", "echo x; sleep 1000"], {
    signal: controller.signal,
    onStdout: () => controller.abort(new Error("enough")),
  });
  expect(await failure(aborted)).toMatchObject({ message: "enough" });
  expect(await here.client.containers.list()).toEqual([]);
});

test("what can't be run says why, and is gone", async () => {
  expect(await failure(run(["no-such-command"]))).toMatchObject({ kind: "command-not-found" });
  expect(await failure(run(["true"], { image: "no-such:1" }))).toMatchObject({ kind: "not-found", isNotFound: true });
  const missing = join(here.daemon.dir, "missing");
  const kinds: [string, Partial<RunOptions>][] = [
    ["bad-rootfs", { image: undefined, rootfs: missing }],
    ["bad-rootfs", { image: undefined, rootfs: missing, writable: true }],
    ["bad-mount", { mounts: [{ source: missing, destination: "/data" }] }],
    ["refused", { mounts: [{ source: here.daemon.dir, destination: "/" }] }],
    ["refused", { user: "nobody-of-that-name" }],
    ["runtime-not-found", { runtime: "no-such-runtime" }],
    ["not-executable", { args: ["/tmp"] }],
    ["not-found", { network: { container: "nobody" } }],
  ];
  for (const [kind, options] of kinds)
    expect(await failure(run(["true"], options)), JSON.stringify(options)).toMatchObject({ kind });
  const there = await here.client.containers.list();
  expect(there).toEqual([]);
});

test("environment, directory, host name, mounts, limits arrive", async () => {
  const folder = join(here.daemon.dir, "data");
  mkdirSync(folder);
  writeFileSync(join(folder, "file"), "of the host");
  const script =
    "echo $A; pwd; hostname; cat /data/file; echo; touch /data/x || echo refused; touch /tmp/x && echo written; ulimit -n";
  const { stdout } = await run(["sh", "-c", script], {
    env: { A: "b" },
    workdir: "/etc",
    hostname: "box",
    mounts: [{ source: folder, destination: "/data", readOnly: true }],
    tmpfs: { "/tmp": { size: 1 << 20 } },
    ulimits: { nofile: 77 },
  });
  expect(stdout.split("\n")).toEqual(["b", "/etc", "box", "of the host", "refused", "written", "77", ""]);
});

test("a root file system of a directory", async () => {
  expect(await run(["echo", "hello"], { image: undefined, rootfs: sharedRootfs() })).toMatchObject({
    stdout: "hello\n",
  });
});

test("a daemon that is killed while it runs changes nothing", async () => {
  let begun = () => {};
  const printed = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const script = "trap 'echo done; exit 5' TERM; echo begun; while :; do sleep 0.1; done";
  const running = run(["sh", "-c", script], { onStdout: begun });
  await printed;
  await here.daemon.kill();
  await here.daemon.start();
  const [container] = await here.client.containers.list();
  await container!.kill("SIGTERM");
  expect(await running).toMatchObject({ stdout: "begun\ndone\n", status: 5 });
});

test("a container that stays: found by name and label, stopped, started, removed", async () => {
  const { containers } = here.client;
  const name = here.daemon.id("web").slice(0, 40);
  const made = await containers.start({ image, args: ["sleep", "1000"], name, labels: { tier: "web" } });
  const found = await containers.get(name);
  expect(found.info).toMatchObject({ id: made.id, status: "running", labels: { tier: "web" } });
  expect(JSON.parse(JSON.stringify(found))).toMatchObject({ id: made.id, name });
  expect((await containers.list({ labels: { tier: "web" }, status: "running" })).map(({ id }) => id)).toEqual([
    made.id,
  ]);
  expect(await containers.list({ labels: { tier: "other" } })).toEqual([]);
  expect(await found.stop({ grace: 0 })).toMatchObject({ status: 137 });
  expect(await found.state()).toBe("stopped");
  await found.start();
  expect(await made.state()).toBe("running");
  expect(await failure(found.remove())).toBeInstanceOf(ContainerdError);
  await found.remove({ force: true });
  await found.remove();
  expect(await failure(made.inspect())).toMatchObject({ isNotFound: true });
});

test("a program that is killed leaves no container", async () => {
  const script = `
    import { connect } from "containerd-ts";
    await connect().run({ image: "${image}", userns: "host", args: ["sleep", "1000"] });`;
  const { startProgram } = await import("../typescript-program.js");
  using program = await startProgram(here.daemon, { script });
  await eventually(async () => (await here.client.containers.list({ status: "running" })).length === 1);
  program.child.kill("SIGKILL");
  await eventually(async () => (await here.client.containers.list()).length === 0);
});

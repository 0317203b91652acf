/** Whether what runs in a container works, as its health check says. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { HealthCheck } from "../../src/proto/containerdts/engine/v1/engine.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full, times } from "../harness/extent.js";
import { base, directory, file, ImageLayout } from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

const api = () => daemon.v1().engine;

interface Wishes {
  test: string[];
  interval?: number;
  timeout?: number;
  startPeriod?: number;
  startInterval?: number;
  retries?: number;
}

function checkOf({ test, interval = 50, timeout = 0, startPeriod = 0, startInterval = 0, retries = 2 }: Wishes) {
  return HealthCheck.fromPartial({
    ...{ test, retries },
    interval: BigInt(interval),
    timeout: BigInt(timeout),
    startPeriod: BigInt(startPeriod),
    startInterval: BigInt(startInterval),
  });
}

async function run(wishes: Wishes, config: Config = {}) {
  const id = newId(daemon);
  const all: Config = { args: texts("sleep", "1000"), writable: true, health: checkOf(wishes), ...config };
  await api().run({ create: requestFor({ id, config: all }), stdio: NO_STDIO });
  return id;
}

async function healthOf(id: string) {
  const { health } = await api().get({ id });
  return health!;
}

function inState(id: string, status: string) {
  return eventually(async () => {
    const found = await healthOf(id);
    expect(found.status).toBe(status);
    return found;
  });
}

/** Runs a command in a container to its end. */
async function exec(id: string, ...args: string[]) {
  const { execId } = await api().exec({ id, args, stdio: NO_STDIO });
  expect((await api().wait({ id, execId })).status).toBe(0);
  await api().deleteExec({ id, execId });
}

const outputs = (results: readonly { output: Uint8Array }[]) => results.map(({ output }) => `${Buffer.from(output)}`);

test("a check says whether a container works; what is unhealthy stays so for the next daemon", async () => {
  const script = "echo out; echo err >&2; test -e /works";
  const id = await run({ test: ["CMD-SHELL", script] });
  expect(["starting", "unhealthy"]).toContain((await healthOf(id)).status);
  const bad = await inState(id, "unhealthy");
  expect(bad.failingStreak).toBeGreaterThanOrEqual(2);
  expect(bad.results.length).toBeGreaterThanOrEqual(2);
  expect(outputs(bad.results)).toContain("out\nerr\n");
  expect(bad.results[0]).toMatchObject({ status: 1 });
  await daemon.kill();
  await daemon.start();
  expect((await healthOf(id)).status).toBe("unhealthy");
  await exec(id, "touch", "/works");
  const good = await inState(id, "healthy");
  expect(good).toMatchObject({ failingStreak: 0 });
  expect(good.results.length).toBeLessThanOrEqual(5);
  expect((await api().get({ id })).execIds).toEqual([]);
  await api().stop({ id, grace: 0n });
  expect((await healthOf(id)).status).toBe("unhealthy");
  await api().remove({ id });
});

test.skipIf(!full)("what hangs is killed with what it has started, and has failed", async () => {
  const id = await run({ test: ["CMD", "sh", "-c", "echo hangs; sleep 1000 & sleep 2000"], timeout: 300 });
  const { results } = await inState(id, "unhealthy");
  expect(results.at(-1)).toMatchObject({ status: -1 });
  expect(outputs(results)).toContain("hangs\n");
  await eventually(async () => expect((await api().top({ id })).pids.length).toBeLessThanOrEqual(4));
  await api().remove({ id, force: true });
});

test.skipIf(!full)(
  "what has left the session, and holds the output of a check, does not hold up those to come",
  async () => {
    // The shell ends, and is not the parent of what it leaves any more.
    const id = await run({ test: ["CMD-SHELL", "(setsid sleep 1000) & exit 3"], timeout: 300 });
    const { results } = await inState(id, "unhealthy");
    expect(results.at(-1)).toMatchObject({ status: 3 });
    await daemon.kill();
    await daemon.start();
    await eventually(async () => expect((await healthOf(id)).results.length).toBe(2));
    await api().remove({ id, force: true });
  },
);

test.skipIf(!full)("one that was frozen over its timeout does not count", async () => {
  // In ms: what comes before the pause takes less.
  const LONG = 10_000;
  const script = "touch /begun; until test -e /go; do sleep 0.01; done";
  const id = await run({ test: ["CMD-SHELL", script], timeout: LONG, retries: 1 });
  await eventually(async () => {
    await exec(id, "test", "-e", "/begun");
    return true;
  });
  await api().pause({ id });
  // Another's of the same timeout is over before it is.
  const other = await run({ test: ["CMD", "sleep", "1000"], timeout: LONG, retries: 1 });
  await inState(other, "unhealthy");
  await api().resume({ id });
  await exec(id, "touch", "/go");
  const { results } = await inState(id, "healthy");
  expect(results.map(({ status }) => status)).not.toContain(-1);
  for (const one of [id, other]) await api().remove({ id: one, force: true });
});

test.skipIf(!full)("of much that is printed the beginning is kept", async () => {
  const id = await run({ test: ["CMD-SHELL", "head -c 1000000 /dev/zero | tr '\\0' x"] });
  const { results } = await eventually(async () => {
    const found = await inState(id, "healthy");
    expect(found.results.length).toBe(5);
    return found;
  });
  for (const text of outputs(results)) expect(text).toBe("x".repeat(4096));
  await api().remove({ id, force: true });
});

test.skipIf(!full)("what fails in the start period does not count, a success ends it", async () => {
  const hour = 3_600_000;
  const script = "test -e /works";
  const id = await run({
    test: ["CMD-SHELL", script],
    interval: 100,
    startPeriod: hour,
    startInterval: 50,
    retries: 1,
  });
  await eventually(async () => expect((await healthOf(id)).results.length).toBe(5));
  expect(await healthOf(id)).toMatchObject({ status: "starting", failingStreak: 0 });
  await exec(id, "touch", "/works");
  await inState(id, "healthy");
  await exec(id, "rm", "/works");
  await inState(id, "unhealthy");
  await api().remove({ id, force: true });
});

test.skipIf(!full)("nothing is run in a paused container", async () => {
  const id = await run({ test: ["CMD-SHELL", "date >> /log"] });
  await inState(id, "healthy");
  await api().pause({ id });
  // One that was under way is frozen; none comes.
  const before = (await api().top({ id })).pids.length;
  const other = await run({ test: ["CMD", "true"] });
  await eventually(async () => expect((await healthOf(other)).results.length).toBe(5));
  expect((await api().top({ id })).pids.length).toBeLessThanOrEqual(before);
  expect((await healthOf(id)).status).toBe("healthy");
  await api().resume({ id });
  const last = (await healthOf(id)).results.at(-1)!.endedAt!;
  await eventually(async () => expect((await healthOf(id)).results.at(-1)!.endedAt).not.toEqual(last));
  for (const one of [id, other]) await api().remove({ id: one, force: true });
});

test.skipIf(!full)("checks that can't be", async () => {
  const refused = (test: string[], more: Partial<Wishes> = {}) => refusal(run({ test, ...more }));
  expect(await refused(["true"])).toMatch(/INVALID_ARGUMENT: health check \["true"\]: .*CMD-SHELL/);
  expect(await refused(["CMD"])).toMatch(/health check \["CMD"\]/);
  expect(await refused(["CMD", "true"], { interval: -1 })).toMatch(/interval of the health check -1/);
  const none = await run({ test: ["NONE"] });
  expect(await healthOf(none)).toBeUndefined();
  const missing = await run({ test: ["CMD", "/no/such/program"] });
  const { results } = await inState(missing, "unhealthy");
  expect(results[0]).toMatchObject({ status: -1 });
  expect(outputs(results)[0]).toContain("/no/such/program");
  for (const id of [none, missing]) await api().remove({ id, force: true });
});

test.skipIf(!full)("the check of an image, by its own shell, beside its volume", async () => {
  const name = "docker.io/library/test:checked";
  const layout = new ImageLayout(join(daemon.dir, "checked-image"));
  const script = '#!/bin/sh\necho own shell; exec /bin/sh "$@"\n';
  const layers = [await layout.layer([...base(), directory("data"), file("bin/own-shell", script, { mode: 0o755 })])];
  const Healthcheck = { Test: ["CMD-SHELL", "test -e /data/works"], Interval: 50_000_000, Retries: 1 };
  const own = { Healthcheck, Shell: ["/bin/own-shell", "-c"], Volumes: { "/data": {} } };
  const image = layout.image({ layers, config: { Cmd: ["sleep", "1000"], Env: ["PATH=/bin:/usr/bin"], ...own } });
  layout.name(image.manifest, name);
  const archive = join(daemon.dir, "checked-image.tar");
  await layout.archive(archive);
  await new Transfers(daemon.v1()).import(archive, { name });
  const start = async (config: Config) => {
    const id = newId(daemon);
    await api().run({ create: requestFor({ id, config: { image: name, ...config } }), stdio: NO_STDIO });
    return id;
  };
  const id = await start({});
  const { results } = await inState(id, "unhealthy");
  expect(outputs(results)[0]).toBe("own shell\n");
  await exec(id, "touch", "/data/works");
  await inState(id, "healthy");
  // The caller's wishes go before the image's, one by one.
  const other = await start({ health: checkOf({ test: [], interval: 0, retries: 1000 }) });
  await eventually(async () => expect((await healthOf(other)).failingStreak).toBeGreaterThan(2));
  expect((await healthOf(other)).status).toBe("starting");
  const none = await start({ health: checkOf({ test: ["NONE"], interval: 0 }) });
  expect(await healthOf(none)).toBeUndefined();
  for (const one of [id, other, none]) await api().remove({ id: one, force: true });
});

test.skipIf(!full)(
  "a checkpoint ends a check that is under way; nobody is told of checks, whichever daemon they end under",
  async () => {
    const id = await run({ test: ["CMD-SHELL", "echo >> /checks; sleep 1000"], timeout: 3_600_000 });
    const checks = async () => (await daemon.v1().engine.top({ id })).pids.length;
    const oneRuns = () => eventually(async () => expect(await checks()).toBeGreaterThan(1));
    await oneRuns();
    const ref = join(daemon.dir, "saved");
    await api().checkpoint({ id, ref, leaveRunning: true });
    expect(existsSync(ref)).toBe(true);
    expect((await healthOf(id)).results).toEqual([]);
    await oneRuns();
    await daemon.kill();
    await daemon.start();
    await api().stop({ id, grace: 0n });
    await api().remove({ id });
    const log = readFileSync(join(daemon.runDir, "events.log"), "utf8");
    expect(log).toContain(id);
    expect(log).not.toContain("containerdts.health");
  },
);

test.skipIf(!full)("many are checked, also by the next daemon", async () => {
  const test = ["CMD", "true"];
  const ids: string[] = [];
  // A few at a time: what a busy machine has no answer to in time is no matter of this test.
  while (ids.length < times(50, 5))
    ids.push(...(await Promise.all(Array.from({ length: 5 }, () => run({ test, interval: 1_000 })))));
  for (const id of ids) await inState(id, "healthy");
  await daemon.kill();
  await daemon.start();
  for (const id of ids) await eventually(async () => expect((await healthOf(id)).results.length).toBeGreaterThan(0));
  const task = join(daemon.runDir, "tasks", "default", ids[0]!);
  expect(existsSync(task)).toBe(true);
  await Promise.all(ids.map((id) => api().remove({ id, force: true })));
});

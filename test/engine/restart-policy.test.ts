/** What starts a container again that has ended, and what keeps it from that. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { LogsRequest } from "../../src/proto/containerdts/engine/v1/engine.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import {
  bindOf,
  type Config,
  importImage,
  NO_STDIO,
  newId,
  requestFor,
  texts,
  type Wanted,
} from "../harness/engine.js";
import { full, times } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

const api = () => daemon.v1().engine;

type Policy = "no" | "on-failure" | "always" | "unless-stopped";

async function run(script: string, name: Policy, more: Partial<Wanted> & { maxRetries?: number } = {}) {
  const { maxRetries = 0, config, ...wanted } = more;
  const id = newId(daemon);
  const all: Config = { args: texts("sh", "-c", script), restart: { name, maxRetries }, ...config };
  await api().run({ create: requestFor({ id, ...wanted, config: all }), stdio: NO_STDIO });
  return id;
}

const get = (id: string) => api().get({ id });

function inState(id: string, status: string) {
  return eventually(async () => {
    const found = await get(id);
    expect(found.status).toBe(status);
    return found;
  });
}

/** Restarted so often, and in this state. */
function restarted(id: string, count: number, status = "running") {
  return eventually(async () => {
    const found = await get(id);
    expect(found.restartCount).toBeGreaterThanOrEqual(count);
    expect(found.status).toBe(status);
    return found;
  });
}

async function linesOf(id: string): Promise<string[]> {
  let text = "";
  for await (const { data } of daemon.v1().engineStreams.logs(LogsRequest.fromPartial({ id })))
    text += Buffer.from(data).toString();
  return text.split("\n").slice(0, -1);
}

test("what fails is started again so often as its policy says, with one log; the next daemon goes on with that", async () => {
  const failing = await run("echo ran; exit 3", "on-failure", { maxRetries: 2 });
  const succeeding = await run("exit 0", "on-failure");
  const found = await inState(failing, "stopped");
  expect(found).toMatchObject({ restartCount: 2, restartsAt: undefined, exit: { status: 3, error: "" } });
  expect(await linesOf(failing)).toHaveLength(3);
  expect(await inState(succeeding, "stopped")).toMatchObject({ restartCount: 0, exit: { status: 0 } });

  const always = await run("exec sleep 1000", "always");
  const waiting = await run("exit 1", "unless-stopped");
  const { pid } = await get(always);
  await restarted(waiting, 1, "restarting");
  await daemon.kill();
  // It dies while no daemon is there.
  process.kill(pid, "SIGKILL");
  await daemon.start();
  expect((await restarted(always, 1)).pid).not.toBe(pid);
  const { restartCount } = await get(waiting);
  expect(restartCount).toBeGreaterThanOrEqual(1);
  await restarted(waiting, restartCount + 1, "restarting");

  // Who stops it ends that, also while it waits.
  expect(await refusal(api().remove({ id: waiting }))).toContain("stop it first");
  expect(await api().stop({ id: waiting })).toMatchObject({ status: 1 });
  await api().stop({ id: always, grace: 0n });
  for (const id of [waiting, always]) expect(await get(id)).toMatchObject({ status: "stopped", restartsAt: undefined });
  await daemon.kill();
  await daemon.start();
  for (const id of [waiting, always]) expect((await get(id)).status).toBe("stopped");
  await api().start({ id: always, stdio: NO_STDIO });
  expect(await get(always)).toMatchObject({ status: "running", restartCount: 0 });
  for (const id of [failing, succeeding, always, waiting]) await api().remove({ id, force: true });
});

test.skipIf(!full)("policies that can't be are refused", async () => {
  const refused = async (more: Parameters<typeof run>[2], name: Policy = "always") => refusal(run("true", name, more));
  expect(await refused({ autoRemove: true })).toMatch(/restart policy "always": .*auto_remove/);
  expect(await refused({ owned: true })).toMatch(/restart policy "always": .*owned/);
  expect(await refused({ maxRetries: 3 })).toMatch(/only "on-failure" has a number of retries \(3\)/);
  expect(await refused({}, "sometimes" as Policy)).toMatch(/"sometimes".*"unless-stopped"/);
  const id = await run("sleep 1000", "no", { autoRemove: true });
  expect(await refusal(api().update({ id, restart: { name: "always", maxRetries: 0 } }))).toContain("auto_remove");
  await api().remove({ id, force: true });
});

test.skipIf(!full)("each wait is twice as long as the one before", async () => {
  const id = await run("echo up; exit 1", "always");
  await restarted(id, 6, "restarting");
  await api().stop({ id });
  const times = (await linesOf(id)).map((line) => Date.parse(line.split(" ")[0]!));
  const waits = times.slice(1).map((time, index) => time - times[index]!);
  // Starting takes a while, too; waiting is never shorter.
  for (const [index, wait] of waits.entries()) expect(wait).toBeGreaterThanOrEqual(100 * 2 ** index * 0.95);
  await api().remove({ id });
});

test.skipIf(!full)("a signal that ends it, sent by somebody, ends its policy; another one does not", async () => {
  const script =
    'trap "echo usr; exit 9" USR1; trap "echo hup" HUP; trap "exit 5" TERM; echo up; while :; do sleep 0.1; done';
  const id = await run(script, "always");
  const hasUp = (count: number) =>
    eventually(async () => expect((await linesOf(id)).filter((line) => line.endsWith("F up"))).toHaveLength(count));
  await hasUp(1);
  await api().kill({ id, signal: "HUP" });
  await api().kill({ id, signal: "USR1" });
  await restarted(id, 1);
  await hasUp(2);
  for (const signal of ["TERM", "KILL", "INT"]) {
    await api().kill({ id, signal });
    expect(await inState(id, "stopped")).toMatchObject({ restartsAt: undefined });
    await api().start({ id, stdio: NO_STDIO });
    await eventually(async () => expect((await linesOf(id)).at(-1)).toMatch(/F up$/));
  }
  await api().remove({ id, force: true });

  const waiting = await run("exit 1", "always");
  await restarted(waiting, 2, "restarting");
  await api().kill({ id: waiting });
  expect((await get(waiting)).status).toBe("stopped");
  await api().remove({ id: waiting });
});

test.skipIf(!full)("what is asked of one that waits", async () => {
  const id = await run("exit 1", "always", { name: "waiting" });
  await restarted(id, 3, "restarting");
  // Who waits is told of the last end.
  expect(await api().wait({ id })).toMatchObject({ status: 1 });
  expect((await api().list({ statuses: ["restarting"] })).containers.map((one) => one.id)).toEqual([id]);
  expect((await api().prune({})).ids).toEqual([]);
  await api().rename({ id, name: "other" });
  await api().restart({ id, stdio: NO_STDIO });
  await restarted(id, 1, "restarting");
  await api().update({ id, restart: { name: "on-failure", maxRetries: 2 } });
  await inState(id, "stopped");
  await api().update({ id, restart: { name: "always", maxRetries: 0 } });
  expect((await get(id)).status).toBe("stopped");
  await api().start({ id, stdio: NO_STDIO });
  await restarted(id, 1, "restarting");
  await api().update({ id, restart: { name: "no", maxRetries: 0 } });
  const { status, config } = await inState(id, "stopped");
  expect([status, config?.restart?.name]).toEqual(["stopped", "no"]);
  await api().start({ id, stdio: NO_STDIO });
  await inState(id, "stopped");
  await api().update({ id, restart: { name: "always", maxRetries: 0 } });
  await api().start({ id, stdio: NO_STDIO });
  await restarted(id, 1, "restarting");
  await api().remove({ id, force: true });
  expect(await refusal(get(id))).toContain("NOT_FOUND");
  // A time to live is over also while it waits; a lifetime ends its policy.
  const living = await run("exit 1", "always");
  await restarted(living, 1, "restarting");
  await api().update({ id: living, ttl: 1n });
  await eventually(async () => expect(await refusal(get(living))).toContain("NOT_FOUND"));
  const passing = await run("sleep 1000", "always", { lifetime: 1 });
  expect(await inState(passing, "stopped")).toMatchObject({ exit: { timedOut: true }, restartCount: 0 });
  await api().remove({ id: passing });
});

test.skipIf(!full)("what can't be started is a failure that is told, and tried again", async () => {
  const source = join(daemon.dir, "source");
  mkdirSync(source);
  const config: Config = { mounts: [bindOf(source, "/mnt")] };
  const id = await run("while [ ! -e /mnt/end ]; do sleep 0.05; done; exit 1", "on-failure", { config });
  rmSync(source, { recursive: true });
  await api().kill({ id, signal: "USR2" });
  const { pid } = await get(id);
  process.kill(pid, "SIGKILL");
  const found = await eventually(async () => {
    const one = await get(id);
    expect(one.exit?.error).toContain(source);
    return one;
  });
  expect(found).toMatchObject({ exit: { status: 128 } });
  mkdirSync(source);
  await restarted(id, 2);
  expect((await get(id)).exit).toBeUndefined();
  await api().remove({ id, force: true });
});

test.skipIf(!full)("many that wait, and are all to be started by the next daemon, hold up nobody", async () => {
  const ids = await Promise.all(Array.from({ length: times(100, 10) }, () => run("exec sleep 1000", "always")));
  const pids = (await api().list()).containers.map(({ pid }) => pid);
  await daemon.kill();
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await daemon.start();
  const other = await run("exec sleep 1000", "no");
  expect((await get(other)).status).toBe("running");
  for (const id of ids) await restarted(id, 1);
  await Promise.all([...ids, other].map((id) => api().remove({ id, force: true })));
});

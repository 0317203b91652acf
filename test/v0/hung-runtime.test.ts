/** A runtime that hangs at one container holds up no call on any other: the same calls are timed with and without it. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compare, usualLimit } from "../harness/compare.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases } from "../harness/extent.js";
import { type RuntimeWrapper, type Subcommand, wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

const STUCK: Subcommand[] = [
  "pause",
  "resume",
  "exec",
  "update",
  "checkpoint",
  "delete",
  "create",
  "start",
  "ps",
  "events",
];

/** A daemon with two containers; its runtime hangs at one of them when that is switched on. */
interface Bench {
  daemon: TestDaemon;
  wrapper: RuntimeWrapper;
  other: TestContainer;
}

async function openBench(): Promise<Bench> {
  // What hangs here ends when the test says so.
  const daemon = await startDaemon({ flags: ["--start-timeout", "10m"] });
  const wrapper = wrapRuntime(daemon.dir, "hanging", STUCK, { kind: "hang" });
  const request = { runtime: wrapper.path };
  const other = await startContainer(daemon, { name: "other", args: ["sleep", "1000"], request });
  return { daemon, wrapper, other };
}

const startVictim = ({ daemon, wrapper }: Bench, name: string) =>
  startContainer(daemon, { name, args: ["sleep", "1000"], request: { runtime: wrapper.path } });

let hanging: Bench;
/** The same, where nothing ever hangs: the two are timed in turns, so that whatever else the machine does hits both. */
let usual: Bench;
let daemon: TestDaemon;
let wrapper: RuntimeWrapper;
beforeAll(async () => {
  [hanging, usual] = await Promise.all([openBench(), openBench()]);
  ({ daemon, wrapper } = hanging);
});
afterAll(async () => {
  await Promise.all([hanging, usual].map(({ daemon }) => daemon[Symbol.asyncDispose]()));
});

let count = 0;

/** What is done meanwhile; each answers when it is over. */
const calls: Record<string, (bench: Bench, victim: { id: string }) => Promise<unknown>> = {
  State: ({ daemon }) => daemon.api.state(),
  "State of the container itself": ({ daemon }, { id }) => daemon.api.state({ id }),
  "Stats of the container itself": ({ daemon }, { id }) => daemon.api.stats({ id }),
  "Signal to the container itself": ({ daemon }, { id }) => daemon.api.signal({ id, pid: "init", signal: 0 }),
  Stats: ({ daemon, other }) => daemon.api.stats({ id: other.id }),
  exec: ({ daemon, other }) => startExec(daemon, other, { pid: `e-${count++}`, args: ["true"] }),
  "pause and resume": async ({ daemon, other: { id } }) => {
    await daemon.api.updateContainer({ id, status: "paused" });
    await daemon.api.updateContainer({ id, status: "running" });
  },
  update: ({ daemon, other: { id } }) =>
    daemon.api.updateContainer({ id, resources: { cpuShares: BigInt(100 + (count++ % 50)) } }),
  start: ({ daemon, wrapper }) =>
    startContainer(daemon, { name: `start-${count++}`, args: ["true"], request: { runtime: wrapper.path } }),
};

/** Such a call ends only with its signal. */
const forever = (signal: AbortSignal) => ({ signal, timeout: 600_000 });

const hangs: [Subcommand, (victim: TestContainer, signal: AbortSignal) => Promise<unknown>][] = [
  ["pause", ({ id }, signal) => daemon.api.updateContainer({ id, status: "paused" }, forever(signal))],
  ["exec", ({ id }, signal) => daemon.api.addProcess({ id, pid: "stuck", args: ["true"] }, forever(signal))],
  ["update", ({ id }, signal) => daemon.api.updateContainer({ id, resources: { pidsLimit: 100n } }, forever(signal))],
  ["checkpoint", ({ id }, signal) => daemon.api.createCheckpoint({ id, checkpoint: { name: "c" } }, forever(signal))],
];

describe.each(cases(hangs))("while %s of one container hangs", (name, hang) => {
  test("all other calls take their usual time", async () => {
    using victim = await startVictim(hanging, `victim-${name}`);
    using twin = await startVictim(usual, `twin-${name}`);
    wrapper.on(victim.id);
    const cancel = new AbortController();
    let settled = false;
    const hung = hang(victim, cancel.signal)
      .catch(() => {})
      .finally(() => {
        settled = true;
      });
    await wrapper.called(name);
    const figures: string[] = [];
    for (const [what, call] of Object.entries(calls)) {
      const [ours, reference] = await compare(
        () => call(hanging, victim),
        () => call(usual, twin),
      );
      figures.push(`${what} ${ours.toFixed(1)}/${reference.toFixed(1)}`);
      expect(ours, figures.at(-1)).toBeLessThan(usualLimit(reference));
    }
    console.log(`${name} hangs: ms, here/where nothing hangs: ${figures.join(", ")}`);
    expect(settled).toBe(false);
    cancel.abort();
    await hung;
    wrapper.off();
    await victim.kill();
    expect(await victim.exit()).toBe(137);
  });
});

test("while starts of some containers hang, others start; only the workers are limited", async () => {
  const ids = Array.from({ length: 5 }, (_, n) => daemon.id(`hanging-${n}`));
  wrapper.off();
  const bundles = ids.map((_, n) => daemon.bundle(`hanging-${n}`, { args: ["sleep", "1000"] }));
  const cancel = new AbortController();
  const create = wrapRuntime(daemon.dir, "hanging-create", "create", { kind: "hang" });
  create.on();
  const starts = ids.map((id, n) =>
    daemon.api
      .createContainer({ id, bundlePath: bundles[n]!, runtime: create.path }, forever(cancel.signal))
      .catch(() => "failed"),
  );
  await create.called("create", ids.length);
  const nobody = { id: "" };
  const [ours, reference] = await compare(
    () => calls.start!(hanging, nobody),
    () => calls.start!(usual, nobody),
  );
  expect(ours).toBeLessThan(usualLimit(reference));
  expect((await daemon.api.state()).containers.map(({ id }) => id)).not.toContain(ids[0]);
  cancel.abort();
  expect(await Promise.all(starts)).toEqual(ids.map(() => "failed"));
  create.off();
  await eventually(async () => {
    const left = readdirSync(daemon.stateDir);
    return !left.some((name) => ids.includes(name));
  });
});

test("an exit is told while a pause of the same container hangs", async () => {
  using victim = await startContainer(daemon, {
    name: "exits",
    args: ["sleep", "1000"],
    request: { runtime: wrapper.path },
  });
  const pause = wrapRuntime(daemon.dir, "hanging-pause", "pause", { kind: "hang" });
  using own = await startContainer(daemon, { name: "own", args: ["sleep", "1000"], request: { runtime: pause.path } });
  pause.on();
  const call = daemon.api.updateContainer({ id: own.id, status: "paused" });
  call.catch(() => {});
  await pause.called("pause");
  await own.kill();
  expect(await own.exit()).toBe(137);
  await expect(call).rejects.toMatchObject({ details: "containerd: container not found" });
  await victim.kill();
  await victim.exit();
});

test("calls on the container itself wait for the hanging one, in their order, and go on after it", async () => {
  const slow = wrapRuntime(daemon.dir, "slow", "pause", { kind: "hold" });
  using victim = await startContainer(daemon, {
    name: "queue",
    args: ["sleep", "1000"],
    request: { runtime: slow.path },
  });
  slow.on();
  const done: string[] = [];
  const { id } = victim;
  const calls = Promise.all([
    daemon.api.updateContainer({ id, status: "paused" }).then(() => done.push("pause")),
    daemon.api.updateContainer({ id, status: "running" }).then(() => done.push("resume")),
    daemon.api.updateContainer({ id, resources: { pidsLimit: 50n } }).then(() => done.push("update")),
    startExec(daemon, victim, { pid: "e", args: ["true"] }).then(() => done.push("exec")),
  ]);
  await slow.called("pause");
  // The others have arrived: calls of one connection come in their order.
  await daemon.api.getServerVersion();
  expect(done).toEqual([]);
  slow.off();
  await calls;
  expect(done).toEqual(["pause", "resume", "update", "exec"]);
  await victim.kill();
  await victim.exit();
});

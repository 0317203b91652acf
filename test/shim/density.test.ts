/** What an idle shim costs: memory beside many of its kind, and no CPU at all. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { activityOf, processes } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";
import { Sandbox, type Shim } from "./stand-in-daemon.js";

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.clean());

function kilobytes(pid: number): { private: number; pss: number; rss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const value = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)![1]);
  return { private: value("Private_Clean") + value("Private_Dirty"), pss: value("Pss"), rss: value("Rss") };
}

/** What each of these costs once they have come to rest, in kB, on average. */
async function idleCosts(what: string, pids: readonly number[]): Promise<ReturnType<typeof kilobytes>> {
  const activities = () => JSON.stringify(pids.map(activityOf));
  // They give back what only the start has needed a quarter of a second after it, or when a busy machine lets them.
  await eventually(
    async () => {
      const before = activities();
      await sleep(2000);
      return activities() === before;
    },
    { what: "two seconds in which none of them does anything" },
  );
  const costs = pids.map((pid) => kilobytes(pid));
  const mean = (name: "private" | "pss" | "rss") =>
    Math.round(costs.reduce((sum, cost) => sum + cost[name], 0) / costs.length);
  const figures = { private: mean("private"), pss: mean("pss"), rss: mean("rss") };
  console.log(
    `${what}, one of ${pids.length}: ${figures.private} kB private, ${figures.pss} kB PSS, ${figures.rss} kB RSS`,
  );
  return figures;
}

test.skipIf(!full)("fifty idle shims, each executed, with three FIFOs", async () => {
  const shims: Shim[] = [];
  const start = async () => {
    const id = sandbox.id();
    const stdio = { stdin: sandbox.fifo("stdin"), stdout: sandbox.fifo("stdout"), stderr: sandbox.fifo("stderr") };
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "echo hello; exec sleep 600"]), stdio);
    sandbox.reader(stdio.stdout);
    sandbox.reader(stdio.stderr);
    shims.push(shim);
    await shim.start();
  };
  for (let round = 0; round < 25; round++) await Promise.all([start(), start()]);
  const figures = await idleCosts(
    "executed shims",
    shims.map((shim) => shim.pid),
  );
  expect(figures.private).toBeLessThanOrEqual(540);
  expect(figures.pss).toBeLessThanOrEqual(560);
  expect(figures.rss).toBeLessThanOrEqual(3000);
});

test("twenty idle shims that the spawner has forked", async () => {
  await using daemon = await startDaemon();
  const bundlePath = daemon.bundle("sleep", { args: ["sleep", "1000"] });
  for (let n = 0; n < 20; n++) await daemon.api.createContainer({ id: daemon.id(`c${n}`), bundlePath });
  const shims = processes().filter(
    ({ directory, command }) => directory.startsWith(`${daemon.stateDir}/`) && command.startsWith("containerd-shim "),
  );
  expect(shims).toHaveLength(20);
  const figures = await idleCosts(
    "forked shims",
    shims.map(({ pid }) => pid),
  );
  expect(figures.private).toBeLessThanOrEqual(260);
  expect(figures.pss).toBeLessThanOrEqual(320);
  expect(figures.rss).toBeLessThanOrEqual(3000);
});

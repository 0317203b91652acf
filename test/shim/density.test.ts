/** What an idle shim costs: memory beside 50 of its kind, and no CPU at all. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
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

/** What changes whenever the process does anything. */
function activity(pid: number): string {
  const [userTime, systemTime] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ").slice(11, 13);
  const switches = /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1];
  return `${userTime} ${systemTime} ${switches}`;
}

test("fifty idle shims", async () => {
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
  const activities = () => shims.map((shim) => activity(shim.pid));
  // They give back what only the start has needed a quarter of a second after it, or when a busy machine lets them.
  await eventually(
    async () => {
      const before = activities();
      await sleep(2000);
      return activities().join() === before.join();
    },
    { what: "two seconds in which none of them does anything" },
  );

  const costs = shims.map((shim) => kilobytes(shim.pid));
  const mean = (pick: (cost: (typeof costs)[number]) => number) =>
    Math.round(costs.reduce((sum, cost) => sum + pick(cost), 0) / costs.length);
  const figures = {
    private: mean((cost) => cost.private),
    pss: mean((cost) => cost.pss),
    rss: mean((cost) => cost.rss),
  };
  console.log(`one idle shim of fifty: ${figures.private} kB private, ${figures.pss} kB PSS, ${figures.rss} kB RSS`);
  if (process.env.SHIMTEST_HOLD) await sleep(Number(process.env.SHIMTEST_HOLD));
  expect(figures.private).toBeLessThanOrEqual(520);
  expect(figures.pss).toBeLessThanOrEqual(540);
  expect(figures.rss).toBeLessThanOrEqual(3000);
});

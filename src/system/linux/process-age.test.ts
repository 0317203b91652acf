import { expect, test } from "vitest";
import { readProcStat } from "./proc-stat.js";
import { processAge } from "./process-age.js";

test("this process is as old as Node says", () => {
  const age = processAge(readProcStat(process.pid)!.startTime);
  // Node counts from its own first instruction; the kernel has the process earlier, on a clock of 10 ms: how much, depends on the machine.
  const uptime = process.uptime() * 1000;
  expect(age!).toBeGreaterThan(uptime - 500);
  expect(age!).toBeLessThan(uptime + 30_000);
});

test("unknown start, unknown age", () => {
  expect(processAge("")).toBeUndefined();
});

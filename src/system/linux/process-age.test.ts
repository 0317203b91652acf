import { expect, test } from "vitest";
import { readProcStat } from "./proc-stat.js";
import { processAge } from "./process-age.js";

test("this process is as old as Node says", () => {
  const age = processAge(readProcStat(process.pid)!.startTime);
  // Node counts from its own first instruction; the kernel has the process a little earlier, on a clock of 10 ms.
  expect(Math.abs(age! - process.uptime() * 1000)).toBeLessThan(500);
});

test("unknown start, unknown age", () => {
  expect(processAge("")).toBeUndefined();
});

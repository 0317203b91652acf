/** The short form of the kill suite; `npm run test:faults` runs as many kills as one likes. */
import { expect, test } from "vitest";
import { runKills } from "./kills.js";

test("the daemon killed at random moments: every invariant holds after each restart", async () => {
  const { violations, kills, work } = await runKills({ kills: 20, seed: 20160825 });
  expect(violations).toEqual([]);
  expect(kills).toBe(20);
  expect(work.starts).toBeGreaterThanOrEqual(10);
  expect(work.execs).toBeGreaterThanOrEqual(10);
});

test("shims killed at random moments: every process that was killed for it has 137, nothing else is touched", async () => {
  const { violations, kills } = await runKills({ kills: 20, seed: 20160826, victim: "shims" });
  expect(violations).toEqual([]);
  expect(kills).toBeGreaterThanOrEqual(20);
});

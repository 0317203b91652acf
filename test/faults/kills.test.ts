/** The short form of the kill suite; `npm run test:faults` runs as many kills as one likes. */
import { expect, test } from "vitest";
import { times } from "../harness/extent.js";
import { runKills } from "./kills.js";

const KILLS = times(40, 8);

test("the daemon killed at random moments: every invariant holds after each restart", async () => {
  const { violations, kills, work } = await runKills({ kills: KILLS, seed: 20160825 });
  expect(violations).toEqual([]);
  expect(kills).toBe(KILLS);
  expect(work.starts).toBeGreaterThanOrEqual(KILLS / 2);
  expect(work.execs).toBeGreaterThanOrEqual(KILLS / 2);
});

test("shims killed at random moments: every process that was killed for it has 137, nothing else is touched", async () => {
  const { violations, kills } = await runKills({ kills: KILLS, seed: 20160826, victim: "shims" });
  expect(violations).toEqual([]);
  expect(kills).toBeGreaterThanOrEqual(KILLS);
});

test("with tasks of containerd 1.x's API on the same daemon: either's clients are told what is true of theirs", async () => {
  const { violations, kills, work } = await runKills({ kills: times(40, 4), seed: 20261128, tasks: true });
  expect(violations).toEqual([]);
  expect(work["create of tasks"]).toBeGreaterThanOrEqual(kills / 4);
});

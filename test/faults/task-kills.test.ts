/** The short form of the kill suite over tasks of containerd 1.x's API. */
import { expect, test } from "vitest";
import { times } from "../harness/extent.js";
import { runTaskKills } from "./task-kills.js";

const KILLS = times(60, 8);

test("the daemon killed among the calls about tasks: what a client that repeats them is told is true, nothing is left", async () => {
  const { violations, kills } = await runTaskKills({ kills: KILLS, seed: 20261128 });
  expect(violations).toEqual([]);
  expect(kills).toBeGreaterThanOrEqual(KILLS);
});

/** The short form of the kill suite over containers of the engine. */
import { expect, test } from "vitest";
import { times } from "../harness/extent.js";
import { runEngineKills } from "./engine-kills.js";

const KILLS = times(60, 8);

test("the daemon killed among the engine's calls: what a client that repeats them is told is true, nothing is left", async () => {
  const { violations, kills } = await runEngineKills({ kills: KILLS, seed: 20261128 });
  expect(violations).toEqual([]);
  expect(kills).toBeGreaterThanOrEqual(KILLS);
});

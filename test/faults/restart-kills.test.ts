/** The kill suite over restart policies. */
import { expect, test } from "vitest";
import { full, times } from "../harness/extent.js";
import { runRestartKills } from "./restart-kills.js";

const KILLS = times(12, 3);

test.skipIf(!full)(
  "the daemon killed among restarts: what is stopped stays so, what is to run does, no run is lost",
  async () => {
    const { violations, kills, restarts } = await runRestartKills({ kills: KILLS, seed: 20261128 });
    expect(violations).toEqual([]);
    expect(kills).toBeGreaterThanOrEqual(KILLS);
    expect(restarts).toBeGreaterThan(0);
  },
);

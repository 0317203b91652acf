/** The short form of the kill suite over volumes. */
import { expect, test } from "vitest";
import { full } from "../harness/extent.js";
import { runVolumeKills } from "./volume-kills.js";

const KILLS = 20;

test.skipIf(!full)(
  "the daemon killed among calls about volumes: no file of theirs is lost, nothing is left",
  async () => {
    const { violations, kills } = await runVolumeKills({ kills: KILLS, seed: 20261128 });
    expect(violations).toEqual([]);
    expect(kills).toBeGreaterThanOrEqual(KILLS);
  },
);

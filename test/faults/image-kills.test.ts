/** The short form of the kill suite over images. */
import { expect, test } from "vitest";
import { times } from "../harness/extent.js";
import { hasRegistry } from "../harness/registry.js";
import { runImageKills } from "./image-kills.js";

const KILLS = times(60, 5);

test.skipIf(!hasRegistry)(
  "the daemon killed while it pulls, imports, removes and collects: nothing is half, nothing stays",
  async () => {
    const { violations, kills } = await runImageKills({ kills: KILLS, seed: 20261128 });
    expect(violations).toEqual([]);
    expect(kills).toBe(KILLS);
  },
);

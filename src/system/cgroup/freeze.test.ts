import { describe, expect, test } from "vitest";
import { hasHierarchies, ScratchCgroup } from "../../../test/harness/scratch-cgroup.js";
import { eventually } from "../../../test/harness/wait.js";
import { stateOf } from "../linux/proc-stat.js";
import { setFrozen } from "./freeze.js";
import { CgroupV1 } from "./v1.js";
import { CgroupV2 } from "./v2.js";

const FOREVER = 600_000;
const never = new AbortController().signal;

const VERSIONS = [
  { hierarchy: "freezer", of: (scratch: ScratchCgroup) => new CgroupV1(scratch.paths) },
  { hierarchy: "unified", of: (scratch: ScratchCgroup) => new CgroupV2(scratch.path("unified")) },
];

for (const { hierarchy, of } of VERSIONS) {
  describe.skipIf(!hasHierarchies(hierarchy))(`the freezer of ${hierarchy}`, () => {
    test("stops all that run, also those below and those that make others all the time, and lets them go on", async () => {
      await using scratch = new ScratchCgroup([hierarchy]);
      scratch.makeBelow("a");
      const busy = await scratch.runReady("while :; do (:); done");
      await scratch.runReady("exec sleep 1000", "a");
      const cgroup = of(scratch);
      expect(await setFrozen(cgroup, true, FOREVER, never)).toBe(true);
      expect(cgroup.frozen()).toBe(true);
      const pids = cgroup.pids();
      expect(pids).toContain(busy);
      // The kernel counts a process as frozen when it is just about to sleep.
      await eventually(() => !pids.map((pid) => stateOf(pid)).includes("R"));
      // As often as it is asked for.
      expect(await setFrozen(cgroup, true, FOREVER, never)).toBe(true);
      expect(await setFrozen(cgroup, false, FOREVER, never)).toBe(true);
      expect(cgroup.frozen()).toBe(false);
    });

    test("a cgroup that is gone: not done", async () => {
      const scratch = new ScratchCgroup([hierarchy]);
      const cgroup = of(scratch);
      await scratch.remove();
      expect(await setFrozen(cgroup, true, FOREVER, never)).toBe(false);
    });
  });
}

describe.skipIf(!hasHierarchies("freezer", "pids"))("the freezer", () => {
  test("is not there: not done", async () => {
    await using scratch = new ScratchCgroup(["pids"]);
    await scratch.runReady("exec sleep 1000");
    expect(await setFrozen(new CgroupV1(scratch.paths), true, FOREVER, never)).toBe(false);
  });

  test("is waited for until the time is over, or until it is called off", async () => {
    await using scratch = new ScratchCgroup(["freezer"]);
    scratch.makeBelow("a");
    await scratch.runReady("exec sleep 1000", "a");
    const below = new CgroupV1(new Map([["freezer", `${scratch.path("freezer")}/a`]]));
    scratch.write("freezer", "freezer.state", "FROZEN");
    // Nor is one thawed whose parent is frozen.
    expect(await setFrozen(below, false, 20, never)).toBe(false);
    expect(await setFrozen(below, false, FOREVER, AbortSignal.timeout(20))).toBe(false);
    scratch.write("freezer", "freezer.state", "THAWED");
    expect(await setFrozen(below, false, FOREVER, never)).toBe(true);
  });
});

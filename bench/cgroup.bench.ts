import { afterAll, bench, describe } from "vitest";
import { type Cgroup, cgroupOf } from "../src/system/cgroup/cgroup.js";
import { ScratchCgroup } from "../test/harness/scratch-cgroup.js";

/** As root on cgroup v1 or hybrid: `vitest bench --run src/cgroup`. */
const HIERARCHIES = ["pids", "memory", "freezer", "cpu", "cpuacct", "blkio", "unified"];
const scratches: ScratchCgroup[] = [];
const cgroups: Cgroup[] = [];
let pid = 0;
for (let i = 0; i < 500; i++) {
  const scratch = new ScratchCgroup(HIERARCHIES);
  scratches.push(scratch);
  pid = await scratch.runReady("exec sleep 1000");
  cgroups.push(cgroupOf(pid));
}
afterAll(async () => {
  for (const scratch of scratches) await scratch.remove();
});

describe("with 500 cgroups of one process each", () => {
  bench("pids of all 500", () => {
    for (const cgroup of cgroups) cgroup.pids();
  });
  bench("stats of one", () => {
    cgroups[0]!.stats();
  });
  bench("cgroupOf one", () => {
    cgroupOf(pid);
  });
  bench("watchOom of one, and close", () => {
    cgroups[0]!.watchOom().close();
  });
});

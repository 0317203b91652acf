/**
 * `npm run test:faults -- [--kills N] [--seed S] [--shims] [--verbose]`: kills the daemon N times at random moments of its work (with
 * --shims: shims instead) and checks the invariants after each restart. The last line is "N kills, M violations".
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { removeSharedRootfs } from "../harness/rootfs.js";
import { runKills } from "./kills.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "500" },
    seed: { type: "string" },
    shims: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
const kills = Number(values.kills);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed)) {
  console.error("usage: npm run test:faults -- [--kills N] [--seed S] [--shims] [--verbose]");
  process.exit(2);
}
console.log(`seed ${seed}: ${kills} kills of ${values.shims ? "shims" : "the daemon"}`);

// Ctrl-C ends the run as its end does: everything that was started is removed.
const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => interrupt.abort());

const begin = performance.now();
let lines = 0;
const report = await runKills({
  kills,
  seed,
  victim: values.shims ? "shims" : "daemon",
  signal: interrupt.signal,
  progress(line) {
    if (values.verbose || !/^\d+ kills/.test(line) || ++lines % 50 === 0) console.log(line);
  },
}).finally(removeSharedRootfs);

const recoveries = [...report.recoveries].sort((a, b) => a - b);
const share = (part: number) => Math.round(recoveries[Math.floor((recoveries.length - 1) * part)] ?? 0);
for (const violation of report.violations) console.log(violation);
console.log(
  `seed ${seed}, ${Math.round((performance.now() - begin) / 1000)} s: ${report.starts} containers and ${report.execs} execs started, ` +
    `${report.exits} containers exited; whole again after ${share(0.5)} ms (median), ${share(0.99)} ms (99 of 100), ${share(1)} ms (longest)`,
);
console.log(`${report.kills} kills, ${report.violations.length} violations`);
process.exit(report.violations.length === 0 ? 0 : 1);

/**
 * `npm run test:faults -- [--kills N] [--seed S] [--shims | --faults] [--verbose]`: kills the daemon N times in all phases of its work
 * (with --shims: shims instead; with --faults: N kills and real errors of the machine, the runtimes, the shims) and checks the invariants
 * after each. The last line is "N kills, M violations" or "N kills and faults, M violations". A run that did too little is a violation.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { removeSharedRootfs } from "../harness/rootfs.js";
import { runKills } from "./kills.js";
import { describeWork } from "./work.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "500" },
    seed: { type: "string" },
    shims: { type: "boolean", default: false },
    faults: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
const kills = Number(values.kills);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed) || (values.shims && values.faults)) {
  console.error("usage: npm run test:faults -- [--kills N] [--seed S] [--shims | --faults] [--verbose]");
  process.exit(2);
}
const unit = values.faults ? "kills and faults" : "kills";
console.log(`seed ${seed}: ${kills} ${unit} of ${values.shims ? "shims" : "the daemon"}`);

// Ctrl-C ends the run as its end does: everything that was started is removed.
const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => interrupt.abort());

const begin = performance.now();
let lines = 0;
const report = await runKills({
  kills,
  seed,
  victim: values.shims ? "shims" : "daemon",
  faults: values.faults,
  signal: interrupt.signal,
  progress(line) {
    if (values.verbose || !/^\d+ kills/.test(line) || ++lines % 50 === 0) console.log(line);
  },
}).finally(removeSharedRootfs);

const recoveries = [...report.recoveries].sort((a, b) => a - b);
const share = (part: number) => Math.round(recoveries[Math.floor((recoveries.length - 1) * part)] ?? 0);
for (const violation of report.violations) console.log(violation);
const { work, phases, faults } = report;
if (!values.shims) console.log(`killed while: ${describeWork(phases)}`);
if (values.faults) console.log(`faults: ${describeWork(faults)}`);
console.log(
  `seed ${seed}, ${Math.round((performance.now() - begin) / 1000)} s: ${describeWork(work)}; ` +
    `whole again after ${share(0.5)} ms (median), ${share(0.99)} ms (99 of 100), ${share(1)} ms (longest)`,
);
const done = report.kills + Object.values(faults).reduce((sum, count) => sum + count, 0);
console.log(`${done} ${unit}, ${report.violations.length} violations`);
process.exit(report.violations.length === 0 ? 0 : 1);

/**
 * `npm run test:faults -- [--kills N] [--seed S] [--api 0.2|1.x|engine|images|mixed|both] [--shims | --faults] [--verbose]`: kills the
 * daemon N times in all phases of its work for clients of an API, or N times for those of both (mixed: for both at once; images: while it
 * pulls, imports, removes and collects; with --shims: shims instead, with 0.2's API; with --faults: N kills and real errors, with 0.2's
 * API, unless 1.x is asked for, of the machine, the runtimes and the shims, with 1.x's of the runtimes) and checks the invariants after
 * each. The last line is "N kills, M violations" or "N kills and faults, M violations". A run that did too little is a violation.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { removeSharedRootfs } from "../harness/rootfs.js";
import { runEngineKills } from "./engine-kills.js";
import { runImageKills } from "./image-kills.js";
import { runKills } from "./kills.js";
import { runTaskKills } from "./task-kills.js";
import { describeWork, type Work } from "./work.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "500" },
    seed: { type: "string" },
    api: { type: "string", default: "both" },
    shims: { type: "boolean", default: false },
    faults: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
const kills = Number(values.kills);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
const { shims, faults: withFaults } = values;
const api = shims || (withFaults && values.api !== "1.x") ? "0.2" : values.api;
const isUsable =
  Number.isInteger(kills) &&
  kills >= 1 &&
  Number.isInteger(seed) &&
  ["0.2", "1.x", "engine", "images", "mixed", "both"].includes(api);
if (!isUsable || (shims && withFaults)) {
  const flags = "[--kills N] [--seed S] [--api 0.2|1.x|engine|images|mixed|both] [--shims | --faults] [--verbose]";
  console.error(`usage: npm run test:faults -- ${flags}`);
  process.exit(2);
}
const unit = withFaults ? "kills and faults" : "kills";

// Ctrl-C ends the run as its end does: everything that was started is removed.
const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => interrupt.abort());

let lines = 0;
function progress(line: string): void {
  if (values.verbose || !/^\d+ kills/.test(line) || ++lines % 50 === 0) console.log(line);
}

/** What a run has found, whatever the API. */
interface Outcome {
  /** Kills, and faults. */
  done: number;
  violations: string[];
  work: Work;
  recoveries: number[];
}

const total = (work: Work) => Object.values(work).reduce((sum, count) => sum + count, 0);

async function killUnder02(tasks = false): Promise<Outcome> {
  const victim = shims ? "shims" : "daemon";
  const report = await runKills({ kills, seed, victim, faults: withFaults, tasks, signal: interrupt.signal, progress });
  if (!shims) console.log(`killed while: ${describeWork(report.phases)}`);
  if (withFaults) console.log(`faults: ${describeWork(report.faults)}`);
  return { ...report, done: report.kills + total(report.faults) };
}

async function killUnder1(): Promise<Outcome> {
  const report = await runTaskKills({ kills, seed, faults: withFaults, signal: interrupt.signal, progress });
  console.log(`killed while: ${describeWork(report.phases)}`);
  if (withFaults) console.log(`faults: ${describeWork(report.faults)}`);
  return { ...report, done: report.kills + total(report.faults) };
}

async function killUnderEngine(): Promise<Outcome> {
  const report = await runEngineKills({ kills, seed, signal: interrupt.signal, progress });
  console.log(`killed while: ${describeWork(report.phases)}`);
  return { ...report, done: report.kills };
}

async function killAmongImages(): Promise<Outcome> {
  const report = await runImageKills({ kills, seed, signal: interrupt.signal, progress });
  console.log(`killed during: ${describeWork(report.phases)}`);
  return { ...report, done: report.kills };
}

let [done, violations] = [0, 0];
for (const [name, run] of [
  ["0.2", () => killUnder02()],
  ["1.x", killUnder1],
  ["engine", killUnderEngine],
  ["images", killAmongImages],
  ["mixed", () => killUnder02(true)],
] as const) {
  if (interrupt.signal.aborted || (api === "both" ? name !== "0.2" && name !== "1.x" : api !== name)) continue;
  console.log(`seed ${seed}: ${kills} ${unit} of ${shims ? "shims" : "the daemon"}, under clients of ${name}`);
  const begin = performance.now();
  const outcome = await run();
  const recoveries = [...outcome.recoveries].sort((a, b) => a - b);
  const share = (part: number) => Math.round(recoveries[Math.floor((recoveries.length - 1) * part)] ?? 0);
  for (const violation of outcome.violations) console.log(violation);
  console.log(
    `seed ${seed}, ${Math.round((performance.now() - begin) / 1000)} s: ${describeWork(outcome.work)}; ` +
      `whole again after ${share(0.5)} ms (median), ${share(0.99)} ms (99 of 100), ${share(1)} ms (longest)`,
  );
  done += outcome.done;
  violations += outcome.violations.length;
}
removeSharedRootfs();
console.log(`${done} ${unit}, ${violations} violations`);
process.exit(violations === 0 ? 0 : 1);

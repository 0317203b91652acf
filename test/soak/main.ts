/**
 * `npm run soak -- [--minutes N] [--seed S] [--places N]`: mixed load on one daemon for so long; the invariants of the kill suite after
 * each round; at the end everything must be gone and nothing must have grown. The last line is "N minutes, M violations".
 */
import { randomInt } from "node:crypto";
import { setMaxListeners } from "node:events";
import { parseArgs } from "node:util";
import { check } from "../faults/check.js";
import { Ledger } from "../faults/ledger.js";
import { Load } from "../faults/load.js";
import { copyBuild } from "../faults/private-build.js";
import { Random } from "../faults/random.js";
import { describeWork, type Work, workDone } from "../faults/work.js";
import { startDaemon } from "../harness/daemon.js";
import { openDescriptors } from "../harness/processes.js";
import { removeSharedRootfs } from "../harness/rootfs.js";
import { eventually, sleep } from "../harness/wait.js";
import { HEADING, line, type Sample, takeSample } from "./sample.js";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "20" },
    seed: { type: "string" },
    places: { type: "string", default: "16" },
  },
});
const minutes = Number(values.minutes);
const places = Number(values.places);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (!(minutes > 0) || !Number.isInteger(places) || places < 1 || !Number.isInteger(seed)) {
  console.error("usage: npm run soak -- [--minutes N] [--seed S] [--places N]");
  process.exit(2);
}

/** In ms: how long the load goes on between two looks at the invariants, and longer until so much has been done. */
const ROUND = 10_000;
const LEAST_WORK: Work = { starts: 1, execs: 1, exits: 1, "exits of execs": 1 };
/** The memory of a Node that has come to its working size still breathes by so much. */
const BREATH = 1.25;

const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => interrupt.abort());

const violations: string[] = [];
const violation = (text: string) => {
  violations.push(text);
  console.log(`VIOLATION: ${text}`);
};

async function soak(): Promise<void> {
  using build = copyBuild();
  await using daemon = await startDaemon({
    program: build.daemon,
    flags: ["--shim", build.shim, "--log-level", "warn"],
  });
  const ledger = new Ledger(violation);
  const load = new Load({ daemon, ledger, random: new Random(seed), places, violation });
  void ledger.follow(daemon.api.subscribe({ timestamp: ledger.resumeFrom }));
  const before = openDescriptors(daemon.pid).size;
  const began = performance.now();
  const samples: Sample[] = [];
  console.log(HEADING);
  while (performance.now() - began < minutes * 60_000 && !interrupt.signal.aborted) {
    const enough = new AbortController();
    setMaxListeners(0, enough.signal);
    const before = ledger.work;
    const working = load.run(enough.signal);
    await sleep(ROUND);
    const missing = await workDone(() => ledger.work, before, LEAST_WORK, interrupt.signal);
    if (missing !== undefined) violation(missing);
    enough.abort();
    await working;
    for (const text of await check(daemon, ledger)) violation(text);
    const sample = await takeSample(daemon, began, ledger.events);
    samples.push(sample);
    if (Math.floor(sample.minutes) > Math.floor(samples.at(-2)?.minutes ?? -1)) console.log(line(sample));
  }
  console.log(line(samples.at(-1)!));
  for (const life of ledger.running) {
    life.askToKill();
    await daemon.api.signal({ id: life.id, pid: "init", signal: 9 });
    life.killed = "yes";
  }
  for (const text of await check(daemon, ledger)) violation(`at the end: ${text}`);
  await daemon.expectNothingLeft();
  await eventually(() => openDescriptors(daemon.pid).size <= before + 2, { what: "the release of descriptors" });
  console.log(`descriptors: ${before} before, ${openDescriptors(daemon.pid).size} after`);
  judgeMemory(samples);
  console.log(`${describeWork(ledger.work)}; ${ledger.events} events; seed ${seed}`);
}

/** The second half's memory beside that of the quarter before it, when the daemon had come to its working size. */
function judgeMemory(samples: Sample[]): void {
  const mean = (from: number, to: number) => {
    const part = samples.slice(Math.floor(samples.length * from), Math.floor(samples.length * to));
    return part.reduce((sum, { rssMegabytes }) => sum + rssMegabytes, 0) / part.length;
  };
  if (samples.length < 8) return;
  const [early, late] = [mean(0.25, 0.5), mean(0.75, 1)];
  console.log(`RSS: ${early.toFixed(1)} MB in the second quarter, ${late.toFixed(1)} MB in the last`);
  if (late > early * BREATH) violation(`memory grows: ${early.toFixed(1)} MB -> ${late.toFixed(1)} MB`);
}

try {
  await soak();
} catch (error) {
  violation((error as Error).stack ?? String(error));
} finally {
  removeSharedRootfs();
}
console.log(`${minutes} minutes, ${violations.length} violations`);
process.exit(violations.length === 0 ? 0 : 1);

/**
 * `npm run bench [-- --only NAME]… [--containers N] [--rounds N] [--json FILE]`: measures and prints one table; nothing else should
 * run on the machine.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { inCgroupV2, withoutCgroupV2 } from "../test/harness/cgroup-v2.js";
import { removeSharedRootfs } from "../test/harness/rootfs.js";
import { calls, ctrVersion } from "./calls.js";
import { engineRows } from "./engine.js";
import { enginePeerRows } from "./engine-peers.js";
import { eventLoop } from "./event-loop.js";
import { fleetRows } from "./fleet-rows.js";
import { growth } from "./growth.js";
import { imageRows } from "./images.js";
import { interruption } from "./interruption.js";
import { nameRows } from "./names.js";
import { networkPeerRows } from "./network-peers.js";
import { policyRows } from "./policies.js";
import { type Row, table } from "./row.js";
import { execs, oneStart, starts, startsCrun } from "./starts.js";
import { stdoutRate } from "./stdout.js";
import { v1Rows } from "./v1.js";

// The state directory is on a tmpfs, as below /run: a disk's journal is not what is measured.
if (existsSync("/dev/shm")) process.env.TMPDIR = "/dev/shm";

const program = new Command("bench")
  .option("--only <name...>", "only these measurements")
  .option("--containers <number>", "how many containers the large measurements run, at least 20", atLeast(20), 500)
  .option("--rounds <number>", "how often each is measured beside the other engines, at least 3", atLeast(3), 20)
  .option("--json <file>", "write the rows as JSON as well")
  .option("--growth", "print how cost grows from 10 to 1000 containers instead")
  .parse();
const {
  only,
  containers,
  rounds,
  json,
  growth: wantsGrowth,
} = program.opts<{
  only?: string[];
  containers: number;
  rounds: number;
  json?: string;
  growth?: boolean;
}>();

function atLeast(least: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!Number.isInteger(number) || number < least)
      throw new InvalidArgumentError(`It is no whole number from ${least}.`);
    return number;
  };
}

/** Each tells its rows one by one, as it has measured them. */
const measurements: Record<string, () => AsyncIterable<Row>> = {
  starts: () => oneByOne(starts(containers)),
  "starts-crun": () => oneByOne(inPureCgroupV2("starts-crun-inside")),
  "one-start": () => oneByOne(oneStart()),
  execs: () => oneByOne(execs()),
  fleet: () => fleetRows(containers),
  v1: () => v1Rows(containers),
  engine: () => engineRows(containers),
  "engine-peers": () => enginePeerRows(rounds),
  policies: () => oneByOne(policyRows()),
  "network-peers": () => networkPeerRows(rounds),
  images: () => imageRows(),
  names: () => oneByOne(nameRows(100)),
  stdout: () => oneByOne(stdoutRate()),
  calls: () => oneByOne(calls()),
  ctr: () => oneByOne(ctrVersion()),
  "event-loop": () => oneByOne(eventLoop()),
};

async function* oneByOne(rows: Promise<Row[]>): AsyncIterable<Row> {
  yield* await rows;
}

/** Runs a measurement in a mount namespace where cgroup v2 is all there is, by another process of this program. */
async function inPureCgroupV2(name: string): Promise<Row[]> {
  const reason = withoutCgroupV2();
  if (reason !== undefined) throw new Error(reason);
  const directory = mkdtempSync(join(tmpdir(), "ctd-bench-"));
  const file = join(directory, "rows.json");
  try {
    const [command, ...args] = [...inCgroupV2(), process.execPath, process.argv[1]!];
    const own = ["--only", name, "--containers", String(containers), "--json", file];
    const { status } = spawnSync(command!, [...args, ...own], { stdio: ["ignore", "ignore", "inherit"] });
    if (status !== 0) throw new Error(`it ended with status ${status} in a mount namespace of its own`);
    return JSON.parse(readFileSync(file, "utf8")) as Row[];
  } finally {
    rmSync(directory, { recursive: true });
  }
}

process.on("exit", removeSharedRootfs);
if (wantsGrowth) {
  console.log(await growth([10, 100, 500, 1000]));
  process.exit(0);
}
const chosen = only ?? Object.keys(measurements);
const inside: typeof measurements = { ...measurements, "starts-crun-inside": () => oneByOne(startsCrun(containers)) };
for (const name of chosen) {
  if (inside[name] !== undefined) continue;
  console.error(`bench: no measurement ${JSON.stringify(name)}; there are ${Object.keys(measurements).join(", ")}`);
  process.exit(1);
}
const rows: Row[] = [];
const failures: string[] = [];
for (const name of chosen) {
  if (interruption.aborted) break;
  console.error(`bench: ${name}`);
  try {
    // Told and written at once: a run takes many minutes, and may be interrupted.
    for await (const row of inside[name]!()) {
      rows.push(row);
      console.error(table([row], false));
      if (json !== undefined) writeFileSync(json, `${JSON.stringify(rows, undefined, 2)}\n`);
      interruption.throwIfAborted();
    }
  } catch (error) {
    failures.push(`${name} could not be measured: ${(error as Error).message}`);
    console.error(`bench: ${failures.at(-1)}`);
  }
}
if (rows.length > 0) console.log(table(rows));
for (const failure of failures) console.log(failure);
process.exit(failures.length === 0 ? 0 : 1);

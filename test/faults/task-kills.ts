/**
 * The kill suite over tasks of containerd 1.x's API: clients that repeat each call for which they got no answer, and a daemon that is
 * killed among the calls. Each answer has to be true, each program has to run once, and nothing may be left.
 */
import { startDaemon } from "../harness/daemon.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { eventually, sleep } from "../harness/wait.js";
import { FaultyRuntime, taskFaults } from "./faulty-runtime.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";
import { FAULT_ONLY, KILL_ONLY, LONGEST_FAULT, LONGEST_RESTORE, SECOND_KILL } from "./rounds.js";
import { TaskLoad } from "./task-load.js";
import { tooLittle, type Work } from "./work.js";

export interface TaskKillOptions {
  kills: number;
  seed: number;
  /** How many tasks there are at most. */
  places?: number;
  /** The tasks' runtime goes wrong between, and during, the kills; that is counted with them. */
  faults?: boolean;
  progress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface TaskKillReport {
  kills: number;
  /** How the runtime went wrong, and how often. */
  faults: Work;
  violations: string[];
  /** How often each call was carried out. */
  work: Work;
  /** How often the daemon was killed while a call of this kind had no answer yet. */
  phases: Work;
  /** In ms, from the kill until the next daemon answers. */
  recoveries: number[];
}

/** The calls among which the daemon is killed, in turn. */
const PHASES = ["create", "start", "exec", "start exec", "kill", "delete"];
/** In ms: how long a call of the phase is waited for, and how long it is left to go on at most. */
const PHASE_TIMEOUT = 2_000;
const PHASE_DEPTH = 40;

export async function runTaskKills(options: TaskKillOptions): Promise<TaskKillReport> {
  const { seed, places = 10 } = options;
  const report: TaskKillReport = { kills: 0, faults: {}, violations: [], work: {}, phases: {}, recoveries: [] };
  let fault = "";
  const violation = (text: string) => {
    const line = `after kill ${report.kills}${fault && `, with "${fault}"`}: ${text}`;
    report.violations.push(line);
    options.progress?.(`VIOLATION ${line}`);
  };
  const random = new Random(seed);
  using build = copyBuild();
  const timeout = options.faults ? await startTimeoutFlags() : [];
  await using daemon = await startDaemon({
    program: build.daemon,
    flags: ["--shim", build.shim, "--log-level", "debug", ...timeout],
  });
  const runtime = options.faults ? new FaultyRuntime(daemon.dir) : undefined;
  const load = new TaskLoad({ daemon, random, places, violation, ...(runtime && { runtime: runtime.path }) });
  const { client } = load;
  await load.start();
  const count = () => report.kills + Object.values(report.faults).reduce((sum, one) => sum + one, 0);
  while (count() < options.kills && !options.signal?.aborted && report.violations.length === 0) {
    const kindOfRound = runtime === undefined ? 0 : random.next();
    fault = "";
    client.faulty = kindOfRound >= KILL_ONLY;
    if (client.faulty) {
      fault = random.pick(taskFaults);
      report.faults[fault] = (report.faults[fault] ?? 0) + 1;
      runtime!.begin(fault);
      options.progress?.(`${new Date().toISOString()}: ${fault}`);
      await sleep(random.next() * LONGEST_FAULT);
    }
    if (kindOfRound >= KILL_ONLY && kindOfRound < FAULT_ONLY) {
      runtime!.end();
      continue;
    }
    const phase = PHASES[report.kills % PHASES.length]!;
    await eventually(() => client.open.has(phase), { timeout: PHASE_TIMEOUT, interval: 1 }).catch(() => {});
    await sleep(random.next() * PHASE_DEPTH);
    for (const kind of new Set(client.open.values())) report.phases[kind] = (report.phases[kind] ?? 0) + 1;
    const begin = performance.now();
    load.down();
    await daemon.kill();
    if (random.chance(SECOND_KILL)) {
      daemon.spawn();
      await sleep(random.next() * LONGEST_RESTORE);
      await daemon.kill();
      report.kills++;
    }
    // A fault goes before the next daemon comes, or stays for its first steps.
    if (random.chance(0.5)) runtime?.end();
    await daemon.start();
    await load.up();
    report.recoveries.push(performance.now() - begin);
    report.kills++;
    if (runtime !== undefined) await sleep(random.next() * LONGEST_RESTORE);
    runtime?.end();
    options.progress?.(
      `${report.kills} kills, ${count() - report.kills} faults, ${report.violations.length} violations`,
    );
  }
  runtime?.end();
  await load.stop();
  await daemon.expectNothingLeft().catch((error: Error) => violation(error.message));
  report.work = { ...load.work, ...(runtime && { "refused calls": client.refusals }) };
  const least = Object.fromEntries(PHASES.map((phase) => [phase, report.kills / 10]));
  const missing = tooLittle(report.work, {
    ...least,
    ...(runtime && { "refused calls": Math.ceil(report.kills / 10) }),
  });
  if (missing !== undefined && report.violations.length === 0 && !options.signal?.aborted) violation(missing);
  if (report.violations.length > 0)
    options.progress?.(`the daemon's log:\n${daemon.log.split("\n").slice(-200).join("\n")}`);
  return report;
}

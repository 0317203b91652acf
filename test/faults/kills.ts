/** The kill suite: a daemon that is killed again and again in the middle of its work, and what must hold after each restart. */
import { setMaxListeners } from "node:events";
import { readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { removeLeftovers } from "../harness/leftovers.js";
import { kill, openDescriptors, processes } from "../harness/processes.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { eventually, sleep } from "../harness/wait.js";
import { check } from "./check.js";
import { FaultyWorld, SmallDisk } from "./faults.js";
import { Ledger } from "./ledger.js";
import { Load } from "./load.js";
import { PHASES, type Phase, presentPhases } from "./phases.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";
import { FAULT_ONLY, KILL_ONLY, LONGEST_FAULT, LONGEST_RESTORE, SECOND_KILL } from "./rounds.js";
import { TaskLoad } from "./task-load.js";
import { tooLittle, type Work, workDone } from "./work.js";

export interface KillOptions {
  kills: number;
  seed: number;
  /** How many containers there are at most. */
  places?: number;
  /** What is killed: the daemon, or shims under a daemon that lives. */
  victim?: "daemon" | "shims";
  /** Clients of containerd 1.x's API have tasks on the same daemon; see task-load.ts. */
  tasks?: boolean;
  /** Real errors come between, and during, the kills of the daemon; they are counted with them. */
  faults?: boolean;
  /** Is told how it goes. */
  progress?: (line: string) => void;
  /** Ends the run early. */
  signal?: AbortSignal;
}

export interface KillReport {
  kills: number;
  /** What else was done to it, by kind. */
  faults: Work;
  violations: string[];
  /** What was done, as seen by the client, and how many calls a fault has made fail. */
  work: Work;
  /** How often the daemon was killed while something was in this phase. */
  phases: Record<Phase, number>;
  /** In ms, from the kill until everything fits together again. */
  recoveries: number[];
}

/** What is done at least between two kills. */
const LEAST_WORK: Work = { starts: 1, execs: 1, exits: 1 };
/** In ms: how long the phase in which the daemon is to be killed is waited for, and how long it is left in it at most. */
const PHASE_TIMEOUT = 2_000;
const PHASE_DEPTH = 12;
/** With so many kills each phase must have been met. */
const ALL_PHASES = 100;
/** In ms: how long it may take until everything fits together after a fault; a runtime that hangs is given 30 s. */
const RECOVERY_FROM_FAULT = 120_000;
/** In ms: a recovery that takes longer is shown with the daemon's log. */
const SLOW = 5_000;

/** Runs it; what it started is gone afterwards, also when it throws. */
export async function runKills(options: KillOptions): Promise<KillReport> {
  const { seed, places = 12, victim = "daemon" } = options;
  const report: KillReport = {
    kills: 0,
    faults: {},
    violations: [],
    work: {},
    phases: Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>,
    recoveries: [],
  };
  let fault = "";
  const violation = (text: string) => {
    const line = `after kill ${report.kills}${fault && `, with "${fault}"`}: ${text}`;
    report.violations.push(line);
    options.progress?.(`VIOLATION ${line}`);
  };
  const count = () => report.kills + Object.values(report.faults).reduce((sum, one) => sum + one, 0);
  /** The log's last lines, and before them those of the containers that the texts name. */
  const showLog = (texts: string[] = []) => {
    const ids = texts.flatMap((text) => text.match(new RegExp(`${daemon.id("p")}\\d+`, "g")) ?? []);
    const lines = daemon.log.split("\n");
    const about = lines.filter((line) => ids.some((id) => line.includes(`id=${id} `)));
    options.progress?.(
      [
        "the daemon's log:",
        ...about.slice(-40),
        "…",
        ...lines.filter((line) => !line.includes("containerd: connection")).slice(-60),
      ].join("\n"),
    );
  };
  const random = new Random(seed);
  const ledger = new Ledger(violation);
  using build = copyBuild();
  using disk = options.faults ? new SmallDisk() : undefined;
  const timeout = options.faults ? await startTimeoutFlags() : [];
  await using daemon = await startDaemon({
    program: build.daemon,
    flags: ["--shim", build.shim, "--log-level", "debug", ...timeout],
    ...(disk && { stateDir: disk.stateDir }),
  });
  await using world = disk && new FaultyWorld(daemon, disk);
  // What is kept of the other API's clients is open from its first call on.
  if (options.tasks) await daemon.v1().containers.list();
  const descriptors = openDescriptors(daemon.pid).size;
  const load = new Load({
    daemon,
    ledger,
    random,
    places,
    violation,
    shimKills: victim === "shims",
    ...(world && { runtime: world.runtime.path }),
  });
  const tasks = options.tasks
    ? new TaskLoad({ daemon, random: random.fork(), places: Math.ceil(places / 2), violation })
    : undefined;
  await tasks?.start();
  let following = ledger.follow(daemon.api.subscribe({ timestamp: ledger.resumeFrom }));
  const followAgain = async () => {
    await following;
    following = ledger.follow(daemon.api.subscribe({ timestamp: ledger.resumeFrom }));
  };
  const work = async () => {
    const missing = await workDone(() => ledger.work, before, LEAST_WORK, options.signal);
    if (missing !== undefined) violation(missing);
  };
  let before = ledger.work;
  while (count() < options.kills && !options.signal?.aborted) {
    const enough = new AbortController();
    setMaxListeners(0, enough.signal);
    before = ledger.work;
    load.faulty = false;
    fault = "";
    const kindOfRound = world === undefined ? 0 : random.next();
    const working = load.run(enough.signal);
    const begin = performance.now();
    await work();
    let endFault: () => void | Promise<void> = () => {};
    if (kindOfRound >= KILL_ONLY) {
      load.faulty = true;
      const injected = await world!.begin(random);
      fault = injected.name;
      endFault = injected.end;
      report.faults = world!.counts;
      options.progress?.(`${new Date().toISOString()}: ${fault}`);
      await sleep(random.next() * LONGEST_FAULT);
    }
    const killDaemon = victim === "daemon" && (kindOfRound < KILL_ONLY || kindOfRound >= FAULT_ONLY);
    if (world !== undefined && !killDaemon) {
      await endFault();
      before = ledger.work;
      await work();
    }
    let began = performance.now();
    if (killDaemon) {
      await untilPhase(daemon, ledger, random, report);
      tasks?.down();
      await daemon.kill();
      report.kills++;
      enough.abort();
      await working;
      while (count() < options.kills && random.chance(SECOND_KILL)) {
        daemon.spawn();
        await sleep(random.next() * LONGEST_RESTORE);
        await daemon.kill();
        report.kills++;
      }
      // A fault goes before the next daemon comes, or stays for its first steps.
      const early = random.chance(0.5);
      if (early) await endFault();
      began = performance.now();
      try {
        const started = daemon.start();
        if (!early) setTimeout(endFault, random.next() * LONGEST_RESTORE);
        await started;
      } catch (error) {
        await endFault();
        violation(`the daemon does not start: ${(error as Error).message}`);
        showLog();
        await clear(daemon);
        await daemon.start();
        await ledger.begin(daemon.api);
      }
      await endFault();
      await followAgain();
    } else {
      if (victim === "shims") report.kills += killShims(daemon, ledger, random, options.progress);
      enough.abort();
      await working;
    }
    const patience = fault === "" ? undefined : RECOVERY_FROM_FAULT;
    const found = await check(daemon, ledger, { timeout: patience, tasks: tasks?.ids });
    const recovery = performance.now() - began;
    report.recoveries.push(recovery);
    if (recovery > SLOW && found.length === 0) showLog();
    for (const text of found) violation(text);
    if (found.length > 0) {
      // What is wrong stays wrong: begin again with nothing, so that the next kills are judged by themselves.
      showLog(found);
      // It would end the tasks as well, whose clients know what they have a right to.
      if (tasks !== undefined) break;
      await clear(daemon);
      await daemon.start();
      await ledger.begin(daemon.api);
      await followAgain();
    }
    await tasks?.up();
    options.progress?.(
      `${report.kills} kills, ${count() - report.kills} faults, ${report.violations.length} violations; ` +
        `last after ${Math.round(began - begin)} ms of load, ` +
        `whole again after ${Math.round(performance.now() - began)} ms with ${ledger.running.length} containers`,
    );
  }
  if (tasks !== undefined) {
    await tasks.up();
    await tasks.stop();
  }
  await finish(daemon, ledger, descriptors, { violation, tasks: tasks?.ids });
  const ofTasks = Object.entries(tasks?.work ?? {}).map(([kind, count]) => [`${kind} of tasks`, count]);
  report.work = {
    ...ledger.work,
    ...Object.fromEntries(ofTasks),
    "kills by the client": load.kills,
    "refused calls": load.refusals,
  };
  const little = tooLittle(
    { ...report.work, ...report.phases },
    {
      ...leastWork(report.kills, victim === "daemon", world !== undefined),
      ...(tasks && { "create of tasks": Math.ceil(report.kills / 4), "delete of tasks": Math.ceil(report.kills / 4) }),
    },
  );
  if (little !== undefined && !options.signal?.aborted) violation(little);
  return report;
}

/** What a whole run has to have done. */
function leastWork(kills: number, daemonKilled: boolean, faults: boolean): Work {
  const rounds = Math.ceil(kills / 2);
  const met = daemonKilled && kills >= ALL_PHASES ? PHASES.map((phase) => [phase, 1]) : [];
  return {
    starts: rounds,
    execs: rounds,
    exits: rounds,
    "exits of execs": Math.ceil(kills / 4),
    "kills by the client": Math.ceil(kills / 10),
    pauses: Math.floor(kills / 20),
    ...(faults && { "refused calls": Math.ceil(kills / 10) }),
    ...Object.fromEntries(met),
  };
}

/** Waits until something is in a phase that was rarely met, a while longer, and notes what the daemon is in the middle of then. */
async function untilPhase(daemon: TestDaemon, ledger: Ledger, random: Random, report: KillReport): Promise<void> {
  const fewest = Math.min(...Object.values(report.phases));
  const wanted = random.pick(PHASES.filter((phase) => report.phases[phase] === fewest));
  const present = () => presentPhases(daemon.stateDir, ledger);
  for (const end = performance.now() + PHASE_TIMEOUT; !present().has(wanted) && performance.now() < end; )
    await sleep(1);
  // Half of the kills come at once, the others anywhere in the phase and after it.
  if (random.chance(0.5)) await sleep(random.next() * PHASE_DEPTH);
  for (const phase of present()) report.phases[phase]++;
}

/** Ends all containers: then nothing must be left, in the daemon neither. */
async function finish(
  daemon: TestDaemon,
  ledger: Ledger,
  descriptors: number,
  { violation, tasks }: { violation: (text: string) => void; tasks: ReadonlySet<string> | undefined },
): Promise<void> {
  for (const life of ledger.running) {
    life.askToKill();
    await daemon.api.signal({ id: life.id, pid: "init", signal: 9 });
    life.killed = "yes";
  }
  for (const text of await check(daemon, ledger, { tasks })) violation(`at the end: ${text}`);
  try {
    await daemon.expectNothingLeft();
    // Between the calls of a client there may be a socket more or less.
    await eventually(() => openDescriptors(daemon.pid).size <= descriptors + 2, { what: "the release of descriptors" });
  } catch (error) {
    const open = [...openDescriptors(daemon.pid)].map(([fd, target]) => `${fd} → ${target}`).join(", ");
    violation(`at the end: ${(error as Error).message}; there were ${descriptors}, now: ${open}`);
  }
}

/** Ends the daemon and everything that it has started, by force. */
async function clear(daemon: TestDaemon): Promise<void> {
  await daemon.kill();
  const { dir, stateDir } = daemon;
  for (let round = 0; round < 2; round++) {
    await removeLeftovers({ dir, stateDir });
    await sleep(50);
  }
  for (const name of readdirSync(stateDir)) {
    if (name !== "events.log") rmSync(join(stateDir, name), { recursive: true, force: true });
  }
}

/** Kills one or two shims of those that are there. */
function killShims(daemon: TestDaemon, ledger: Ledger, random: Random, progress: KillOptions["progress"]): number {
  const shims = processes().filter(
    ({ directory, command }) => directory.startsWith(`${daemon.stateDir}/`) && command.includes("containerd-shim"),
  );
  let killed = 0;
  for (let count = random.integer(1, 2); count > 0 && shims.length > 0; count--) {
    const [shim] = shims.splice(random.integer(0, shims.length - 1), 1);
    const [id = "", pid = ""] = relative(daemon.stateDir, shim!.directory).split("/");
    const life = ledger.lives.get(id);
    const target = pid === "init" ? life : life?.execs.get(pid);
    if (target !== undefined) target.shimKilled = true;
    kill(shim!.pid);
    progress?.(`${new Date().toISOString()}: shim ${shim!.pid} (child of ${shim!.parent}) of ${id} ${pid} killed`);
    killed++;
  }
  return killed;
}

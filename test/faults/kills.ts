/** The kill suite: a daemon that is killed again and again in the middle of its work, and what must hold after each restart. */
import { setMaxListeners } from "node:events";
import { readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { removeLeftovers } from "../harness/leftovers.js";
import { kill, openDescriptors, processes } from "../harness/processes.js";
import { eventually, sleep } from "../harness/wait.js";
import { check } from "./check.js";
import { Ledger } from "./ledger.js";
import { Load } from "./load.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";

export interface KillOptions {
  kills: number;
  seed: number;
  /** How many containers there are at most. */
  places?: number;
  /** What is killed: the daemon, or shims under a daemon that lives. */
  victim?: "daemon" | "shims";
  /** Is told how it goes. */
  progress?: (line: string) => void;
  /** Ends the run early. */
  signal?: AbortSignal;
}

export interface KillReport {
  kills: number;
  violations: string[];
  /** Seen by the client. */
  starts: number;
  execs: number;
  exits: number;
  /** In ms, from the kill until everything fits together again. */
  recoveries: number[];
}

/** In ms: the daemon is killed within this time after the load has begun. */
const LONGEST_LOAD = 300;
/** In ms: a recovery that takes longer is shown with the daemon's log. */
const SLOW = 5_000;
/** How often it is killed again while it restores. */
const SECOND_KILL = 0.15;

/** Runs it; what it started is gone afterwards, also when it throws. */
export async function runKills(options: KillOptions): Promise<KillReport> {
  const { seed, places = 12, victim = "daemon" } = options;
  const report: KillReport = { kills: 0, violations: [], starts: 0, execs: 0, exits: 0, recoveries: [] };
  const violation = (text: string) => {
    report.violations.push(`after kill ${report.kills}: ${text}`);
    options.progress?.(`VIOLATION after kill ${report.kills}: ${text}`);
  };
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
  await using daemon = await startDaemon({
    program: build.daemon,
    flags: ["--shim", build.shim, "--log-level", "debug"],
  });
  const descriptors = openDescriptors(daemon.pid).size;
  const load = new Load({ daemon, ledger, random, places, violation, shimKills: victim === "shims" });
  let following = ledger.follow(daemon.api.events({ timestamp: ledger.resumeFrom }));
  const followAgain = async () => {
    await following;
    following = ledger.follow(daemon.api.events({ timestamp: ledger.resumeFrom }));
  };
  while (report.kills < options.kills && !options.signal?.aborted) {
    const enough = new AbortController();
    setMaxListeners(0, enough.signal);
    const working = load.run(enough.signal);
    const begin = performance.now();
    // Shims have to be there before they can be killed.
    await sleep(random.next() * LONGEST_LOAD * (victim === "shims" ? 3 : 1));
    let began = performance.now();
    if (victim === "daemon") {
      await daemon.kill();
      report.kills++;
      enough.abort();
      await working;
      while (report.kills < options.kills && random.chance(SECOND_KILL)) {
        daemon.spawn();
        await sleep(random.next() * LONGEST_LOAD);
        await daemon.kill();
        report.kills++;
      }
      began = performance.now();
      try {
        await daemon.start();
      } catch (error) {
        violation(`the daemon does not start: ${(error as Error).message}`);
        showLog();
        await clear(daemon);
        await daemon.start();
        await ledger.begin(daemon.api);
      }
      await followAgain();
    } else {
      report.kills += killShims(daemon, ledger, random, options.progress);
      enough.abort();
      await working;
    }
    const found = await check(daemon, ledger);
    const recovery = performance.now() - began;
    report.recoveries.push(recovery);
    if (recovery > SLOW && found.length === 0) showLog();
    for (const text of found) violation(text);
    if (found.length > 0) {
      // What is wrong stays wrong: begin again with nothing, so that the next kills are judged by themselves.
      showLog(found);
      await clear(daemon);
      await daemon.start();
      await ledger.begin(daemon.api);
      await followAgain();
    }
    options.progress?.(
      `${report.kills} kills, ${report.violations.length} violations; last after ${Math.round(began - begin)} ms of load, ` +
        `whole again after ${Math.round(performance.now() - began)} ms with ${ledger.running.length} containers`,
    );
  }
  await finish(daemon, ledger, descriptors, violation);
  return Object.assign(report, { starts: ledger.starts, execs: ledger.execs, exits: ledger.exits });
}

/** Ends all containers: then nothing must be left, in the daemon neither. */
async function finish(
  daemon: TestDaemon,
  ledger: Ledger,
  descriptors: number,
  violation: (text: string) => void,
): Promise<void> {
  for (const life of ledger.running) {
    life.askToKill();
    await daemon.api.signal({ id: life.id, pid: "init", signal: 9 });
    life.killed = "yes";
  }
  for (const text of await check(daemon, ledger)) violation(`at the end: ${text}`);
  try {
    await daemon.expectNothingLeft();
    // Between the calls of a client there may be a socket more or less.
    await eventually(() => openDescriptors(daemon.pid).size <= descriptors + 2, { what: "the release of descriptors" });
  } catch (error) {
    violation(`at the end: ${(error as Error).message}`);
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

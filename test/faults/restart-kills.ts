/**
 * The kill suite over restart policies: containers that end again and again, and are stopped by somebody, while the daemon is killed. What
 * somebody has stopped stays so, what is always to run does, and no run is lost or counted twice.
 */
import { LogsRequest } from "../../src/proto/containerdts/engine/v1/engine.js";
import { type ServiceError, status } from "../harness/api.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { eventually, sleep } from "../harness/wait.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";

export interface RestartKillReport {
  kills: number;
  violations: string[];
  /** How often a policy has started something. */
  restarts: number;
}

/** In ms: how long the daemon lives between two kills, at most. */
const LONGEST_LIFE = 400;
const NO_ANSWER = new Set([status.UNAVAILABLE, status.CANCELLED]);
const RETRIES = 3;

export async function runRestartKills({ kills, seed }: { kills: number; seed: number }): Promise<RestartKillReport> {
  const report: RestartKillReport = { kills: 0, violations: [], restarts: 0 };
  const random = new Random(seed);
  using build = copyBuild();
  await using daemon = await startDaemon({ program: build.daemon, flags: ["--shim", build.shim] });
  await importImage(daemon);
  const engine = () => daemon.v1().engine;
  const get = (id: string) => answered(() => engine().get({ id }));
  const run = async (script: string, name: string, maxRetries = 0) => {
    const id = newId(daemon);
    const config: Config = { args: texts("sh", "-c", script), restart: { name, maxRetries } };
    await answered(() => engine().run({ create: requestFor({ id, config }), stdio: NO_STDIO }));
    return id;
  };
  while (report.kills < kills && report.violations.length === 0) {
    const always = await run("echo ran; exit 1", "always");
    const lives = await run("exec sleep 1000", "unless-stopped");
    const failing = await run("echo ran; exit 1", "on-failure", RETRIES);
    const stopped = await run("echo ran; exit 1", "always");
    let isStopped = false;
    const stopping = (async () => {
      await sleep(random.next() * LONGEST_LIFE);
      await answered(() => engine().stop({ id: stopped, grace: 0n }));
      isStopped = true;
    })();
    for (let round = 0; round < 3; round++) {
      await sleep(random.next() * LONGEST_LIFE);
      const wasStopped = isStopped;
      const { pid } = await get(lives);
      await daemon.kill();
      report.kills++;
      // It ends while no daemon is there.
      if (pid !== 0 && random.chance(0.5)) process.kill(pid, "SIGKILL");
      await daemon.start();
      const found = await get(stopped);
      if (wasStopped && found.status !== "stopped")
        report.violations.push(`kill ${report.kills}: ${stopped} was stopped, and is ${found.status}`);
      await eventually(async () => (await get(lives)).status === "running");
      const looping = await get(always);
      if (looping.status === "stopped") report.violations.push(`kill ${report.kills}: ${always} has stopped`);
    }
    await stopping;
    const ended = await eventually(async () => {
      const one = await get(failing);
      return one.status === "stopped" ? one : undefined;
    });
    const runs = await linesOf(daemon, failing);
    if (ended.restartCount !== RETRIES || runs !== RETRIES + 1)
      report.violations.push(`${failing} has run ${runs} times, and was restarted ${ended.restartCount} times`);
    const { restartCount } = await get(always);
    report.restarts += restartCount;
    for (const id of [always, lives, failing, stopped]) await answered(() => engine().remove({ id, force: true }));
  }
  const api = daemon.v1();
  for (const { id } of (await api.tasks.list()).tasks) report.violations.push(`the task of ${id} is still there`);
  await daemon.stop();
  await daemon.expectNothingLeft().catch((error: Error) => report.violations.push(error.message));
  return report;
}

/** Repeats a call until it is answered. */
async function answered<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!NO_ANSWER.has((error as ServiceError).code) && (error as ServiceError).details !== undefined) throw error;
      await sleep(5);
    }
  }
}

/** How often a container has printed that it runs. */
async function linesOf(daemon: TestDaemon, id: string): Promise<number> {
  let text = "";
  for await (const { data } of daemon.v1().engineStreams.logs(LogsRequest.fromPartial({ id })))
    text += Buffer.from(data).toString();
  return text.split("\n").length - 1;
}

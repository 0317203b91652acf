import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KILLED_STATUS } from "../../../contract/shim/exit-status.js";
import { bootTime, now } from "../../../system/linux/clock.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { writeAtomically } from "../../files/write-atomically.js";
import { atBootTime } from "../../tasks/lifetime.js";
import { addKept } from "../../tasks/operations/add-exec.js";
import { deleteStoppedExec } from "../../tasks/operations/delete.js";
import { startAdded } from "../../tasks/operations/start-exec.js";
import type { Process } from "../../tasks/process.js";
import type { OciProcess } from "../../tasks/runtime/spec.js";
import { bundleIn, type Task } from "../../tasks/task.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { CheckOutput } from "../health/check-output.js";
import { type HealthResult, healthText, newHealth, nextInterval, parseHealth, withResult } from "../health/health.js";
import type { ResolvedCheck } from "../health/health-check.js";
import { NO_WISHES, prepareHost } from "../spec/host-facts.js";
import type { OciSpec } from "../spec/oci-spec.js";
import { processOf } from "../spec/process.js";
import { CHECK_PREFIX, endWithoutOutput, killExec } from "./exec.js";
import { tell } from "./tell-tasks.js";

/** In ms, more than its timeout: when a check ends whose daemon was killed. */
const LEFT_TIMEOUT = 60_000;
/** Of one that took longer than its timeout, or could not be run. */
const NO_STATUS = -1;
/** In bytes. */
const LONGEST_ERROR = 4096;

/**
 * Has the health of a container that runs checked for as long as it does, if it is to be.
 * @param isTakenOver an earlier daemon has begun with that: many go on at the same time
 */
export function watchHealth(engine: Engine, container: EngineContainer, task: Task, isTakenOver: boolean): void {
  const { check } = container;
  if (check === undefined || task.exited.aborted) return;
  new HealthWatch(engine, container, task, check).begin(isTakenOver);
}

class HealthWatch {
  readonly #engine: Engine;
  readonly #container: EngineContainer;
  readonly #task: Task;
  readonly #check: ResolvedCheck;
  readonly #bundle: string;
  #process: OciProcess | undefined;
  #stopClock = () => {};
  #holders = 0;
  /** Settled when none is under way. */
  #running: Promise<unknown> = Promise.resolve();
  /** Ends the one that is under way. */
  #end = () => {};

  constructor(engine: Engine, container: EngineContainer, task: Task, check: ResolvedCheck) {
    this.#engine = engine;
    this.#container = container;
    this.#task = task;
    this.#check = check;
    this.#bundle = bundleIn(engine.tasks.directoryOf(container));
  }

  begin(isTakenOver: boolean): void {
    const before = isTakenOver ? this.#kept() : undefined;
    this.#container.health = before ?? newHealth(bootTime());
    if (before === undefined) this.#keep();
    this.#container.holdChecks = () => this.#hold();
    this.#task.exited.addEventListener("abort", () => this.#stopClock(), { once: true });
    this.#wait(isTakenOver ? Math.random() : 1);
  }

  async #hold(): Promise<() => void> {
    this.#holders++;
    this.#end();
    // What is frozen ends when it is resumed.
    if (!this.#task.isPaused) await this.#running;
    let isHeld = true;
    return () => {
      if (isHeld) this.#holders--;
      isHeld = false;
    };
  }

  /** @param part of the interval */
  #wait(part = 1): void {
    if (this.#isOver) return;
    const interval = nextInterval(this.#container.health!, this.#check, bootTime());
    this.#stopClock = atBootTime(bootTime() + interval * part, () => {
      this.#due().catch((error) => {
        const { id } = this.#container;
        this.#engine.log.error({ id, error: logText(error) }, "containerd: check the health of a container");
      });
    });
  }

  get #isOver(): boolean {
    return this.#task.exited.aborted || this.#engine.tasks.stopping.aborted || this.#container.isGone;
  }

  async #due(): Promise<void> {
    try {
      if (this.#isOver || this.#task.isPaused || this.#holders > 0) return;
      const began = bootTime();
      const running = this.#run();
      this.#running = running;
      const result = await running;
      // What was frozen, or ended, meanwhile has had no chance.
      const wasPaused = this.#task.isPaused || this.#task.resumedAt >= began;
      const isHeldUp = this.#holders > 0 || (result.status === NO_STATUS && wasPaused);
      if (this.#isOver || isHeldUp) return;
      const { status, failingStreak } = this.#container.health!;
      const health = withResult(this.#container.health!, this.#check, result, began);
      this.#container.health = health;
      if (health.status === status && health.failingStreak === failingStreak) return;
      this.#keep();
      if (health.status !== status) tell(this.#engine, this.#container, "health", { health: health.status });
    } finally {
      this.#wait();
    }
  }

  async #run(): Promise<HealthResult> {
    const startedAt = now();
    let output: CheckOutput | undefined;
    try {
      output = new CheckOutput(join(this.#bundle, "health-output"));
      const proc = await this.#start();
      const status = await this.#ended(proc);
      const text = output.end();
      deleteStoppedExec(this.#engine.tasks, this.#container, proc.id);
      return { startedAt, endedAt: now(), status, output: text };
    } catch (error) {
      const text = Buffer.from((error as Error).message).subarray(0, LONGEST_ERROR);
      return { startedAt, endedAt: now(), status: NO_STATUS, output: text };
    } finally {
      output?.end();
    }
  }

  /** Only so many at a time: with many containers they would take the whole machine. */
  #start(): Promise<Process> {
    const { tasks, healthStarts } = this.#engine;
    const path = join(this.#bundle, "health-output");
    return healthStarts.run(this.#task.exited, async () => {
      if (this.#holders > 0) throw new Failure("cancelled", "refused", { why: "no check begins now" });
      this.#process ??= await this.#processOf();
      const name = `${CHECK_PREFIX}${randomBytes(8).toString("hex")}`;
      const { signal } = new AbortController();
      const stdio = { stdin: "", stdout: path, stderr: path };
      const endsAt = bootTime() + this.#check.timeout + LEFT_TIMEOUT;
      const request = { name, process: this.#process, stdio, endsAt, isSilent: true };
      const proc = await addKept(tasks, this.#container, request, signal);
      try {
        return await startAdded(tasks, this.#container, name);
      } catch (error) {
        if (this.#task.processes.get(name) === proc) deleteStoppedExec(tasks, this.#container, name);
        throw error;
      }
    });
  }

  async #processOf(): Promise<OciProcess> {
    const { namespace, id } = this.#container;
    const record = await this.#engine.containers.get(namespace, id);
    const spec = JSON.parse(record.spec!.value.toString("utf8")) as OciSpec;
    const wishes = { args: this.#check.args, env: [], workdir: "", tty: false, privileged: false };
    const host = await prepareHost(NO_WISHES, { systemdCgroup: false, signal: this.#task.exited });
    return processOf(spec, wishes, host);
  }

  /** @returns its status, or that it was not in time: then it was killed with what it has started */
  async #ended(proc: Process): Promise<number> {
    let isLate = false;
    const end = () => {
      isLate = true;
      killExec(this.#task, proc).catch((error) => {
        const { id } = this.#container;
        this.#engine.log.error({ id, error: logText(error) }, "containerd: kill a health check");
      });
      endWithoutOutput(this.#task, proc);
    };
    const stop = atBootTime(bootTime() + this.#check.timeout, end);
    this.#end = end;
    // Who holds checks has come while it was started.
    if (this.#holders > 0) end();
    await new Promise<void>((resolve) => proc.whenOver(resolve));
    this.#end = () => {};
    stop();
    const { status } = proc.exit!;
    return isLate && status === KILLED_STATUS ? NO_STATUS : status;
  }

  /** What the next daemon goes on with: what is unhealthy stays so until a check says otherwise. */
  #keep(): void {
    try {
      writeAtomically(this.#path, healthText(this.#container.health!));
    } catch (error) {
      const { id } = this.#container;
      this.#engine.log.warn({ id, error: logText(error) }, "containerd: write down the health of a container");
    }
  }

  #kept() {
    try {
      return parseHealth(readFileSync(this.#path, "utf8"));
    } catch {
      return undefined;
    }
  }

  get #path(): string {
    return join(this.#bundle, "health");
  }
}

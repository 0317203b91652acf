/** Mixed load on a daemon that may die at any moment: starts, execs, pauses, kills; each place has one container at a time. */
import { type Api, type ServiceError, status } from "../harness/api.js";
import type { TestDaemon } from "../harness/daemon.js";
import { sleep } from "../harness/wait.js";
import type { Ledger } from "./ledger.js";
import { ContainerLife, type Ending, ProcessLife } from "./lives.js";
import type { Random } from "./random.js";

export interface LoadOptions {
  daemon: TestDaemon;
  ledger: Ledger;
  random: Random;
  /** How many containers there are at most. */
  places: number;
  violation: (text: string) => void;
  /** Shims are killed under it: starts may fail. */
  shimKills?: boolean;
  /** The runtime of the containers; else the daemon's. */
  runtime?: string;
}

/** What the container or exec does, as a shell command, and how it ends. */
interface Program {
  command: string;
  ending: Ending;
}

function program(random: Random): Program {
  const kind = random.next();
  // Not a signal's range, so that no other end can be taken for it.
  const status = random.integer(0, 99);
  if (kind < 0.25) return { command: `exit ${status}`, ending: { status } };
  if (kind < 0.6) return { command: `sleep 0.${random.integer(1, 5)}; exit ${status}`, ending: { status } };
  return { command: "exec sleep 100000", ending: { status: undefined } };
}

const SIGKILL = 9;

/** What a call for a process that is just ending may be answered. */
const GONE_MESSAGES = new RegExp(
  [
    "container not found|process not found|no such process|no such file or directory|not running|stopped",
    "does not exist|exited before|not started|EOF|reset by peer|broken pipe|container_linux|setns|nsexec",
    "procReady|cgroup|signal: killed|connect:|status 255",
  ].join("|"),
);

/** What no error message may look like. */
export const UNCLEAR = /object Object|undefined|\.js:\d+|^\d+ *$/;

export class Load {
  readonly #options: LoadOptions;
  /** There is, or was a moment ago, a fault on the machine: every call may fail, with a clear error. */
  faulty = false;
  /** How many calls failed for a fault. */
  refusals = 0;
  /** How many containers and processes the load has asked to be killed. */
  kills = 0;
  #execs = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
  }

  /** Works on all places until the signal comes or the daemon is gone. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { daemon, places, random } = this.#options;
    // Afterwards it would be that of the daemon's successor.
    const { api } = daemon;
    const workers = Array.from({ length: places }, (_, place) => this.#work(api, place, random.fork(), signal));
    await Promise.all(workers);
  }

  async #work(api: Api, place: number, random: Random, signal: AbortSignal): Promise<void> {
    const { ledger, daemon, violation } = this.#options;
    const id = daemon.id(`p${place}`);
    try {
      await sleep(random.integer(0, 60));
      while (!signal.aborted) {
        const life = ledger.lives.get(id);
        if (life === undefined) await this.#create(api, id, random, signal);
        else if (!life.running) await sleep(5);
        else await this.#use(api, life, random, signal);
        await sleep(random.integer(0, 30));
      }
    } catch (error) {
      if (!(error instanceof DaemonGone)) violation(`${id}: ${(error as Error).message}`);
    }
  }

  async #create(api: Api, id: string, random: Random, signal: AbortSignal): Promise<void> {
    const { daemon, ledger, shimKills, runtime = "", violation } = this.#options;
    const { command, ending } = program(random);
    const life = new ContainerLife(id, ending);
    const bundlePath = daemon.bundle(id, {
      args: ["sh", "-c", command],
      // Not below that of the daemon, which may be one without room for any process.
      spec: (spec) => {
        spec.linux.cgroupsPath = `/${id}`;
      },
    });
    ledger.expect(life);
    const failure = await attempt(api.createContainer({ id, bundlePath, runtime, labels: ["load"] }, { signal }));
    if (failure === undefined) {
      life.acknowledged = true;
      return;
    }
    if (life.started) violation(`${id}: its start failed, but there was a start event: ${failure}`);
    else if (ledger.lives.get(id) === life) ledger.lives.delete(id);
    if (this.#excused(failure)) await sleep(random.integer(0, 100));
    else if (!shimKills) violation(`${id}: could not be started: ${failure}`);
  }

  async #use(api: Api, life: ContainerLife, random: Random, signal: AbortSignal): Promise<void> {
    const choice = random.next();
    if (life.paused || choice < 0.1) return await this.#pause(api, life, random, signal);
    if (choice < 0.55) {
      await Promise.all(Array.from({ length: random.integer(1, 2) }, () => this.#exec(api, life, random, signal)));
      return;
    }
    if (choice < 0.7) return await this.#kill(api, life, life, signal);
    const exec = [...life.execs.values()].find((candidate) => candidate.running);
    if (exec !== undefined && choice < 0.9) return await this.#kill(api, life, exec, signal);
  }

  async #exec(api: Api, life: ContainerLife, random: Random, signal: AbortSignal): Promise<void> {
    const { command, ending } = program(random);
    const pid = `e${this.#execs++}`;
    const exec = new ProcessLife(pid, ending);
    life.execs.set(pid, exec);
    const request = { id: life.id, pid, args: ["sh", "-c", command], cwd: "/", env: ["PATH=/bin"] };
    const failure = await attempt(api.addProcess(request, { signal }));
    if (failure === undefined) {
      exec.acknowledged = true;
      return;
    }
    if (exec.started)
      this.#options.violation(`${life.id} ${pid}: its start failed, but there was a start event: ${failure}`);
    life.execs.delete(pid);
    this.#refused(life, `exec ${pid}`, failure);
  }

  async #kill(api: Api, life: ContainerLife, target: ProcessLife, signal: AbortSignal): Promise<void> {
    target.askToKill();
    this.kills++;
    const failure = await attempt(api.signal({ id: life.id, pid: target.pid, signal: SIGKILL }, { signal }));
    if (failure === undefined) target.killed = "yes";
    else if (target.running) this.#refused(life, `kill ${target.pid}`, failure, target);
  }

  async #pause(api: Api, life: ContainerLife, random: Random, signal: AbortSignal): Promise<void> {
    const { id } = life;
    const refusals = this.refusals;
    // Whatever becomes of the call, it may be paused from now on, until it is resumed.
    const before = life.paused;
    life.paused = true;
    if (!before) {
      const failure = await attempt(api.updateContainer({ id, status: "paused" }, { signal }));
      if (failure !== undefined) this.#refused(life, "pause", failure);
      await sleep(random.integer(0, 20));
    }
    const { containers } = await callState(api, id, signal).catch((error: Error) => {
      if (error instanceof DaemonGone || !this.#excused(error.message)) throw error;
      return { containers: [] };
    });
    if (containers[0]?.status === "paused") {
      const failure = await attempt(api.updateContainer({ id, status: "running" }, { signal }));
      if (failure !== undefined) this.#refused(life, "resume", failure);
    }
    // Where a fault was in the way, nobody knows whether it still is.
    if (refusals === this.refusals) life.paused = false;
  }

  /** Whether a call may fail now. */
  #excused(failure: string): boolean {
    if (!this.faulty) return false;
    this.refusals++;
    if (UNCLEAR.test(failure)) this.#options.violation(`an error that tells nothing: ${failure}`);
    return true;
  }

  /** A call that failed: fine when the container or process was about to end. */
  #refused(life: ContainerLife, what: string, failure: string, target: ProcessLife = life): void {
    const ending = life.killed !== "no" || life.ending.status !== undefined || life.shimKilled;
    const targetEnding = target.killed !== "no" || target.ending.status !== undefined || target.shimKilled;
    if ((ending || targetEnding) && GONE_MESSAGES.test(failure)) return;
    if (this.#options.shimKills && GONE_MESSAGES.test(failure)) return;
    if (this.#excused(failure)) return;
    this.#options.violation(`${life.id}: ${what}: ${failure}`);
  }
}

/** State of one container; without it when it has just ended. */
async function callState(api: Api, id: string, signal: AbortSignal) {
  try {
    return await api.state({ id }, { signal });
  } catch (error) {
    if (isGone(error)) throw new DaemonGone();
    if (!(error as Error).message.includes("container not found")) throw error;
    return { containers: [] };
  }
}

/** The daemon is not there any more: nobody knows what became of the call. */
class DaemonGone extends Error {}

function isGone(error: unknown): boolean {
  const { code, message } = error as ServiceError;
  return code === status.UNAVAILABLE || code === status.CANCELLED || message === "the client is closed";
}

/** The error message of a call, undefined when it was answered. Throws DaemonGone. */
async function attempt(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (isGone(error)) throw new DaemonGone();
    const { code, details, message } = error as ServiceError;
    return `${code} ${details ?? message}`;
  }
}

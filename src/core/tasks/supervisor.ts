import { readFileSync, realpathSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { epoll } from "../../system/linux/epoll.js";
import { errorText } from "../../system/linux/libc.js";
import { refill } from "../../system/linux/reserved-descriptors.js";
import { findProgram } from "../../system/linux/spawn.js";
import type { Event } from "../events/event.js";
import { EventLog } from "../events/event-log.js";
import { Subscribers } from "../events/subscribers.js";
import { containerNotFound, Failure } from "../failure/failure.js";
import { logText } from "../failure/log-text.js";
import { Workers } from "../scheduling/workers.js";
import { Metrics } from "../telemetry/metrics.js";
import { Operations } from "../telemetry/operations.js";
import type { Container } from "./container.js";
import type { Process } from "./process.js";
import type { ShimProgram } from "./shims/shim.js";
import { ShimSpawner } from "./shims/shim-spawner.js";
import { Removals } from "./state-directory/removals.js";

export interface SupervisorOptions {
  stateDir: string;
  /** Runtime of containers that name none. */
  runtime: string;
  runtimeArgs: readonly string[];
  /** Name or path; undefined: this project's own. */
  shim: string | undefined;
  /** Where this project's own shim is. */
  ownShim: string;
  /** In ms: how long a start, an exec or a change may take. */
  startTimeout: number;
  /** How many events are kept. */
  retainCount: number;
  /** How many containers are started at a time. */
  startWorkers: number;
  log: Logger;
}

/** What the host has. */
export interface Machine {
  cpus: number;
  /** MiB */
  memory: number;
}

/**
 * The single owner of all state. The operations are beside this file, one each; they change what is here in synchronous sections, so
 * that no two of them ever see it half changed.
 */
export class Supervisor {
  readonly stateDir: string;
  readonly runtime: string;
  readonly runtimeArgs: readonly string[];
  readonly startTimeout: number;
  readonly log: Logger;
  readonly machine: Machine;
  readonly events: EventLog;
  readonly subscribers = new Subscribers();
  readonly startWorkers: Workers;
  readonly metrics = new Metrics();
  readonly operations: Operations;
  readonly removals: Removals;
  /** Containers that run, by id: from the end of their start to their exit event. */
  readonly containers = new Map<string, Container>();
  /** Containers of an earlier daemon of which it is not decided yet whether they run, by id; settled when it is. */
  readonly restoring = new Map<string, Promise<void>>();
  readonly #ownShim: string;
  readonly #shim: string;
  readonly #spawner: ShimSpawner;

  /** Opens the event log in the state directory, which is there. Throws a system error. */
  constructor(options: SupervisorOptions) {
    this.stateDir = options.stateDir;
    this.runtime = options.runtime;
    this.runtimeArgs = options.runtimeArgs;
    this.startTimeout = options.startTimeout;
    this.log = options.log;
    this.startWorkers = new Workers(options.startWorkers);
    this.operations = new Operations(options.log);
    this.removals = new Removals(options.log);
    this.#ownShim = options.ownShim;
    this.#shim = options.shim ?? options.ownShim;
    this.machine = { cpus: availableParallelism(), memory: memoryTotal() };
    refill();
    this.events = new EventLog(join(this.stateDir, "events.log"), options.retainCount);
    epoll.onError = (error) => this.log.error({ error: logText(error) }, "containerd: a watch has failed");
    this.#spawner = new ShimSpawner(this.#ownShim);
  }

  /** The container with this id. Throws Failure (not-found). */
  container(id: string): Container {
    const container = this.containers.get(id);
    if (container === undefined) throw containerNotFound(id);
    return container;
  }

  /** A process of a container; `pid` is its name. Throws Failure (not-found). */
  process(id: string, pid: string): Process {
    const process = this.container(id).processes.get(pid);
    if (process === undefined) throw new Failure("not-found", "process-not-found", { id, pid });
    return process;
  }

  /** What `--shim` stands for. */
  shimProgram(): ShimProgram {
    return this.#program(this.#shim);
  }

  /** What the shim in a state.json stands for; "" is the daemon's. One that is gone (after an upgrade into another directory) is our own. */
  shimProgramOf(name: string): ShimProgram {
    if (name === "") return this.shimProgram();
    if (name === this.#ownShim) return this.#program(name);
    return { ...this.#program(name), substitute: this.#program(this.#ownShim) };
  }

  #program(name: string): ShimProgram {
    const path = findProgram(name);
    const isOwn = path !== undefined && isSameFile(path, this.#ownShim);
    return { name, spawner: isOwn ? this.#spawner : undefined };
  }

  /** Stores an event without sending it yet. */
  record(event: Omit<Event, "timestamp">): Event {
    this.metrics.events[event.type]++;
    return this.events.append(event, (error) => {
      this.log.error({ error: errorText(error), id: event.id, type: event.type }, "containerd: write events.log");
    });
  }

  /** Stores an event and sends it to all subscribers. */
  emit(event: Omit<Event, "timestamp">): void {
    this.subscribers.publish(this.record(event));
  }

  /** Does beforehand what the first start would have to wait for. */
  async prepareStarts(): Promise<void> {
    await this.shimProgram().spawner?.prepare(this.runtime);
  }

  /** Lets go of everything; containers go on. */
  close(): void {
    // First: what waits for that can be done then.
    this.events.close();
    this.removals.close();
    this.#spawner.close();
    epoll.close();
  }
}

function isSameFile(path: string, other: string): boolean {
  try {
    return path === other || realpathSync(path) === realpathSync(other);
  } catch {
    // Just taken away.
    return false;
  }
}

/** MemTotal in MiB. */
function memoryTotal(): number {
  const kibibytes = /^MemTotal:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  return Math.floor(Number(kibibytes ?? 0) / 1024);
}

import { setTimeout as sleep } from "node:timers/promises";
import type { Event } from "../../../proto/containerd.js";
import { abortable } from "../../abortable.js";
import { whileLost } from "../../api/lost-daemon.js";
import type { Api } from "../../api/v0.js";
import { ContainerdError } from "../../errors/containerd-error.js";
import { compareTimestamps, type Timestamp } from "../../timestamp.js";
import { Events } from "./events.js";

/** How a process ended. */
export interface ExitStatus {
  /** Its exit code; 128+N when signal N killed it; 255 when the daemon could not find it out. */
  status: number;
  /** The daemon's clock. */
  exitedAt: Timestamp;
  /** Whether the kernel has killed a process of the container, not necessarily this one, for lack of memory while it ran. */
  oomKilled: boolean;
  /** Of a container's first process: the most memory in bytes that the container had, where that is known. */
  memoryPeak?: number;
}

function exitStatus({ status, timestamp, memoryPeak }: Event, oomKilled: boolean): ExitStatus {
  return {
    status,
    exitedAt: timestamp ?? { seconds: 0n, nanos: 0 },
    oomKilled,
    // 0 is also what a daemon says that does not know the field.
    ...(memoryPeak ? { memoryPeak } : {}),
  };
}

/** Milliseconds that the exit event may come later than the process's disappearance from the daemon's state. */
const EVENT_DELAY = 2000;

/** A process whose end is waited for. */
export interface WatchedProcess {
  /** The container's. */
  id: string;
  /** Its name. */
  pid: string;
  /** Tells it from one of the same name in another container of the same id, which was there before or comes later. 0: not known. */
  systemPid?: number;
  /** By the daemon's clock: its exit is later. */
  since?: Timestamp | undefined;
}

/** The exit that is waited for. */
class ExpectedExit {
  readonly id: string;
  readonly pid: string;
  systemPid: number;
  /** What happened up to then is not about this one. */
  readonly after: Timestamp | undefined;
  readonly exited: Promise<ExitStatus>;
  settle!: { resolve(status: ExitStatus): void; reject(error: unknown): void };
  /** Its start has been seen, or it was running when the wait began: the next exit is its own. */
  running: boolean;
  /** An exit seen before the start: of an earlier process with the same name, or the two changed places. */
  early: ExitStatus | undefined;
  oomKilled = false;

  constructor({ id, pid, systemPid = 0 }: WatchedProcess, running: boolean, after?: Timestamp) {
    this.id = id;
    this.pid = pid;
    this.systemPid = systemPid;
    this.running = running;
    this.after = after;
    this.exited = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    // A failed start drops its expectation unread.
    this.exited.catch(() => {});
  }
}

/**
 * Waits for the ends of any number of processes with one subscription to the daemon's events, which is open only while
 * somebody waits. It survives restarts of the daemon: exits of the time between are fetched from its log.
 */
export class ExitWatch {
  readonly #api: Api;
  readonly #patience: number | undefined;
  readonly #expected = new Set<ExpectedExit>();
  #events: Events | undefined;

  constructor(api: Api, patience: number | undefined) {
    this.#api = api;
    this.#patience = patience;
  }

  /**
   * To be called before the process is started, so that no end is too early to be seen. Resolves when the daemon has
   * been asked for its events; call `started` with its system pid when it runs, `drop` when the start fails.
   */
  async expectStart(
    id: string,
    pid: string,
    signal?: AbortSignal,
  ): Promise<{ exited: Promise<ExitStatus>; started(systemPid: number): void; drop(): void }> {
    const expected = new ExpectedExit({ id, pid }, false);
    await this.#expect(expected, signal);
    return {
      exited: expected.exited,
      started: (systemPid) => {
        expected.systemPid = systemPid;
      },
      drop: () => this.#drop(expected),
    };
  }

  /**
   * The end of a process that is running, or was at `since`. A daemon that is away is waited for.
   *
   * @throws ContainerdError NOT_FOUND when it is not there and its exit is not among the stored events, UNAVAILABLE when the daemon is
   *   away for too long; the signal's reason.
   */
  async waitFor(process: WatchedProcess, signal?: AbortSignal): Promise<ExitStatus> {
    const expected = await whileLost(() => this.#expectEnd(process, signal), this.#patience, signal);
    try {
      return await abortable(expected.exited, signal);
    } finally {
      this.#drop(expected);
    }
  }

  /** Every wait fails; nothing is subscribed to any more. */
  close(error: unknown): void {
    for (const expected of this.#expected) {
      expected.settle.reject(error);
      this.#drop(expected);
    }
  }

  async #expectEnd(process: WatchedProcess, signal?: AbortSignal): Promise<ExpectedExit> {
    const { since } = process;
    // Not before: an earlier process of that name may have ended just now.
    const after = since ?? (await this.#api.lastEventTime({ signal }));
    const expected = new ExpectedExit(process, true, after);
    await this.#expect(expected, signal);
    try {
      if (await abortable(this.#isThere(expected), signal)) return expected;
      const missed = since && (await abortable(this.#storedExit(expected, since), signal));
      if (missed) this.#resolve(expected, missed);
      else void this.#giveUpSoon(expected);
      return expected;
    } catch (error) {
      this.#drop(expected);
      throw error;
    }
  }

  async #expect(expected: ExpectedExit, signal?: AbortSignal): Promise<void> {
    this.#expected.add(expected);
    try {
      if (!this.#events) void this.#follow(this.#subscribe(expected.after));
      await abortable(this.#events!.subscribed(), signal);
    } catch (error) {
      this.#drop(expected);
      throw error;
    }
  }

  /** @param since where what has to be seen begins, unless that is still to be asked for, on the same connection */
  #subscribe(since: Timestamp | undefined): Events {
    this.#events = new Events(this.#api, { since, patience: this.#patience, onResumed: () => this.#verifyAll() });
    return this.#events;
  }

  async #follow(events: Events): Promise<void> {
    try {
      for await (const event of events) this.#see(event);
    } catch (error) {
      if (this.#events === events) this.close(error);
    }
  }

  #see(event: Event): void {
    for (const expected of this.#expected) {
      if (expected.id !== event.id || isBefore(event, expected.after)) continue;
      const isInit = expected.pid === "init";
      if (event.type === "oom") {
        expected.oomKilled = true;
      } else if (
        event.type === "start-container" ? isInit : event.type === "start-process" && event.pid === expected.pid
      ) {
        expected.running = true;
        // What was before is another container's, unless the two changed places.
        if (isInit && !expected.early) expected.oomKilled = false;
        if (expected.early) void this.#verify(expected);
      } else if (event.type === "exit" && event.pid === expected.pid) {
        const exit = exitStatus(event, expected.oomKilled);
        if (expected.running) this.#resolve(expected, exit);
        else expected.early = exit;
      }
    }
  }

  #resolve(expected: ExpectedExit, exit: ExitStatus): void {
    expected.settle.resolve(exit);
    this.#drop(expected);
  }

  #drop(expected: ExpectedExit): void {
    if (!this.#expected.delete(expected) || this.#expected.size > 0) return;
    void this.#events?.return();
    this.#events = undefined;
  }

  #verifyAll(): void {
    for (const expected of this.#expected) if (expected.running) void this.#verify(expected);
  }

  /** Asks the daemon whether the process is still there; if not, its exit is what was seen early or comes within moments. */
  async #verify(expected: ExpectedExit): Promise<void> {
    try {
      if (await this.#isThere(expected)) expected.early = undefined;
      else if (expected.early) this.#resolve(expected, expected.early);
      else void this.#giveUpSoon(expected);
    } catch {
      // The connection is gone again; the next resumption verifies again.
    }
  }

  async #giveUpSoon(expected: ExpectedExit): Promise<void> {
    await sleep(EVENT_DELAY, undefined, { ref: false });
    if (!this.#expected.has(expected)) return;
    const { id, pid } = expected;
    const message = `process "${pid}" of container "${id}" is not there, and the daemon has no record of its end`;
    expected.settle.reject(new ContainerdError("NOT_FOUND", message, { containerId: id }));
    this.#drop(expected);
  }

  async #isThere({ id, pid, systemPid }: ExpectedExit): Promise<boolean> {
    try {
      const { containers } = await this.#api.state({ id });
      return containers.some(
        (task) =>
          task.id === id &&
          task.processes.some((process) => process.pid === pid && (systemPid === 0 || process.systemPid === systemPid)),
      );
    } catch (error) {
      if (error instanceof ContainerdError && error.isNotFound) return false;
      throw error;
    }
  }

  async #storedExit({ id, pid }: ExpectedExit, since: Timestamp): Promise<ExitStatus | undefined> {
    const stored = await this.#api.events({ timestamp: since, storedOnly: true, id });
    let oomKilled = false;
    for await (const event of stored) {
      if (event.type === "oom") oomKilled = true;
      if (event.type === "exit" && event.id === id && event.pid === pid && event.timestamp)
        return exitStatus(event, oomKilled);
    }
    return undefined;
  }
}

function isBefore({ timestamp }: Event, after: Timestamp | undefined): boolean {
  return after !== undefined && timestamp !== undefined && compareTimestamps(timestamp, after) <= 0;
}

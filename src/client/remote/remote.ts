import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Event } from "../../proto/containerd.js";
import type { Client } from "../client.js";
import { connect } from "../connect.js";
import { type Checks, callback, checkOptions } from "../options/option-checks.js";
import { toTimestamp } from "../timestamp.js";
import { LastEvent } from "../v0/events/last-event.js";
import {
  type DaemonOptions,
  daemonChecks,
  type RemoteDaemon,
  removeTraces,
  socketPath,
  startOrAdopt,
} from "./remote-daemon.js";

export interface RemoteOptions extends DaemonOptions {
  /** Told when the daemon has ended or does not answer, and when another one is up. */
  onChange?: (change: RemoteChange) => void;
}

const remoteChecks: Checks<RemoteOptions> = { ...daemonChecks, onChange: callback };

export type RemoteChange =
  | { kind: "lost"; pid: number; reason: "ended" | "unhealthy" }
  | { kind: "started"; pid: number }
  | { kind: "failed"; error: unknown };

/** In ms. dockerd's numbers. */
const HEALTH_INTERVAL = 500;
const HEALTH_TIMEOUT = 3000;
const STOP_TIMEOUT = 15_000;
const FAILURES = 3;
/** In ms: how long a daemon may take to answer for the first time. */
const START_TIMEOUT = 20_000;

/**
 * A daemon that is looked after: started, or adopted when one of an earlier process still runs; asked for its health every 500 ms;
 * killed after three failures in a row, and started again whenever it ends. Containers go on meanwhile, and no event is lost.
 *
 * @example
 * await using remote = await Remote.start({ stateDir: "/run/engine" });
 * for await (const event of remote.events()) console.log(event.type, event.id);
 */
export class Remote implements AsyncDisposable {
  /** Connected to the daemon; survives its restarts. */
  readonly client: Client;
  readonly #options: RemoteOptions;
  readonly #lastEvent: LastEvent;
  readonly #startedAt = toTimestamp(Date.now());
  readonly #closed = new AbortController();
  #daemon: RemoteDaemon;
  #watching: Promise<void>;

  private constructor(options: RemoteOptions, client: Client, daemon: RemoteDaemon) {
    this.#options = options;
    this.client = client;
    this.#daemon = daemon;
    this.#lastEvent = new LastEvent(join(options.stateDir, "event.ts"));
    this.#watching = this.#watch();
  }

  /**
   * Resolves when the daemon answers.
   * @throws TypeError or RangeError for a wrong option; a system error when it can't be started, Error when it ends at once or does not
   *   answer
   */
  static async start(options: RemoteOptions): Promise<Remote> {
    checkOptions(options, remoteChecks);
    const client = connect(`unix://${socketPath(options)}`, { patience: Number.POSITIVE_INFINITY });
    let daemon: RemoteDaemon | undefined;
    try {
      daemon = await startOrAdopt(options);
      await untilHealthy(client, daemon);
      return new Remote(options, client, daemon);
    } catch (error) {
      client.close();
      if (daemon?.adopted === false) daemon.signal("SIGKILL");
      throw error;
    }
  }

  /** The daemon's process id. It changes when it is started again. */
  get pid(): number {
    return this.#daemon.pid;
  }

  /** The daemon was running already when this was made. */
  get adopted(): boolean {
    return this.#daemon.adopted;
  }

  /**
   * All events, in order, from where the last reader (of this process or an earlier one) stopped; the first reader of all begins with the
   * start of this Remote. They go on over restarts of the daemon.
   *
   * An event counts as seen when the next one is asked for: after a crash in between it comes again. One reader at a time.
   * @throws a system error when the file with the time of the last event can't be read or written
   */
  async *events(options: { signal?: AbortSignal } = {}): AsyncGenerator<Event, void, undefined> {
    let since = await this.#lastEvent.read();
    if (since === undefined) {
      since = this.#startedAt;
      await this.#lastEvent.write(since);
    }
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closed.signal]) : this.#closed.signal;
    try {
      for await (const event of this.client.v0.events({ since, signal })) {
        yield event;
        if (event.timestamp) await this.#lastEvent.write(event.timestamp);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /**
   * Stops the daemon: SIGTERM, and after 15 s SIGKILL. Containers go on.
   */
  async stop(): Promise<void> {
    await this.close();
    const daemon = this.#daemon;
    daemon.signal("SIGTERM");
    const timer = new AbortController();
    await Promise.race([
      daemon.ended,
      sleep(STOP_TIMEOUT, undefined, { signal: timer.signal }).then(
        () => daemon.signal("SIGKILL"),
        () => {},
      ),
    ]);
    await daemon.ended;
    timer.abort();
    removeTraces(this.#options);
  }

  /** Leaves the daemon alone: it is neither looked after nor stopped any more. It still ends with this process, or with its last client. */
  async close(): Promise<void> {
    this.#closed.abort(new Error("the remote is closed"));
    await this.#watching;
    this.client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #watch(): Promise<void> {
    const { signal } = this.#closed;
    let failures = 0;
    while (!signal.aborted) {
      const pause = new AbortController();
      const stop = () => pause.abort();
      signal.addEventListener("abort", stop, { once: true });
      await Promise.race([
        this.#daemon.ended,
        sleep(HEALTH_INTERVAL, undefined, { signal: pause.signal }).catch(() => {}),
      ]);
      signal.removeEventListener("abort", stop);
      pause.abort();
      if (signal.aborted) return;
      if (this.#daemon.running) {
        const healthy = await this.client.v0.api.health({ timeout: HEALTH_TIMEOUT }).catch(() => false);
        failures = healthy ? 0 : failures + 1;
        if (!this.#daemon.running || failures < FAILURES || signal.aborted) continue;
        this.#tell({ kind: "lost", pid: this.#daemon.pid, reason: "unhealthy" });
        this.#daemon.signal("SIGKILL");
        await this.#daemon.ended;
      } else {
        this.#tell({ kind: "lost", pid: this.#daemon.pid, reason: "ended" });
      }
      failures = 0;
      await this.#restart();
    }
  }

  /** Until one is up: a daemon that can't start now may be able to later. */
  async #restart(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        this.#daemon = await startOrAdopt(this.#options);
        await untilHealthy(this.client, this.#daemon, signal);
        this.#tell({ kind: "started", pid: this.#daemon.pid });
        return;
      } catch (error) {
        // The next turn of the watch kills one that runs and does not answer.
        if (this.#daemon.running) return;
        if (!signal.aborted) this.#tell({ kind: "failed", error });
        await sleep(HEALTH_INTERVAL);
      }
    }
  }

  #tell(change: RemoteChange): void {
    this.#options.onChange?.(change);
  }
}

/** @throws Error when the daemon ends or takes too long, the signal's reason */
async function untilHealthy(client: Client, daemon: RemoteDaemon, signal?: AbortSignal): Promise<void> {
  const giveUp = Date.now() + START_TIMEOUT;
  for (;;) {
    signal?.throwIfAborted();
    if (!daemon.running)
      throw new Error(`containerd (pid ${daemon.pid}) ended before it answered; its output tells why`);
    try {
      if (await client.v0.api.health({ timeout: HEALTH_TIMEOUT })) return;
    } catch (error) {
      if (Date.now() > giveUp) throw error;
    }
    await sleep(20);
  }
}

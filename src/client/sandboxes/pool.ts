import { abortable, withTimeout } from "../abortable.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineParts } from "../containers/run.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { positiveDuration } from "../options/duration.js";
import { type Checks, checkOptions, flag, required, whole } from "../options/option-checks.js";
import { DEFAULT_TTL, isWarm, prepare, type SandboxOptions, sandboxChecks } from "./prepare.js";
import { REMOVAL_TIMEOUT, type Sandbox } from "./sandbox.js";

export interface PoolOptions extends SandboxOptions {
  /** How many sandboxes are kept ready. */
  size: number;
  /** How many that were acquired there may be at once. Default: any number. */
  max?: number | undefined;
}

export interface AcquireOptions extends CallOptions {
  /** Milliseconds from now until the daemon kills and removes it. Default: that of the pool. */
  ttl?: number | undefined;
  /** Whether one is waited for when none is ready, or `max` are in use. Default: true. */
  wait?: boolean | undefined;
}

export const poolChecks: Checks<PoolOptions & CallOptions> = {
  ...sandboxChecks,
  ...callChecks,
  size: required(whole("a number of sandboxes from 1 to 10000", 1, 10_000)),
  max: whole("a number of sandboxes, 1 or more", 1),
};

const acquireChecks: Checks<AcquireOptions> = { ...callChecks, ttl: positiveDuration, wait: flag };

/** How many are made at once while somebody waits for one; else it is one after the other, to leave the machine to those in use. */
const PARALLEL = 4;
/** In ms: the pauses between attempts to make one. */
const FIRST_PAUSE = 100;
const MAX_PAUSE = 10_000;

interface Waiter {
  resolve: (sandbox: Sandbox) => void;
  reject: (error: unknown) => void;
}

/**
 * Sandboxes that are ready before somebody asks for one. They belong to this program: when it ends, however it does, the daemon removes
 * them. Each is given to one caller only, and another one is made in its place, in the background.
 */
export class SandboxPool implements AsyncDisposable {
  /** How many are kept ready. */
  readonly size: number;
  readonly #parts: EngineParts;
  readonly #options: SandboxOptions;
  readonly #ttl: number;
  readonly #max: number;
  readonly #ready: Sandbox[] = [];
  readonly #waiting: Waiter[] = [];
  readonly #preparing = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #removing = new Set<Promise<void>>();
  readonly #onClosed: () => void;
  #inUse = 0;
  #onFirst: (error?: unknown) => void = () => {};
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;

  /** @internal */
  constructor(parts: EngineParts, { size, max, ...options }: PoolOptions, onClosed: () => void) {
    this.#onClosed = onClosed;
    this.#parts = parts;
    this.#options = options;
    this.size = size;
    this.#max = max ?? Number.POSITIVE_INFINITY;
    this.#ttl = options.ttl ?? DEFAULT_TTL;
  }

  /** How many are ready now. */
  get ready(): number {
    return this.#ready.length;
  }

  /** How many were acquired, and are there still: neither removed by this program, nor over with their time to live. */
  get inUse(): number {
    return this.#inUse;
  }

  /** @internal Resolves once there is the first one. @throws why there is none */
  async open({ signal, timeout }: CallOptions): Promise<void> {
    const late = () => new ContainerdError("DEADLINE_EXCEEDED", `no sandbox was ready within ${timeout} ms`);
    try {
      const first = new Promise<void>((resolve, reject) => {
        this.#onFirst = (error) => (error === undefined ? resolve() : reject(error));
      });
      this.#refill();
      await withTimeout((signal) => abortable(first, signal), { signal, timeout }, late);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /**
   * A sandbox that is ready; nobody else gets it. Its time to live begins now. `await using` removes it at the end of the block.
   *
   * @throws ContainerdError: of the kind "exhausted", with `wait: false`, when none is ready; "closed" when the pool is closed meanwhile;
   *   "timeout" after `timeout` ms; what making one has failed with, when none is ready; the signal's reason
   */
  async acquire(options: AcquireOptions = {}): Promise<Sandbox> {
    checkOptions(options, acquireChecks);
    const { ttl = this.#ttl, wait = true, signal, timeout } = options;
    const late = () => new ContainerdError("DEADLINE_EXCEEDED", `no sandbox was free within ${timeout} ms`);
    const given = (signal: AbortSignal | undefined) => this.#give(ttl, wait, signal);
    return await withTimeout(given, { signal, timeout }, late);
  }

  /** Removes those that are ready, and makes no more. Those that were acquired stay with who has them. */
  close(): Promise<void> {
    this.#closed ??= this.#closeNow();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #give(ttl: number, wait: boolean, signal: AbortSignal | undefined): Promise<Sandbox> {
    for (;;) {
      const sandbox = await this.#take(wait, signal);
      try {
        await sandbox.handOut(ttl, { signal }, () => this.#release());
        return sandbox;
      } catch (error) {
        // What a call has left undone is not known when it was called off.
        this.#discard(sandbox);
        this.#release();
        const hasEnded = error instanceof ContainerdError && (error.isNotFound || error.kind === "wrong-state");
        if (!hasEnded) throw error;
      } finally {
        this.#refill();
      }
    }
  }

  /** One of those that are ready; it counts as in use from here on. */
  async #take(wait: boolean, signal: AbortSignal | undefined): Promise<Sandbox> {
    this.#requireOpen();
    signal?.throwIfAborted();
    if (!wait && (this.#ready.length === 0 || this.#inUse >= this.#max)) {
      const why = this.#inUse >= this.#max ? `all ${this.#max} of the pool are in use` : "none is ready yet";
      this.#refill();
      throw new ContainerdError("RESOURCE_EXHAUSTED", `no sandbox is free: ${why}`);
    }
    const { promise, waiter } = this.#queue();
    this.#serve();
    this.#refill();
    try {
      return await abortable(promise, signal);
    } catch (error) {
      const index = this.#waiting.indexOf(waiter);
      if (index >= 0) this.#waiting.splice(index, 1);
      // It may have been given one at the same moment.
      else promise.then((sandbox) => this.#takeBack(sandbox)).catch(() => {});
      throw error;
    }
  }

  #queue(): { promise: Promise<Sandbox>; waiter: Waiter } {
    let waiter!: Waiter;
    const promise = new Promise<Sandbox>((resolve, reject) => {
      waiter = { resolve, reject };
    });
    promise.catch(() => {});
    this.#waiting.push(waiter);
    return { promise, waiter };
  }

  #takeBack(sandbox: Sandbox): void {
    // Another one may have been begun in its place.
    if (this.#closed === undefined && this.#ready.length + this.#preparing.size < this.size)
      this.#ready.unshift(sandbox);
    else this.#discard(sandbox);
    this.#release();
  }

  /** Who has waited longest gets the one that was ready first. */
  #serve(): void {
    while (this.#waiting.length > 0 && this.#ready.length > 0 && this.#inUse < this.#max) {
      this.#inUse++;
      this.#waiting.shift()!.resolve(this.#ready.shift()!);
    }
  }

  #release(): void {
    this.#inUse--;
    this.#serve();
  }

  /** Makes as many as are missing. */
  #refill(): void {
    const isNeeded = this.#waiting.length > 0 && this.#inUse < this.#max;
    if (this.#retry !== undefined && isNeeded) this.#endPause();
    const parallel = isNeeded ? PARALLEL : 1;
    while (
      this.#closed === undefined &&
      this.#retry === undefined &&
      this.#preparing.size < parallel &&
      this.#ready.length + this.#preparing.size < this.size
    ) {
      const one = this.#prepare().finally(() => {
        this.#preparing.delete(one);
        this.#refill();
      });
      this.#preparing.add(one);
    }
  }

  /** Never throws. */
  async #prepare(): Promise<void> {
    try {
      const { signal } = this.#stop;
      const ttl = Number.POSITIVE_INFINITY;
      const sandbox = await prepare(this.#parts, this.#options, { owned: true, ttl, signal });
      try {
        // What does nothing costs nothing while it waits; what may do something is not to do it before it is asked to.
        if (isWarm(this.#options)) await sandbox.pause({ signal });
        signal.throwIfAborted();
      } catch (error) {
        this.#discard(sandbox);
        throw error;
      }
      this.#failures = 0;
      this.#ready.push(sandbox);
      this.#onFirst();
      this.#serve();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#onFirst(error);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    if (this.#closed !== undefined) return;
    // It would never succeed again.
    if (isClosed(error)) void this.close();
    else {
      const pause = Math.min(FIRST_PAUSE * 2 ** this.#failures++, MAX_PAUSE);
      this.#endPause();
      this.#retry = setTimeout(() => {
        this.#endPause();
        this.#refill();
      }, pause).unref();
    }
  }

  #endPause(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  /** Nobody waits for it: what can't be removed now the daemon removes with this program. */
  #discard(sandbox: Sandbox): void {
    const removal = sandbox
      .remove({ timeout: REMOVAL_TIMEOUT })
      .catch(() => {})
      .finally(() => this.#removing.delete(removal));
    this.#removing.add(removal);
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw poolClosed();
  }

  async #closeNow(): Promise<void> {
    // From here on it counts as closed.
    await undefined;
    this.#endPause();
    this.#stop.abort(poolClosed());
    for (const { reject } of this.#waiting.splice(0)) reject(poolClosed());
    await Promise.all(this.#preparing);
    await Promise.all(this.#removing);
    const removals = this.#ready.splice(0).map((sandbox) => sandbox.remove({ timeout: REMOVAL_TIMEOUT }));
    const [failed] = (await Promise.allSettled(removals)).filter((removal) => removal.status === "rejected");
    this.#onClosed();
    if (failed !== undefined && !isClosed(failed.reason)) throw failed.reason;
  }
}

function poolClosed(): ContainerdError {
  return new ContainerdError("CANCELLED", "the pool of sandboxes is closed");
}

/** Whether the client was closed first: its daemon removes what belongs to this program when that ends. */
function isClosed(error: unknown): boolean {
  return error instanceof ContainerdError && error.kind === "closed";
}

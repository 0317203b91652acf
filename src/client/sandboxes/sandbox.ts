import { once } from "node:events";
import type { Readable } from "node:stream";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import {
  type ContainerStdio,
  CreatedContainer,
  type RemoveOptions,
  type UpdateOptions,
} from "../containers/container.js";
import { lifetimeOf } from "../containers/container-config.js";
import { type ForkOptions, fork, forkRequest } from "../containers/fork.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { positiveDuration, startTimer } from "../options/duration.js";
import { checkOptions } from "../options/option-checks.js";

/** What a sandbox is besides its container. */
export interface SandboxTraits {
  /** Milliseconds that a sandbox is given when nothing else is said. */
  ttl: number;
  owned: boolean;
  /** Of the process that its forks begin with. */
  stdio: ContainerStdio;
  stdioDir: string | undefined;
}

/** In bytes: as much as is looked through for what a program prints once it is ready. */
const MAX_BEFORE_READY = 1 << 20;

/** In ms: what the removal of one may take that nobody waits for. */
export const REMOVAL_TIMEOUT = 10_000;

/**
 * A container for code that nobody trusts, which runs, and which the daemon removes when its time to live is over, whatever has become of
 * this program and of the daemon meanwhile. It has all methods of a container; `await using` kills and removes it.
 *
 * What waits for a process of it is told when its time is over: `wait()` by `expired`, `exec` by a {@link RunError} with `reason`
 * "expired"; calls that come later throw a {@link ContainerdError} of the kind "expired".
 */
export class Sandbox extends CreatedContainer {
  readonly #traits: SandboxTraits;
  #isGone = false;
  #stopClock: () => void = () => {};
  #onGone: () => void = () => {};

  /** @internal */
  constructor(api: EngineApi, id: string, traits: SandboxTraits) {
    super(api, id);
    this.#traits = traits;
  }

  /**
   * Gives it another time to live.
   *
   * @param ttl milliseconds from now; Infinity: as long as nobody removes it
   * @throws ContainerdError of the kind "expired" when it was over already
   */
  async extend(ttl: number, options: CallOptions = {}): Promise<void> {
    positiveDuration(ttl, "ttl");
    checkOptions(options, callChecks);
    const { id, api } = this;
    await api.again((signal) => api.calls.update({ id, ttl: lifetimeOf(ttl) }, { signal }), options);
    this.#startClock(ttl);
  }

  override async update(options: UpdateOptions): Promise<void> {
    await super.update(options);
    if (options.ttl !== undefined) this.#startClock(options.ttl);
  }

  /**
   * Makes another sandbox, which runs, over a copy of this one's layer, with the same limits: the same files, from which on each goes its
   * own way. Its processes are not copied. This one is paused while it is copied.
   *
   * @param options `ttl`: its own; default: as much as this one was given first
   * @throws ContainerdError: "wrong-state" for one that was not made with `writable: true`
   */
  override async fork(options: ForkOptions = {}): Promise<Sandbox> {
    const { api } = this;
    const { ttl = this.#traits.ttl, owned = this.#traits.owned } = options;
    const request = forkRequest(this.id, { ...options, ttl, owned });
    const sandbox = new Sandbox(api, request.create.id, { ...this.#traits, ttl, owned });
    const { stdio, stdioDir } = this.#traits;
    const { signal, timeout } = options;
    await sandbox.startWith({ stdio, stdioDir, signal, timeout }, ({ paths }, call) =>
      fork(api, { ...request, run: paths }, call),
    );
    return sandbox;
  }

  /** Kills it, and takes it away with all that is its own. One that is gone already is no error. */
  override async remove(options: RemoveOptions = {}): Promise<void> {
    await super.remove({ force: true, ...options });
    this.#tellGone();
  }

  /** @internal Has it run from now on for who has asked for it. @param onGone is called when it is gone, as far as this program knows */
  async handOut(ttl: number, call: CallOptions, onGone: () => void): Promise<void> {
    const { id, api } = this;
    await api.again((signal) => api.calls.resume({ id, ttl: lifetimeOf(ttl) }, { signal }), call);
    this.#traits.ttl = ttl;
    this.#onGone = onGone;
    this.#startClock(ttl);
  }

  /** @internal Resolves when its program has printed a text, which is not in its stdout any more then. */
  async printed(text: string, signal: AbortSignal): Promise<void> {
    const { stdout } = this;
    let seen = Buffer.alloc(0);
    for (;;) {
      const at = seen.indexOf(text);
      if (at >= 0) {
        const rest = seen.subarray(at + Buffer.byteLength(text));
        if (rest.length > 0) stdout.unshift(rest);
        return;
      }
      const piece = stdout.read() as Buffer | null;
      if (piece !== null) seen = Buffer.concat([seen, piece]);
      else if (stdout.readableEnded || stdout.destroyed || seen.length > MAX_BEFORE_READY) {
        const said = JSON.stringify(String(seen.subarray(-200)));
        const why = `the sandbox's program has not printed ${JSON.stringify(text)}, but ${said}`;
        throw new ContainerdError("FAILED_PRECONDITION", why, { containerId: this.id });
      } else await more(stdout, signal);
    }
  }

  #startClock(ttl: number): void {
    this.#stopClock();
    this.#stopClock = startTimer(ttl, () => this.#tellGone(), false);
  }

  #tellGone(): void {
    this.#stopClock();
    if (this.#isGone) return;
    this.#isGone = true;
    this.#onGone();
  }
}

/** Waits until there is more to read, or nothing any more. @throws the signal's reason */
async function more(stream: Readable, signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const any = AbortSignal.any([settled.signal, signal]);
  const events = ["readable", "end", "close"].map((event) => once(stream, event, { signal: any }));
  for (const event of events) event.catch(() => {});
  try {
    await Promise.race(events);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    settled.abort();
  }
}

import { withTimeout } from "../../abortable.js";
import { type CallOptions, signalCheck } from "../../api/call-options.js";
import { whileLost } from "../../api/lost-daemon.js";
import type { Bundle } from "../../bundle/bundle.js";
import { ContainerdError } from "../../errors/containerd-error.js";
import { checkOptions } from "../../options/option-checks.js";
import { Container, type ContainerParts } from "./container.js";
import type { ContainerProcess } from "./container-process.js";

/** Milliseconds that the end of a container may take once it has been killed. */
const KILL_TIMEOUT = 10_000;

/** A container that this program has started: with `await using` it is gone at the end of the block. */
export class StartedContainer extends Container implements AsyncDisposable {
  readonly #parts: ContainerParts;
  readonly #bundleRemoved: Promise<void> | undefined;
  #ended = false;

  /** @internal */
  constructor(parts: ContainerParts, id: string, init: ContainerProcess, bundle?: Bundle) {
    super(parts, id, init);
    this.#parts = parts;
    if (!bundle) return;
    this.#bundleRemoved = this.#removeWhenGone(bundle);
    this.#bundleRemoved.catch(() => {});
  }

  /**
   * Kills it and resolves when nothing of it is left and output that is being read has come to its end. One that has ended
   * already is fine.
   *
   * @throws ContainerdError when the daemon is away, or the container does not end, for 10 s; the signal's reason.
   * @example
   * await using container = await client.v0.containers.start({ rootfs, args: ["sleep", "1000"] });
   */
  async remove(options: Pick<CallOptions, "signal"> = {}): Promise<void> {
    checkOptions<Pick<CallOptions, "signal">>(options, { signal: signalCheck });
    const { signal } = options;
    if (!this.#ended) await this.#end(signal);
    await this.init.close();
    await this.#bundleRemoved;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }

  async #end(signal: AbortSignal | undefined): Promise<void> {
    const kill = async (signal: AbortSignal | undefined) => {
      const ended = this.wait({ signal });
      // Its failure counts once the kill has got through.
      ended.catch(() => {});
      try {
        await this.#kill(signal);
        await ended;
      } catch (error) {
        if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
      }
    };
    await withTimeout(kill, { signal, timeout: KILL_TIMEOUT }, () => {
      const message = `container "${this.id}" has been killed but does not end`;
      return new ContainerdError("DEADLINE_EXCEEDED", message, { containerId: this.id });
    });
  }

  async #kill(signal: AbortSignal | undefined): Promise<void> {
    const { api, patience = KILL_TIMEOUT } = this.#parts;
    const { id } = this;
    try {
      await whileLost(() => api.signal({ id, signal: 9 }, { signal }), Math.min(patience, KILL_TIMEOUT), signal);
      // A frozen process dies when it thaws; in cgroup v2 it does at once. Then there is nothing to resume, as the runtime says in its own
      // words. Whether it ends is what counts.
      const { status } = await this.state({ signal });
      if (status === "paused") await this.resume({ signal }).catch(() => {});
    } catch (error) {
      // Between one call and the next it may end.
      if (!hasEnded(error)) throw error;
    }
  }

  async #removeWhenGone(bundle: Bundle): Promise<void> {
    try {
      await this.init.wait();
      this.#ended = true;
    } catch (error) {
      // With the client closed, or the daemon away for too long, the container may be running, and needs its bundle.
      if (!(error instanceof ContainerdError && error.isNotFound)) return;
    }
    await bundle.remove();
  }
}

/** Its processes go before it does, and the runtime says so in its own words. */
function hasEnded(error: unknown): boolean {
  return (
    error instanceof ContainerdError && (error.isNotFound || /no such process|process.*finished/.test(error.message))
  );
}

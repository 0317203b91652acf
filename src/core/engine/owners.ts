import type { Logger } from "pino";
import { watchOwner } from "../tasks/lifetime.js";
import type { Owner } from "../tasks/owner.js";
import type { EngineContainer } from "./engine-container.js";

/** The programs that containers belong to: each is watched once, whatever it has. */
export class Owners {
  readonly #log: Logger;
  readonly #gone: (container: EngineContainer) => void;
  readonly #watched = new Map<string, { containers: Set<EngineContainer>; release: () => void }>();

  /** @param gone is called for each container of a program that has ended; never throws */
  constructor(log: Logger, gone: (container: EngineContainer) => void) {
    this.#log = log;
    this.#gone = gone;
  }

  add(container: EngineContainer): void {
    const { owner } = container;
    if (owner === undefined) return;
    const key = keyOf(owner);
    const watched = this.#watched.get(key);
    if (watched !== undefined) {
      watched.containers.add(container);
      return;
    }
    const containers = new Set([container]);
    const entry = { containers, release: () => {} };
    this.#watched.set(key, entry);
    entry.release = watchOwner(this.#log, owner, () => {
      // Also when it had gone before.
      queueMicrotask(() => {
        this.#watched.delete(key);
        for (const one of containers) this.#gone(one);
      });
    });
  }

  remove(container: EngineContainer): void {
    if (container.owner === undefined) return;
    const key = keyOf(container.owner);
    const watched = this.#watched.get(key);
    if (watched === undefined) return;
    watched.containers.delete(container);
    if (watched.containers.size > 0) return;
    this.#watched.delete(key);
    watched.release();
  }
}

function keyOf({ pid, startTime, bootId }: Owner): string {
  return `${pid} ${startTime} ${bootId}`;
}

import { KILLED_STATUS } from "../../contract/shim/exit-status.js";
import { bootId } from "../../system/linux/boot-id.js";
import { bootTime, now } from "../../system/linux/clock.js";
import { Failure, refusal } from "../failure/failure.js";
import type { EngineContainer } from "./engine-container.js";
import type { ContainerExit } from "./kept-container.js";

/** Until when a container is there, as its record has it. */
export interface TimeToLive {
  /** In ms: how much it was given last. */
  ms: number;
  /** In ms since the machine has booted. */
  endsAt: number;
  /** With another one the time begins anew: that of the last boot means nothing any more. */
  bootId: string;
}

/** @param ms from now; 0 is none */
export function timeToLive(ms: number): TimeToLive | undefined {
  return ms === 0 ? undefined : { ms, endsAt: bootTime() + ms, bootId: bootId() };
}

/** @throws Failure (invalid-argument) */
export function checkTimeToLive(ms: number): void {
  if (!Number.isSafeInteger(ms) || ms < 0) throw refusal(`ttl ${ms}: not a time in ms`);
}

/** How many ends are remembered: enough for who asks again after a lost connection. */
const MAX_ENDS = 1_000;

/** Of a process that was killed as the time to live of its container was over, when no more is known of it. */
export function killedByExpiry(): ContainerExit & { expired: true } {
  return { status: KILLED_STATUS, at: now(), oomKilled: false, timedOut: false, error: "", expired: true };
}

/** How those ended whose time to live was over, for who waits, or asks, after they are gone. */
export class ExpiredContainers {
  readonly #ends = new Map<string, ContainerExit>();

  add({ namespace, id, exit }: EngineContainer): void {
    const key = `${namespace}/${id}`;
    this.#ends.delete(key);
    this.#ends.set(key, exit ?? killedByExpiry());
    if (this.#ends.size > MAX_ENDS) this.#ends.delete(this.#ends.keys().next().value!);
  }

  /** By its whole id. */
  get(namespace: string, id: string): ContainerExit | undefined {
    return this.#ends.get(`${namespace}/${id}`);
  }
}

/** For who asks for a container whose time to live was over. */
export function expired(id: string): Failure {
  const why = `no container ${JSON.stringify(id)} any more: its time to live was over`;
  return new Failure("not-found", "refused", { why, about: "ttl" });
}

import { KILLED_STATUS } from "../../contract/shim/exit-status.js";
import { bootId } from "../../system/linux/boot-id.js";
import { bootTime, now } from "../../system/linux/clock.js";
import { Failure } from "../failure/failure.js";
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

/** Of a process that was killed as the time to live of its container was over, when no more is known of it. */
export function killedByExpiry(): ContainerExit & { expired: true } {
  return { status: KILLED_STATUS, at: now(), oomKilled: false, timedOut: false, error: "", expired: true };
}

/** For who asks for a container whose time to live was over. */
export function expired(id: string): Failure {
  const why = `no container ${JSON.stringify(id)} any more: its time to live was over`;
  return new Failure("not-found", "refused", { why, about: "ttl" });
}

import type { Exit, Usage as UsageMessage } from "../../proto/containerdts/engine/v1/engine.js";
import { toDate } from "../timestamp.js";

/** What a container has used in its life. */
export interface Usage {
  /** Milliseconds of processor time; undefined when nobody could tell. */
  cpuTime: number | undefined;
  /** The most memory in bytes, as the kernel has kept it. */
  memoryPeak: number | undefined;
}

/** How a container, or a process in one, has ended. */
export interface ContainerExit {
  /** The exit code; 128 + N when signal N killed it. */
  status: number;
  /** By the daemon's clock. */
  at: Date | undefined;
  /** Whether the kernel has killed a process of the container for lack of memory. */
  oomKilled: boolean;
  /** Whether its lifetime was over. */
  timedOut: boolean;
  usage: Usage;
  /** Why it could not be started; "" when it ran. */
  error: string;
  /** Whether it was killed as the time to live of its container was over. */
  expired: boolean;
}

export function usageOf(usage: UsageMessage | undefined): Usage {
  return {
    cpuTime: usage && Number(usage.cpuTime) / 1e6,
    memoryPeak: usage?.memoryPeak === undefined ? undefined : Number(usage.memoryPeak),
  };
}

export function exitOf({ exitedAt, usage, ...same }: Exit): ContainerExit {
  return { ...same, at: exitedAt && toDate(exitedAt), usage: usageOf(usage) };
}

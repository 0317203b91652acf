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
}

export function usageOf(usage: UsageMessage | undefined): Usage {
  return {
    cpuTime: usage && Number(usage.cpuTime) / 1e6,
    memoryPeak: usage?.memoryPeak === undefined ? undefined : Number(usage.memoryPeak),
  };
}

export function exitOf({ status, exitedAt, oomKilled, timedOut, usage, error }: Exit): ContainerExit {
  return { status, at: exitedAt && toDate(exitedAt), oomKilled, timedOut, usage: usageOf(usage), error };
}

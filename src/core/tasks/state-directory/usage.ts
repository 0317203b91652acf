import { join } from "node:path";
import { USAGE_FILE } from "../../../contract/shim/process-directory.js";
import type { UsageJson } from "../../../contract/shim/usage-json.js";
import { readStateFile } from "./state-file.js";

/** What a container has used, as its shim has written it down before the cgroup went. */
export interface Usage {
  /** The most memory it had, in bytes; undefined where the kernel does not tell. */
  memoryPeak?: bigint;
  /** How many of its processes were killed for lack of memory. */
  oomKills?: bigint;
  /** In ns; undefined where the kernel does not tell. */
  cpuTime?: bigint;
}

/** Of a container's init. Empty when it runs, or had another shim, or one that was killed. */
export function readUsage(directory: string): Usage {
  try {
    const { memoryPeak, oomKills, cpuTime } = JSON.parse(readStateFile(join(directory, USAGE_FILE))) as Record<
      keyof UsageJson,
      unknown
    >;
    return {
      ...(isCount(memoryPeak) && { memoryPeak: BigInt(memoryPeak) }),
      ...(isCount(oomKills) && { oomKills: BigInt(oomKills) }),
      ...(isCount(cpuTime) && { cpuTime: BigInt(cpuTime) }),
    };
  } catch {
    return {};
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

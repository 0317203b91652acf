import { writeFileSync } from "node:fs";
import { errorText, hasCode } from "../linux/libc.js";
import { readCount } from "./control-file.js";

/** v1's limits that runtimes of today pass over in silence. In bytes, but for the weight. */
export interface KernelLimits {
  kernelMemory?: bigint;
  kernelTcpMemory?: bigint;
  leafWeight?: bigint;
}

/**
 * Sets v1 limits in the given directories of the memory and blkio controllers; undefined: the cgroup is in none.
 * @throws Error that names the limit when the kernel does not have it any more, or takes no notice of it (kernels since 5.16 and kernel
 *   memory)
 */
export function writeKernelLimits(limits: KernelLimits, memory: string | undefined, blkio: string | undefined): void {
  setAndCheck("kernelMemory", memory, "memory.kmem.limit_in_bytes", limits.kernelMemory);
  setAndCheck("kernelTcpMemory", memory, "memory.kmem.tcp.limit_in_bytes", limits.kernelTcpMemory);
  setAndCheck("leafWeight", blkio, "blkio.leaf_weight", limits.leafWeight);
}

/** The kernel counts memory in pages: it rounds down. */
const PAGE = 65536n;

function setAndCheck(limit: keyof KernelLimits, directory: string | undefined, file: string, value?: bigint): void {
  if (value === undefined) return;
  const unsupported = `${limit}: this kernel has no such limit`;
  if (directory === undefined) throw new Error(unsupported);
  try {
    writeFileSync(`${directory}/${file}`, String(value), { flag: "r+" });
  } catch (error) {
    const missing = hasCode(error, "ENOENT") || hasCode(error, "ENOTSUP");
    throw new Error(missing ? unsupported : `${limit}: ${errorText(error)}`, { cause: error });
  }
  const now = readCount(directory, file);
  // -1 is no limit: the kernel's own huge number.
  if (value < 0n ? now < 1n << 60n : now > value || now + PAGE < value) throw new Error(unsupported);
}

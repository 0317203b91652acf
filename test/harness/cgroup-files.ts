/** The files of a container's cgroup, as this machine has it mounted (v1 or hybrid). */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Its directory in the hierarchy of a v1 controller, or in v2's beside them (hybrid) when none has it. */
export function cgroupDirectory(pid: number, controller: string): string {
  let unified: string | undefined;
  for (const line of readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n")) {
    const [, controllers, ...path] = line.split(":");
    if (controllers?.split(",").includes(controller)) return join("/sys/fs/cgroup", controller, path.join(":"));
    if (controllers === "") unified = join("/sys/fs/cgroup/unified", path.join(":"));
  }
  if (unified !== undefined) return unified;
  throw new Error(`process ${pid} is in no hierarchy of ${controller}`);
}

/** The trimmed text of one of its files, undefined where the kernel has none. */
export function cgroupFile(pid: number, controller: string, name: string): string | undefined {
  const path = join(cgroupDirectory(pid, controller), name);
  return existsSync(path) ? readFileSync(path, "utf8").trim() : undefined;
}

const limitFiles: Record<string, RegExp> = {
  blkio: /^blkio\.(throttle\.(read|write)_(bps|iops)_device|(bfq\.)?(leaf_)?weight(_device)?)$/,
  cpu: /^cpu\.(shares|cfs_\w+|rt_\w+)$/,
  cpuset: /^cpuset\.(cpus|mems)$/,
  devices: /^devices\.list$/,
  freezer: /^freezer\.state$/,
  memory: /^memory\.(.*limit_in_bytes|swappiness)$/,
  pids: /^pids\.max$/,
};

/** Every limit that the kernel has for the container: file name → text. */
export function limits(pid: number): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [controller, pattern] of Object.entries(limitFiles)) {
    for (const name of readdirSync(cgroupDirectory(pid, controller))) {
      if (pattern.test(name)) found[name] = cgroupFile(pid, controller, name)!;
    }
  }
  return found;
}

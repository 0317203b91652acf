/**
 * A machine with cgroup v2 alone, as far as this one can be one: a mount namespace in which /sys/fs/cgroup is a cgroup2 mount.
 * On a hybrid machine only the controllers that no v1 hierarchy holds are in it (often just hugetlb).
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { unpackedProgram } from "./paths.js";

/** Whether the machine's own /sys/fs/cgroup is a cgroup2 mount: then nothing needs to be replaced. */
function alreadyPure(): boolean {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[4] === "/sys/fs/cgroup" && line.includes(" - cgroup2 "));
}

const replace =
  "while umount /sys/fs/cgroup/* 2>/dev/null; do :; done; umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup";

/** The command that runs its last arguments with cgroup v2 alone (a daemon's `wrapper`). */
export function inCgroupV2(): string[] {
  if (alreadyPure()) return ["env"];
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", `${replace}; exec "$@"`, "sh"];
}

/** The command that runs its last arguments with cgroup v1 alone: crun refuses hybrid hierarchies. */
export function inCgroupV1(): string[] {
  const unmount = "umount -l /sys/fs/cgroup/unified 2>/dev/null";
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", `${unmount}; exec "$@"`, "sh"];
}

/** Why there are no tests with cgroup v2 on this machine, or undefined: `describe.skipIf(withoutCgroupV2())`. */
export function withoutCgroupV2(): string | undefined {
  const [program, ...args] = [...inCgroupV2(), "test", "-e", "/sys/fs/cgroup/cgroup.controllers"];
  const { status, stderr } = spawnSync(program!, args, { encoding: "utf8" });
  return status === 0 ? undefined : `no cgroup v2 here: ${stderr.trim() || "it cannot be mounted"}`;
}

/** A crun that works with cgroup v2 on this machine: of Debian trixie, unpacked privately. */
export function crunForCgroupV2(): string | undefined {
  return unpackedProgram("crun");
}

/** A daemon that sees no cgroups of its containers, as with a runtime that runs them in virtual machines. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./paths.js";

/** The command that runs its last arguments where no cgroup hierarchy is mounted (a daemon's `wrapper`). */
export function withoutCgroups(): string[] {
  const unmount = "umount -l /sys/fs/cgroup";
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", `${unmount}; exec "$@"`, "sh"];
}

/** Writes a runtime into `directory` that works where this process is, wherever it is called from; its path. */
export function outsideRuntime(directory: string, name: string): string {
  const path = join(directory, name);
  const enter = `nsenter --mount=/proc/${process.pid}/ns/mnt --wd="$PWD"`;
  writeFileSync(path, `#!/bin/sh\necho "$*" >>${path}.calls\nexec ${enter} ${findProgram("runc")} "$@"\n`, {
    mode: 0o755,
  });
  return path;
}

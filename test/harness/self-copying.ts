import { existsSync, readFileSync } from "node:fs";
import { findProgram } from "./paths.js";

/** Why the daemon makes no copy of this runtime's program on this machine; undefined when it does. */
export function whyNotCopied(runtime: string): string | undefined {
  if (existsSync("/sys/fs/selinux/enforce")) return "SELinux is on";
  const path = findProgram(runtime);
  if (path === undefined) return `${runtime} is not installed`;
  if (!readFileSync(path).includes("_cloned:/proc/self/exe"))
    return `this ${runtime} does not copy itself (runc since 1.2)`;
  return undefined;
}

/** Mounts that a client makes itself, of what Snapshots.Mounts answers. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, realpathSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { Mount } from "../../src/proto/containerd/types/mount.js";

/** Mounts them over each other at a new directory, by mount(8), as one would at a shell; the directory goes with the mounts. */
export class Mounted implements Disposable {
  readonly path: string;
  #count = 0;

  /** @param dir of a test: what is left mounted below it goes with its daemon */
  constructor(dir: string, mounts: readonly Mount[]) {
    this.path = mkdtempSync(join(dir, "mounted-"));
    for (const { type, source, options } of mounts) {
      run("mount", "--types", type, "--options", options.join(), source, this.path);
      this.#count++;
      // By mount(8) a bind mount is read-only only once it is mounted anew.
      if (type === "bind" && options.includes("ro")) run("mount", "--options", "remount,bind,ro", this.path);
    }
  }

  [Symbol.dispose](): void {
    for (; this.#count > 0; this.#count--) run("umount", this.path);
    rmdirSync(this.path);
  }
}

/** The lines of mountinfo about what is mounted below a directory. */
export function mountsBelow(directory: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.split(" ")[4]?.startsWith(`${realpathSync(directory)}/`));
}

function run(program: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw error ?? new Error(`${program} ${args.join(" ")}: ${stderr}`);
}

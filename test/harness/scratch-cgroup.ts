import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * For tests: a cgroup of its own in the hierarchies of this machine, and processes in it. `await using` removes all of it, also after a
 * failure.
 */
export class ScratchCgroup {
  static #made = 0;
  readonly name = `containerd-ts-test-${process.pid}-${ScratchCgroup.#made++}`;
  /** Its directory in each hierarchy, by the hierarchy's name below /sys/fs/cgroup. */
  readonly paths: ReadonlyMap<string, string>;
  readonly #processes: ChildProcess[] = [];

  constructor(hierarchies: readonly string[]) {
    this.paths = new Map(hierarchies.map((hierarchy) => [hierarchy, `/sys/fs/cgroup/${hierarchy}/${this.name}`]));
    for (const path of this.paths.values()) mkdirSync(path);
  }

  path(hierarchy: string): string {
    return this.paths.get(hierarchy)!;
  }

  write(hierarchy: string, file: string, text: string): void {
    writeFileSync(`${this.path(hierarchy)}/${file}`, text);
  }

  /** Starts a shell command inside the cgroup, or a cgroup below it. */
  run(command: string, below = ""): ChildProcess & { pid: number } {
    const enter = [...this.paths.values()].map((path) => `echo 0 > ${path}/${below}/cgroup.procs`).join(" && ");
    const child = spawn("/bin/sh", ["-c", `${enter} && ${command}`], { stdio: ["ignore", "pipe", "inherit"] });
    this.#processes.push(child);
    return child as ChildProcess & { pid: number };
  }

  /** Starts a process that says when it is there. */
  async runReady(command: string, below = ""): Promise<number> {
    const child = this.run(`echo ready && ${command}`, below);
    await new Promise((resolve, reject) => {
      child.stdout!.once("data", resolve);
      child.once("exit", () => reject(new Error(`${command} exited`)));
    });
    return child.pid;
  }

  makeBelow(name: string): void {
    for (const path of this.paths.values()) mkdirSync(`${path}/${name}`);
  }

  /** Kills all processes and removes the directories. */
  async remove(): Promise<void> {
    if (existsSync("/sys/fs/cgroup/freezer") && this.paths.has("freezer") && existsSync(this.path("freezer"))) {
      this.write("freezer", "freezer.state", "THAWED");
    }
    for (const process of this.#processes) process.kill("SIGKILL");
    for (const path of this.paths.values()) {
      // A process leaves its cgroup a moment after it was killed.
      for (let tries = 0; existsSync(path); tries++) {
        try {
          removeTree(path);
        } catch (error) {
          if (tries === 200) throw error;
          for (const pid of pidsIn(path)) process.kill(pid, "SIGKILL");
          await sleep(10);
        }
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }
}

function removeTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(`${path}/${entry.name}`);
  }
  rmdirSync(path);
}

function pidsIn(path: string): number[] {
  return readFileSync(`${path}/cgroup.procs`, "latin1").split("\n").filter(Boolean).map(Number);
}

/** Which of these hierarchies this machine has, writable for this user. */
export function hasHierarchies(...hierarchies: string[]): boolean {
  return process.getuid?.() === 0 && hierarchies.every((name) => existsSync(`/sys/fs/cgroup/${name}/cgroup.procs`));
}

/**
 * Real errors for a daemon under load: a full file system, no descriptors, no processes, unreadable files, runtimes and shims that hang or
 * fail.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import type { TestDaemon } from "../harness/daemon.js";
import { spawnerCommand } from "../harness/leftovers.js";
import { kill, openDescriptors, type ProcessInfo, processes } from "../harness/processes.js";
import { directoryPrefix } from "../harness/run-name.js";
import { eventually } from "../harness/wait.js";
import { FaultyRuntime, runtimeFaults } from "./faulty-runtime.js";
import type { Random } from "./random.js";

/** Begins a fault; what is answered ends it. */
/** Ends a fault. */
type End = () => void | Promise<void>;
type Fault = (world: FaultyWorld, random: Random) => End | Promise<End>;

/** A small file system for the state directory, made before the daemon. */
export class SmallDisk implements Disposable {
  readonly #mount = mkdtempSync(`${directoryPrefix()}disk-`);
  readonly stateDir = join(this.#mount, "state");
  static readonly #roomy = "size=16m,nr_inodes=8000";

  constructor() {
    execFileSync("mount", ["-t", "tmpfs", "-o", `mode=755,${SmallDisk.#roomy}`, "ctd-test", this.#mount]);
    mkdirSync(this.stateDir);
  }

  /** So many blocks or inodes are left, or a few more when they are just being taken. */
  shrink(what: "blocks" | "inodes", left: number): void {
    const { blocks, bfree, bsize, files, ffree } = statfsSync(this.#mount);
    const limit = what === "blocks" ? `size=${(blocks - bfree + left) * bsize}` : `nr_inodes=${files - ffree + left}`;
    try {
      this.#remount(limit);
    } catch (error) {
      // No limit below what is in use.
      if (left > 1000) throw error;
      this.shrink(what, left + 5);
    }
  }

  grow(): void {
    this.#remount(SmallDisk.#roomy);
  }

  #remount(options: string): void {
    execFileSync("mount", ["-o", `remount,${options}`, this.#mount], { stdio: "pipe" });
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["--lazy", this.#mount]);
    rmSync(this.#mount, { recursive: true });
  }
}

/** Where a cgroup can limit the number of processes: v1's own hierarchy, or v2. */
const pidsHierarchy = existsSync("/sys/fs/cgroup/pids") ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";

export class FaultyWorld implements AsyncDisposable {
  readonly runtime: FaultyRuntime;
  /** How often each fault was there. */
  readonly counts: Record<string, number> = {};
  readonly #cgroup: string;

  constructor(
    readonly daemon: TestDaemon,
    readonly disk: SmallDisk,
  ) {
    this.runtime = new FaultyRuntime(daemon.dir);
    this.#cgroup = join(pidsHierarchy, `faults-${basename(daemon.dir)}`);
    mkdirSync(this.#cgroup);
  }

  /** The daemon's own processes, as far as they are there at this moment. */
  get spawner(): ProcessInfo | undefined {
    return processes().find(({ parent, command }) => parent === this.daemon.pid && command === spawnerCommand);
  }

  get shims(): ProcessInfo[] {
    const { stateDir } = this.daemon;
    return processes().filter(
      ({ directory, command }) => directory.startsWith(`${stateDir}/`) && command.includes("containerd-shim"),
    );
  }

  /** Limits how many more processes and threads daemon, spawner, shims and runtimes can make. */
  limitProcesses(more: number | "max"): void {
    if (more === "max") {
      writeFileSync(join(this.#cgroup, "pids.max"), "max");
      return;
    }
    for (const pid of [this.daemon.pid, this.spawner?.pid, ...this.shims.map((shim) => shim.pid)]) {
      if (pid === undefined) continue;
      try {
        writeFileSync(join(this.#cgroup, "cgroup.procs"), String(pid));
      } catch (error) {
        // It has just ended.
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
    const current = Number(readFileSync(join(this.#cgroup, "pids.current"), "utf8"));
    writeFileSync(join(this.#cgroup, "pids.max"), String(current + more));
  }

  /** Begins a fault of any kind. What is answered ends it; it may be called more than once. */
  async begin(random: Random): Promise<{ name: string; end: End }> {
    const kind = random.pick(kinds);
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    if (kind !== RUNTIME) return { name: kind, end: await faults[kind]!(this, random) };
    const fault = random.pick(runtimeFaults);
    this.runtime.begin(fault);
    return { name: `${RUNTIME}: ${fault}`, end: () => this.runtime.end() };
  }

  /** Ends every fault and lets go of the daemon's processes, which are gone by then. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.runtime.end();
    await eventually(() => {
      rmdirSync(this.#cgroup);
      return true;
    });
  }
}

/** A limit of a process, set to what it holds and a few more. */
function limitDescriptors(pid: number, more: number): () => void {
  const limits = /^Max open files\s+(\d+)\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))!;
  execFileSync("prlimit", ["--pid", `${pid}`, `--nofile=${openDescriptors(pid).size + more}:${limits[2]}`]);
  return () => {
    try {
      execFileSync("prlimit", ["--pid", `${pid}`, `--nofile=${limits[1]}:${limits[2]}`], { stdio: "ignore" });
    } catch {
      // It was killed meanwhile.
    }
  };
}

function stop(targets: ProcessInfo[]): () => void {
  for (const { pid } of targets) kill(pid, "SIGSTOP");
  return () => {
    for (const { pid } of targets) kill(pid, "SIGCONT");
  };
}

/** Mounts the file of a memory over it, whose first bytes nobody has mapped: reading them is an input/output error. */
function makeUnreadable(path: string): void {
  execFileSync("mount", ["--bind", `/proc/${process.pid}/mem`, path], { stdio: "pipe" });
}

/** The container's directory may have got another name meanwhile, and may get one at any moment: then it is looked for again. */
async function makeReadable(directory: string): Promise<void> {
  await eventually(() => {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) => line.split(" ").slice(3))
      .filter(([root, path]) => root === `/${process.pid}/mem` && path!.startsWith(`${directory}/`));
    for (const [, path] of mounts) spawnSync("umount", [path!]);
    return mounts.length === 0;
  });
}

const faults: Record<string, Fault> = {
  "ENOSPC: no blocks": ({ disk }, random) => {
    disk.shrink("blocks", random.integer(0, 4));
    return () => disk.grow();
  },
  "ENOSPC: no inodes": ({ disk }, random) => {
    disk.shrink("inodes", random.integer(0, 12));
    return () => disk.grow();
  },
  "EMFILE: the daemon": ({ daemon }, random) => limitDescriptors(daemon.pid, random.integer(0, 12)),
  "EMFILE: the spawner": ({ spawner }, random) =>
    spawner === undefined ? () => {} : limitDescriptors(spawner.pid, random.integer(0, 6)),
  "EAGAIN: no processes": (world, random) => {
    world.limitProcesses(random.integer(0, 25));
    return () => world.limitProcesses("max");
  },
  "EIO: config.json": async ({ daemon, runtime }, random) => {
    const name = `unreadable-${random.integer(0, 2 ** 30)}`;
    const config = join(daemon.bundle(name, { args: ["true"] }), "config.json");
    makeUnreadable(config);
    try {
      const request = { id: daemon.id(name), bundlePath: join(config, ".."), runtime: runtime.path };
      const failure = await daemon.api.createContainer(request).then(
        () => "it was started",
        (error: Error) => error.message,
      );
      if (!/input\/output error|EIO/i.test(failure))
        throw new Error(`a start with an unreadable config.json: ${failure}`);
    } finally {
      execFileSync("umount", [config]);
    }
    return () => {};
  },
  /** The next daemon can't read it, nobody can remove it. */
  "EIO, EBUSY: a file of a container": async ({ daemon }, random) => {
    const { containers } = await daemon.api.state();
    const file = random.pick(["state.json", "init/process.json", "init/pid", "init/starttime", "init/shim"]);
    for (const { id } of containers.slice(0, random.integer(1, 3))) {
      try {
        makeUnreadable(join(daemon.stateDir, id, file));
      } catch {
        // It has just ended.
      }
    }
    return () => makeReadable(daemon.stateDir);
  },
  "a shim stands still": ({ shims }, random) => stop(shims.length === 0 ? [] : [random.pick(shims)]),
  "the spawner stands still": ({ spawner }) => stop(spawner === undefined ? [] : [spawner]),
};

const RUNTIME = "the runtime";
/** What is picked from: a runtime can go wrong in many ways. */
const kinds = [...Object.keys(faults), ...Array.from({ length: 4 }, () => RUNTIME)];

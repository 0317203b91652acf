import { setMaxListeners } from "node:events";
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Cgroup } from "../../system/cgroup/cgroup.js";
import { bootTime } from "../../system/linux/clock.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import type { Mount } from "../../system/mount/mount.js";
import { Failure, taskNotFound } from "../failure/failure.js";
import { concealEnvironment } from "../failure/log-text.js";
import { stringifyJson } from "../files/json.js";
import { writeAtomically } from "../files/write-atomically.js";
import { Turns } from "../scheduling/turns.js";
import type { TaskOomWatch } from "./exit/oom.js";
import type { TaskName } from "./history.js";
import type { Owner } from "./owner.js";
import { INIT, Process, type Stdio } from "./process.js";
import { rootIds, translateOldSpec } from "./runtime/bundle.js";
import { type ExecFifo, OciRuntime } from "./runtime/oci-runtime.js";
import { RuntimeContainer } from "./runtime/runtime-container.js";
import type { OciProcess, OciSpec } from "./runtime/spec.js";
import { abandonExec, abandonInit, killOrphans } from "./shims/abandon.js";
import { launchShim, type ShimProgram } from "./shims/shim.js";
import { type ContainerState, writeContainerState } from "./state-directory/container-state.js";
import { BUNDLE, processDirectoriesAmong } from "./state-directory/ownership.js";
import { makeWhole, removeTree, takeAway } from "./state-directory/partial-directory.js";
import type { Removals } from "./state-directory/removals.js";
import { TaskCgroup } from "./task-cgroup.js";

/** Where a bundle that is made here has its root file system. */
const ROOTFS = "rootfs";
const SHARED_MEMORY = "shm";
/** The file that marks one whose exit has been told; no process may have such a name. */
const ENDED = "state.json.ended";

/** The user and group that a task's pipes belong to. */
export interface IoOwner {
  uid: number;
  gid: number;
}

export interface TaskOptions extends TaskName {
  /** "" for one that is made with the task, in its directory. */
  bundle: string;
  rootfs: readonly Mount[];
  /** Whether these are overlays of our own layers. */
  isOurRootfs?: boolean | undefined;
  labels: string[];
  stdio: Stdio;
  runtime: string;
  runtimeArgs: readonly string[];
  shim: ShimProgram;
  noPivotRoot: boolean;
  /** Its processes get the session keyring of whoever has called the runtime. */
  noNewKeyring?: boolean | undefined;
  owner?: Owner | undefined;
  endsAt?: number | undefined;
  ioOwner?: IoOwner | undefined;
  deleteOnExit: boolean;
}

/**
 * One task: its directory below the state directory, its runtime and its processes. Changes itself only; who may do what when is for the
 * operations.
 */
export class Task implements TaskName {
  readonly namespace: string;
  readonly id: string;
  readonly directory: string;
  readonly bundle: string;
  /** What is mounted at `rootfs` in its bundle for as long as it is there. */
  readonly rootfs: readonly Mount[];
  /** These are overlays of our own layers, of which none keeps this process waiting. */
  readonly isOurRootfs: boolean;
  readonly labels: string[];
  readonly runtime: OciRuntime;
  readonly shim: ShimProgram;
  readonly noPivotRoot: boolean;
  /** The program that it ends with; undefined: it belongs to nobody. */
  readonly owner: Owner | undefined;
  /** In ms since the machine has booted: when it is ended if it still runs. */
  endsAt: number | undefined;
  /** Ends the wait for that. */
  stopClock: () => void = () => {};
  /** Whether it, and each of its execs, is forgotten as soon as the exit is told: nobody comes to ask for it, and to delete it. */
  readonly deleteOnExit: boolean;
  /** Its init and its execs, from when they are added until they are deleted. */
  readonly processes = new Map<string, Process>();
  /** In ms: how long its creation took. */
  creationTook = 0;
  /** Its creation is over, and what belongs to that: others may know of it. */
  isKnown = false;
  /** Once it was made to run. */
  oom: TaskOomWatch | undefined;
  /** The order of operations on this container. */
  readonly turns = new Turns();
  /** What was asked for last; for one without a cgroup on this host, which nobody else can tell of. */
  paused = false;
  /** In ms since the machine has booted: when its processes went on last after a pause. */
  resumedAt = 0;
  /** There while it is being saved: that freezes it for a while, which is no pause of anybody's. */
  wasPaused: boolean | undefined;
  /** The daemon has ended its init, and with it whatever else ran in it. */
  killed = false;
  readonly #removals: Removals;
  readonly #stdio: Stdio;
  readonly #ioOwner: IoOwner | undefined;
  readonly #noNewKeyring: boolean;
  /** What it keeps account of, also when its processes have moved elsewhere. */
  readonly ownCgroup: TaskCgroup;
  /** What it is for the runtime. */
  readonly container: RuntimeContainer;
  /** Where its directory is while it is being removed. */
  #partial: string | undefined;
  readonly #exited = new AbortController();

  private constructor(removals: Removals, directory: string, options: TaskOptions) {
    this.#removals = removals;
    this.namespace = options.namespace;
    this.id = options.id;
    this.directory = directory;
    this.bundle = options.bundle || join(directory, BUNDLE);
    this.rootfs = options.rootfs;
    this.isOurRootfs = options.isOurRootfs ?? false;
    this.labels = options.labels;
    this.runtime = new OciRuntime(options.runtime, options.runtimeArgs);
    this.shim = options.shim;
    this.noPivotRoot = options.noPivotRoot;
    this.owner = options.owner;
    this.endsAt = options.endsAt;
    this.deleteOnExit = options.deleteOnExit;
    this.#stdio = options.stdio;
    this.#ioOwner = options.ioOwner;
    this.#noNewKeyring = options.noNewKeyring ?? false;
    this.ownCgroup = new TaskCgroup(directory);
    this.container = new RuntimeContainer(this.runtime, this.ownCgroup, this.id, this.bundle, directory);
    // Every operation on the container listens to it; many at once are no leak.
    setMaxListeners(0, this.#exited.signal);
  }

  /**
   * Makes the container's directory and state.json: from now on the id is taken.
   * @param own the config.json of a bundle that is made with it, and its group, which is let in
   * @throws Failure (already-exists), or a system error; nothing is left then
   */
  static create(removals: Removals, directory: string, options: TaskOptions, own?: OwnBundle): Task {
    const task = new Task(removals, directory, options);
    try {
      makeWhole(
        task.directory,
        (partial) => {
          if (own !== undefined) makeBundle(partial, own);
          writeFileSync(join(partial, "state.json"), JSON.stringify(task.state), { mode: 0o600 });
        },
        removals,
      );
    } catch (error) {
      if (!["ENOTEMPTY", "EEXIST", "ENOTDIR"].some((code) => hasCode(error, code))) {
        throw new Failure("internal", "system", { why: errorText(error) }, { cause: error });
      }
      throw new Failure("already-exists", "name-taken", { what: "container", path: task.directory }, { cause: error });
    }
    return task;
  }

  /** Takes over a task that another daemon, or this one before its restart, has left, without its processes. */
  static load(removals: Removals, directory: string, name: TaskName, state: ContainerState, shim: ShimProgram): Task {
    const { namespace, id } = name;
    return new Task(removals, directory, {
      namespace,
      // Those of containerd 0.2's API are; only they have no namespace.
      deleteOnExit: namespace === "",
      id,
      bundle: state.bundle,
      rootfs: state.rootfs ?? [],
      isOurRootfs: state.isOurRootfs,
      labels: [...(state.labels ?? [])],
      stdio: { stdin: state.stdin, stdout: state.stdout, stderr: state.stderr },
      runtime: state.runtime,
      runtimeArgs: state.runtimeArgs ?? [],
      shim,
      noPivotRoot: state.noPivotRoot,
      owner: state.owner,
      endsAt: state.endsAt,
    });
  }

  /** What state.json holds. */
  get state(): ContainerState {
    return {
      bundle: this.bundle,
      labels: this.labels,
      stdin: this.#stdio.stdin,
      stdout: this.#stdio.stdout,
      stderr: this.#stdio.stderr,
      runtime: this.runtime.name,
      runtimeArgs: this.runtime.args,
      shim: this.shim.name,
      noPivotRoot: this.noPivotRoot,
      owner: this.owner,
      endsAt: this.endsAt,
      ...(this.rootfs.length > 0 && { rootfs: this.rootfs }),
      ...(this.isOurRootfs && { isOurRootfs: true }),
    };
  }

  /** Also for daemons to come. Throws a system error; nothing is changed then. */
  changeEnd(endsAt: number | undefined): void {
    writeContainerState(this.directory, { ...this.state, endsAt });
    this.endsAt = endsAt;
  }

  /** Where the root file system of a bundle that was made with it is mounted. */
  get rootfsPath(): string {
    return rootfsIn(this.#partial ?? this.directory);
  }

  /** Whether something may be mounted in its directory. */
  get hasMounts(): boolean {
    return this.rootfs.length > 0 || (this.namespace !== "" && existsSync(sharedMemoryIn(this.directory)));
  }

  /** Where something may be mounted in its directory. */
  get mountPoints(): readonly string[] {
    return mountPointsIn(this.#partial ?? this.directory);
  }

  /** Names of the process directories on disk. */
  processDirectories(): string[] {
    return processDirectoriesAmong(readdirSync(this.directory, { withFileTypes: true }), this.namespace);
  }

  get init(): Process | undefined {
    return this.processes.get(INIT);
  }

  /** Those that run, or whose end has not been told yet. */
  get running(): Process[] {
    return [...this.processes.values()].filter(({ status }) => status === "running");
  }

  /** A process that was added, whatever has become of it, by its name. Throws Failure (not-found). */
  process(name: string): Process {
    const process = this.processes.get(name);
    if (process === undefined) throw new Failure("not-found", "process-not-found", { id: this.id, pid: name });
    return process;
  }

  get status(): "created" | "running" | "paused" | "stopped" {
    if (this.#exited.signal.aborted) return "stopped";
    if (this.init === undefined || this.init.status === "added") return "created";
    return this.isPaused ? "paused" : "running";
  }

  get isPaused(): boolean {
    return this.wasPaused ?? this.cgroup?.frozen() ?? this.paused;
  }

  /** Throws Failure (failed-precondition) when it has stopped. */
  requireLife(): void {
    if (this.init?.status === "stopped") throw this.#notRunning();
  }

  /** Throws Failure (failed-precondition) unless its init runs. */
  requireRunning(): void {
    if (this.init?.status !== "running") throw this.#notRunning();
  }

  #notRunning(): Failure {
    return new Failure("failed-precondition", "task-not-running", { id: this.id, status: this.status });
  }

  /** Aborted once the init has exited: what still waits for this container gives up. */
  get exited(): AbortSignal {
    return this.#exited.signal;
  }

  markExited(): void {
    this.#exited.abort(taskNotFound(this.id));
  }

  /** Its cgroup; undefined when it has none on this host (a VM runtime) or it is gone. */
  get cgroup(): Cgroup | undefined {
    const { init } = this;
    // The pid of one that has ended may be another process's.
    return init === undefined || init.status === "stopped" ? undefined : this.ownCgroup.find(init.systemPid);
  }

  /** Whether a daemon that keeps account of its cgroup has started it. */
  get remembersCgroup(): boolean {
    return this.ownCgroup.isWritten;
  }

  /**
   * Creates the container with the runtime, or restores it from a checkpoint (which also starts it).
   * @param spec of its bundle
   * @param checkpoint path of the checkpoint; "" for a fresh start
   * @param signal ends the attempt
   * @throws Failure; the runtime and the process table are clean then, the directory is the caller's to remove
   */
  async create(spec: OciSpec, checkpoint: string, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    const { uid, gid } = this.#ioOwner ?? rootIds(spec);
    const directory = join(this.directory, INIT);
    const runtimeDirectory = checkpoint === "" ? this.runtime.directoryToRemove(this.id, spec) : undefined;
    const state = {
      ...spec.process,
      exec: false,
      ...this.#shared(this.#stdio),
      ...(this.#noNewKeyring && { noNewKeyring: true }),
      ...(runtimeDirectory !== undefined && { runtimeDirectory }),
      checkpoint,
      rootUID: uid,
      rootGID: gid,
      container: this.state,
    };
    const proc = Process.create(directory, INIT, state, this.#removals);
    let bundle = this.bundle;
    try {
      this.ownCgroup.expect(spec.linux?.cgroupsPath || this.id);
      const translated = translateOldSpec(spec, this.bundle);
      if (translated !== undefined) {
        writeAtomically(join(directory, "config.json"), stringifyJson(translated));
        bundle = directory;
      }
      // The hooks that come after the start are the runtime's to run.
      const hasHooks = (spec.hooks?.poststart?.length ?? 0) > 0;
      await this.#launch(proc, bundle, signal, hasHooks ? undefined : this.runtime.execFifo(this.id));
    } catch (error) {
      concealEnvironment(error, proc.state.env);
      await abandonInit(this, proc, error);
      throw error;
    }
    this.processes.set(INIT, proc);
    // Before it runs: later it may be elsewhere.
    this.ownCgroup.find(proc.systemPid);
    this.creationTook = performance.now() - began;
  }

  /**
   * Adds another process, which does not run yet.
   * @param more as of {@link ProcessState}
   * @throws Failure (already-exists) or a system error; nothing is left of it then
   */
  addExec(name: string, spec: OciProcess, stdio: Stdio, more: { endsAt?: number; silent?: boolean } = {}): Process {
    const directory = join(this.directory, name);
    const init = this.init?.state;
    const state = {
      ...spec,
      exec: true,
      ...more,
      ...this.#shared(stdio),
      checkpoint: "",
      rootUID: init?.rootUID ?? 0,
      rootGID: init?.rootGID ?? 0,
    };
    const proc = Process.create(directory, name, state, this.#removals);
    this.processes.set(name, proc);
    return proc;
  }

  /**
   * Runs a process that was added.
   * @throws Failure; nothing of it runs then
   */
  async startExec(proc: Process, signal: AbortSignal): Promise<void> {
    const began = ticksSinceBoot();
    try {
      await this.#launch(proc, this.bundle, signal);
    } catch (error) {
      concealEnvironment(error, proc.state.env);
      await abandonExec(proc, error);
      await killOrphans(this, began);
      throw error;
    }
  }

  #shared(stdio: Stdio) {
    return {
      containerdStdin: stdio.stdin,
      containerdStdout: stdio.stdout,
      containerdStderr: stdio.stderr,
      ...(stdio.leadsTo && { stdio: stdio.leadsTo }),
      runtimeArgs: this.runtime.args,
      noPivotRoot: this.noPivotRoot,
    };
  }

  async #launch(proc: Process, bundle: string, signal: AbortSignal, execFifo?: ExecFifo): Promise<void> {
    proc.shim = await launchShim({
      program: this.shim,
      directory: proc.directory,
      containerId: this.id,
      bundle,
      runtime: this.runtime,
      execFifo,
      signal,
    });
    proc.setPid(await proc.shim.created(signal));
  }

  /** Its exit has been told; only the runtime does not let go of it. */
  get ended(): boolean {
    return lstatSync(join(this.directory, ENDED), { throwIfNoEntry: false })?.isFile() ?? false;
  }

  /** Throws a system error. */
  markEnded(): void {
    writeFileSync(join(this.directory, ENDED), "");
  }

  /** Forgets everything on disk: the id is free again. */
  removeDirectory(): void {
    // First, so that what a kill in the middle leaves is no container any more. And only once: the id may be another's by the next try.
    this.#partial ??= takeAway(this.directory);
    if (this.#partial !== undefined) removeTree(this.#partial);
    this.ownCgroup.forget();
  }
}

/** As field 22 of /proc/<pid>/stat has it; a moment ago, rather than too late. */
function ticksSinceBoot(): number {
  return Math.floor(bootTime() / 10) - 1;
}

/** Where the bundle of a task is that has it in its directory. */
export function bundleIn(directory: string): string {
  return join(directory, BUNDLE);
}

/** Where a task's root file system is mounted that has its bundle in its directory. */
export function rootfsIn(directory: string): string {
  return join(directory, BUNDLE, ROOTFS);
}

/** Where memory is that it shares with other containers, if it does, in the directory of a task. */
export function sharedMemoryIn(directory: string): string {
  return join(bundleIn(directory), SHARED_MEMORY);
}

export function mountPointsIn(directory: string): readonly string[] {
  return [rootfsIn(directory), sharedMemoryIn(directory)];
}

/** The bundle of a task that has none. */
export interface OwnBundle {
  /** Its config.json, byte for byte. */
  config: Buffer;
  /** The host's group of the container's root, which has to get to the root file system. */
  gid: number;
  /** Puts more into the bundle, whose path it gets; nobody sees it before. */
  fill?: ((bundle: string) => void) | undefined;
}

function makeBundle(directory: string, { config, gid, fill }: OwnBundle): void {
  const bundle = join(directory, BUNDLE);
  mkdirSync(bundle, { mode: 0o700 });
  mkdirSync(join(bundle, ROOTFS), { mode: 0o711 });
  writeFileSync(join(bundle, "config.json"), config, { mode: 0o600 });
  fill?.(bundle);
  if (gid === 0) return;
  for (const path of [directory, bundle]) {
    chownSync(path, -1, gid);
    // Nobody else may get there: what is in a root file system may be executable, and run as root.
    chmodSync(path, 0o710);
  }
}

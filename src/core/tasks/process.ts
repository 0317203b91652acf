import {
  closeSync,
  type Dirent,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { UNKNOWN_STATUS } from "../../contract/shim/exit-status.js";
import {
  ABANDONED_FILE,
  CONTROL_FIFO,
  CREATED_FILE,
  EXIT_FIFO,
  EXIT_STATUS_FILE,
  PID_FILE,
  PROCESS_JSON,
  RESERVED_EXIT_STATUS_FILE,
} from "../../contract/shim/process-directory.js";
import type { StdioJson } from "../../contract/shim/process-json.js";
import { now } from "../../system/linux/clock.js";
import { makeFifo, openFifo } from "../../system/linux/fifo.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { openPidFd, signalPidFd } from "../../system/linux/pidfd.js";
import { isAlive, startTimeOf } from "../../system/linux/proc-stat.js";
import { withReserve } from "../../system/linux/reserved-descriptors.js";
import { Failure } from "../failure/failure.js";
import { parseJson, stringifyJson } from "../files/json.js";
import { writeAtomically } from "../files/write-atomically.js";
import { ControlFifo, WAITING_REQUESTS } from "./shims/control-fifo.js";
import type { Shim } from "./shims/shim.js";
import type { Identity } from "./shims/shim-process.js";
import { removeTree, takeAway } from "./state-directory/partial-directory.js";
import { readPidFile } from "./state-directory/pid-file.js";
import { type ProcessState, parseProcessState } from "./state-directory/process-state.js";
import type { Removals } from "./state-directory/removals.js";
import { readStateFile, replaceStateFile, setAside } from "./state-directory/state-file.js";

/** The name of a container's first process. */
export const INIT = "init";

/** What a client calls the stdio of a process: paths of FIFOs or files, empty for /dev/null. */
export interface Stdio {
  stdin: string;
  stdout: string;
  stderr: string;
  /** Where the names lead, if they are no paths. */
  leadsTo?: StdioJson | undefined;
}

/** How a process has ended. */
export interface Exit {
  /** The exit code, or 128 + N for death by signal N. */
  readonly status: number;
  /** Nanoseconds since the epoch. */
  readonly at: bigint;
}

const SIGKILL = 9;

/** One process of a container: its init, or an exec. Knows its directory, its descriptors and the host's process behind it. */
export class Process {
  readonly id: string;
  readonly directory: string;
  readonly state: ProcessState;
  /** Read end of the exit FIFO: it hangs up when the shim has ended. -1 of one that had ended before this daemon. */
  readonly exitFd: number;
  readonly #control: ControlFifo | undefined;
  /** On the host; 0 until the runtime has created the process. */
  systemPid = 0;
  /** Field 22 of /proc/<pid>/stat; "" when the process was gone before it could be read. */
  startTime = "";
  /** Added (an init: created), then made to run, then told to have ended. */
  status: "added" | "running" | "stopped" = "added";
  /** It is being made to run. */
  isStarting = false;
  /** Settled unless its start is about to be told: that comes before its exit. */
  startTold: Promise<void> = Promise.resolve();
  /** Once it is stopped. */
  exit: Exit | undefined;
  /** A process of its container was killed for want of memory while this one, an exec, ran, and it ended with the status of such. */
  oomKilled = false;
  /** There while this daemon is the one that launched it. */
  shim: Shim | undefined;
  /** Its start is in the event log. */
  announced = false;
  /** This daemon has sent it SIGKILL. */
  killed = false;
  /** Settled once its exit has been reported; set by whoever starts it. */
  done: Promise<void> = Promise.resolve();
  /** Resolves when its shim is not waited for any longer. */
  readonly givenUp: Promise<void>;
  /** Has its exit told now, although its shim has not ended. */
  giveUp: () => void = () => {};
  #isOver = false;
  readonly #whenOver = new Set<() => void>();
  /** Where its directory is while it is being removed. */
  #partial: string | undefined;
  #closed = false;

  /** @param isOver it has ended, and nobody has to hear of that */
  private constructor(directory: string, id: string, state: ProcessState, isOver = false) {
    this.id = id;
    this.directory = directory;
    this.state = state;
    this.givenUp = new Promise((resolve) => {
      this.giveUp = resolve;
    });
    this.#closed = isOver;
    this.exitFd = isOver ? -1 : openFifo(join(directory, EXIT_FIFO), "read");
    if (isOver) return;
    try {
      this.#control = new ControlFifo(directory);
    } catch (error) {
      closeSync(this.exitFd);
      throw error;
    }
  }

  /**
   * Makes the process directory with all that the shim needs.
   * @throws Failure (already-exists) or a system error; nothing is left then, as soon as `removals` can remove it
   */
  static create(directory: string, id: string, state: ProcessState, removals: Removals): Process {
    makeDirectory(directory);
    try {
      writeAtomically(join(directory, PROCESS_JSON), stringifyJson(state));
      makeFifo(join(directory, EXIT_FIFO));
      makeFifo(join(directory, CONTROL_FIFO));
      return new Process(directory, id, state);
    } catch (error) {
      removals.now(directory, () => removeTree(directory));
      throw error;
    }
  }

  /**
   * Takes over a process that another daemon, or this one before its restart, has left.
   * @param startTime "" when nobody knows it: then it can't be signalled
   * @param isWritten whether its files say just that
   * @throws a system error
   */
  static load(directory: string, id: string, { pid, startTime }: Identity, isWritten = false): Process {
    const entries = mendFifos(directory);
    // Where its shim is to write: a FIFO would hold that up for ever.
    for (const name of [EXIT_STATUS_FILE, RESERVED_EXIT_STATUS_FILE]) {
      setAsideUnless("isFile", join(directory, name), entries.get(name));
    }
    const proc = new Process(directory, id, Process.readState(directory, id !== INIT));
    proc.takeOver({ pid, startTime }, isWritten);
    if (entries.has(WAITING_REQUESTS)) proc.#control?.takeOver();
    proc.announced = entries.has("started");
    return proc;
  }

  /** It is known which process it is: one that runs, as far as anybody was told. As {@link Process.load}. */
  takeOver({ pid, startTime }: Identity, isWritten = false): void {
    this.systemPid = pid;
    this.startTime = startTime;
    if (!isWritten) this.#mendIdentity();
    this.status = "running";
  }

  /**
   * Takes over an exec that was added, of which no process is known.
   * @param isOver it can't run any more: it takes no descriptor
   * @throws a system error
   */
  static loadAdded(directory: string, id: string, isOver: boolean): Process {
    if (!isOver) mendFifos(directory);
    return new Process(directory, id, Process.readState(directory, true), isOver);
  }

  /** Takes over one whose exit was told: it takes no descriptor. */
  static loadStopped(directory: string, id: string, identity: Identity | undefined): Process {
    const proc = new Process(directory, id, Process.readState(directory, id !== INIT), true);
    proc.systemPid = identity?.pid ?? 0;
    proc.startTime = identity?.startTime ?? "";
    proc.stop({ status: proc.exitStatus() ?? UNKNOWN_STATUS, at: proc.exitTime() });
    return proc;
  }

  /** Whether all was made that an exec has before it runs. */
  static isWhole(directory: string): boolean {
    return existsSync(join(directory, CONTROL_FIFO));
  }

  /** What process.json holds; where that is lost, what is known without it. */
  static readState(directory: string, isExec = false): ProcessState {
    // A half-written one (by another daemon: ours are whole) must not cost a running process its supervision.
    let value: unknown;
    try {
      value = parseJson(readStateFile(join(directory, PROCESS_JSON)));
    } catch {
      // As if it were empty.
    }
    return parseProcessState(value, isExec);
  }

  /** "" when it is not there or lost. */
  static readStartTime(directory: string): string {
    const text = readText(directory, "starttime") ?? "";
    return /^\d+$/.test(text) ? text : "";
  }

  /**
   * What the shim has recorded; undefined when the process has not exited, or nobody could tell how.
   * @param onUnreadable is told why when something is there that can't be read
   */
  static readExitStatus(directory: string, onUnreadable?: (error: unknown) => void): number | undefined {
    return parseStatus(readText(directory, EXIT_STATUS_FILE, onUnreadable));
  }

  /** Writes down again what was lost and found out. */
  #mendIdentity(): void {
    const files = { pid: readPidFile(this.directory) ?? 0, starttime: Process.readStartTime(this.directory) };
    const known = { pid: this.systemPid, starttime: this.startTime };
    for (const name of ["pid", "starttime"] as const) {
      if (files[name] === known[name] || known[name] === "") continue;
      try {
        replaceStateFile(join(this.directory, name), String(known[name]));
      } catch {
        // A full disk: the next daemon finds it out as we did.
      }
    }
  }

  /** Nobody hears of it by events, nor by the daemon's log as it usually is. */
  get isSilent(): boolean {
    return this.state.silent === true;
  }

  get stdio(): Stdio {
    return {
      stdin: this.state.containerdStdin ?? "",
      stdout: this.state.containerdStdout ?? "",
      stderr: this.state.containerdStderr ?? "",
      leadsTo: this.state.stdio,
    };
  }

  /** The runtime has created it. */
  identify(pid: number): void {
    this.systemPid = pid;
    this.startTime = startTimeOf(pid) ?? "";
  }

  /** As {@link identify}, also for daemons to come. Throws a system error. */
  setPid(pid: number): void {
    this.identify(pid);
    writeAtomically(join(this.directory, "starttime"), this.startTime);
  }

  /** Tells this process from all others that had, or will have, its name: the same for every daemon that follows it. */
  get run(): string {
    return runOf({ pid: this.systemPid, startTime: this.startTime });
  }

  /** Its start is in the event log: a daemon that takes over need not report it, nor ask the runtime whether there was one. */
  markAnnounced(): void {
    this.announced = true;
    this.#mark("started");
  }

  /**
   * It is created: whatever becomes of this daemon, it waits to be started, by the next one if need be.
   * @throws a system error
   */
  markCreated(): void {
    linkSync(join(this.directory, "starttime"), join(this.directory, CREATED_FILE));
  }

  /**
   * It is about to be made to run: the next daemon has it run, or sees what has become of it.
   * @throws a system error
   */
  markStarting(): void {
    linkSync(join(this.directory, PROCESS_JSON), join(this.directory, "starting"));
  }

  /** Its exit is in the event log: a daemon that finds the directory has nothing to report, however long the log has gone on since. */
  markReported(): void {
    this.#mark("reported");
  }

  /** It has ended, and everybody was told. */
  stop(exit: Exit): void {
    this.status = "stopped";
    this.exit = exit;
    this.#tellOver();
  }

  /**
   * Calls back once it is stopped, or was deleted without ever having run.
   * @returns what takes that back: a promise would keep whoever has left for as long as the process runs
   */
  whenOver(then: () => void): () => void {
    if (this.#isOver) then();
    else this.#whenOver.add(then);
    return () => this.#whenOver.delete(then);
  }

  #tellOver(): void {
    this.#isOver = true;
    for (const then of this.#whenOver) then();
    this.#whenOver.clear();
  }

  /** Its start has failed, so nothing of it was ever told: it is as if it had ended. Daemons to come see the same. */
  fail(): void {
    this.markFailed();
    this.stop({ status: this.exitStatus() ?? UNKNOWN_STATUS, at: this.exitTime() });
  }

  /** Daemons to come see one that has ended, of which nothing is to be told. */
  markFailed(): void {
    try {
      if (this.exitStatus() === undefined) this.recordExitStatus(UNKNOWN_STATUS);
      linkSync(join(this.directory, EXIT_STATUS_FILE), join(this.directory, "reported"));
    } catch {
      // A full disk, say: the next daemon finds a start that was not finished.
    }
  }

  get reported(): boolean {
    return hasMark(this.directory, "reported");
  }

  /** By a second name of `starttime`: that takes no descriptor and no room on the disk. */
  #mark(name: "started" | "reported"): void {
    try {
      linkSync(join(this.directory, "starttime"), join(this.directory, name));
    } catch {
      // It is there already, or nothing can be written here: a daemon that takes over looks into the event log.
    }
  }

  /** Its shim has undone its start: it has never run. */
  get abandoned(): boolean {
    return existsSync(join(this.directory, ABANDONED_FILE));
  }

  /**
   * As {@link Process.readExitStatus}
   */
  exitStatus(onUnreadable?: (error: unknown) => void): number | undefined {
    return Process.readExitStatus(this.directory, onUnreadable);
  }

  /** When it ended, in ns since the epoch: when that was written down, so that every daemon says the same. */
  exitTime(): bigint {
    return this.exitStatusWrittenAt() ?? now();
  }

  /** In ns since the epoch; undefined when there is no exit status, or it can't be reached. */
  exitStatusWrittenAt(): bigint | undefined {
    try {
      return statSync(join(this.directory, EXIT_STATUS_FILE), { bigint: true }).mtimeNs;
    } catch {
      return undefined;
    }
  }

  /** What the shim has told through the exit FIFO, at its end, since it could not record it. */
  toldExitStatus(): number | undefined {
    const told = Buffer.alloc(16);
    try {
      return parseStatus(told.toString("latin1", 0, readSync(this.exitFd, told)));
    } catch {
      // EAGAIN: it has not ended.
      return undefined;
    }
  }

  /**
   * Records the status that the shim did not live to record, so that it counts after a restart of the daemon too. Throws a system error.
   */
  recordExitStatus(status: number): void {
    writeAtomically(join(this.directory, EXIT_STATUS_FILE), String(status));
  }

  /** True while the very process that was started runs; never for another one that got its pid. */
  alive(): boolean {
    return this.startTime !== "" && isAlive(this.systemPid, this.startTime);
  }

  /**
   * Sends a signal; 0 probes.
   * @throws Failure: not-found when the process has ended, invalid-argument for a number that is no signal
   */
  signal(signal: number): void {
    // 0 before the runtime has created it; to the kernel that would be an argument that makes no sense.
    if (this.systemPid === 0) throw this.#ended();
    try {
      const fd = withReserve(() => openPidFd(this.systemPid));
      try {
        // The descriptor holds one process; if that has the start time of ours, it is ours.
        if (startTimeOf(this.systemPid) !== this.startTime) throw this.#ended();
        signalPidFd(fd, signal);
        if (signal === SIGKILL) this.killed = true;
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      if (hasCode(error, "ESRCH")) throw this.#ended();
      if (hasCode(error, "EINVAL")) throw new Failure("invalid-argument", "invalid-signal", { signal });
      throw error;
    }
  }

  /** @throws Failure (not-found) when it has ended, and with it whoever reads its requests */
  get #requests(): ControlFifo {
    if (this.#control === undefined || this.#closed) throw this.#ended();
    return this.#control;
  }

  #ended(): Failure {
    return new Failure("not-found", "process-ended", { pid: this.id });
  }

  /** Kills it if it still runs. */
  kill(): void {
    try {
      this.signal(SIGKILL);
    } catch (error) {
      if (!(error instanceof Failure && error.kind === "not-found")) throw error;
    }
  }

  /** Throws Failure (not-found). */
  closeStdin(): void {
    this.#requests.closeStdin();
  }

  /** Sets the terminal's size. Throws Failure (not-found). */
  resize(columns: number, rows: number): void {
    this.#requests.resize(columns, rows);
  }

  /**
   * Removes the directory of one that was kept until it was deleted: what a kill in the middle left of it would be taken for one that has
   * not run yet.
   */
  takeAwayDirectory(): void {
    this.#partial ??= takeAway(this.directory);
    if (this.#partial !== undefined) removeTree(this.#partial);
  }

  /** Removes the process directory. */
  removeDirectory(): void {
    // First, so that what a kill in the middle leaves is no process any more: without its exitStatus it would be reported once more.
    rmSync(join(this.directory, PID_FILE), { force: true });
    removeTree(this.directory);
  }

  /** It had ended, and that was told, before this daemon. */
  get stoppedEarlier(): boolean {
    return this.exitFd === -1;
  }

  /** Its descriptors are: their numbers may be those of others by now. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Closes the descriptors; whoever watches exitFd stops before. */
  close(): void {
    this.#tellOver();
    if (this.#closed) return;
    this.#closed = true;
    this.shim?.release();
    closeSync(this.exitFd);
    this.#control?.close();
  }
}

/**
 * What a process directory says of its process: that it was created, and is kept; that it was about to be made to run; that its start, or
 * its exit, was told.
 */
type Mark = typeof CREATED_FILE | "starting" | "started" | "reported";

export function hasMark(directory: string, mark: Mark): boolean {
  return existsSync(join(directory, mark));
}

/** What tells a run from all others of its name. */
export function runOf({ pid, startTime }: Identity): string {
  return `${pid}:${startTime}`;
}

/** The host's pid in such a text; 0 when there is none. */
export function pidOf(run = ""): number {
  return Number(/^(\d+):/.exec(run)?.[1] ?? 0);
}

/** Undefined when there is none, or none that can be read, of which `onUnreadable` is told. */
function readText(directory: string, name: string, onUnreadable?: (error: unknown) => void): string | undefined {
  try {
    return readStateFile(join(directory, name)).trim();
  } catch (error) {
    if (!hasCode(error, "ENOENT")) onUnreadable?.(error);
    return undefined;
  }
}

function parseStatus(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,3}$/.test(text) ? Number(text) : undefined;
}

/** @returns what is in the process directory */
function mendFifos(directory: string): Map<string, Dirent> {
  const entries = new Map(readdirSync(directory, { withFileTypes: true }).map((entry) => [entry.name, entry]));
  for (const name of [EXIT_FIFO, CONTROL_FIFO]) mendFifo(join(directory, name), entries.get(name));
  return entries;
}

/** Another file of that name is no use to the shim, which holds the one that it has opened. */
function mendFifo(path: string, entry: Dirent | undefined): void {
  if (!setAsideUnless("isFIFO", path, entry)) makeFifo(path);
}

/** @returns whether there is one of that kind */
function setAsideUnless(kind: "isFile" | "isFIFO", path: string, entry: Dirent | undefined): boolean {
  const isOfKind = entry?.[kind]() ?? false;
  if (entry !== undefined && !isOfKind) setAside(path);
  return isOfKind;
}

/** Makes a directory for nobody but us. Throws Failure (already-exists). */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (hasCode(error, "EEXIST")) {
      throw new Failure("already-exists", "name-taken", { what: "process", path }, { cause: error });
    }
    throw new Failure("internal", "system", { why: errorText(error) }, { cause: error });
  }
}

import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { makeFifo, openFifo } from "../linux/fifo.js";
import { errorText, hasCode } from "../linux/libc.js";
import { openPidFd, signalPidFd } from "../linux/pidfd.js";
import { processesWithCwd } from "../linux/proc-cwd.js";
import { isAlive, parentOf, startTimeOf } from "../linux/proc-stat.js";
import { parseJson, stringifyJson } from "./json.js";
import { OperationError } from "./operation-error.js";
import { readPidFile } from "./pid-file.js";
import type { Shim } from "./shim.js";
import type { OciProcess } from "./spec.js";
import { writeAtomically } from "./write-atomically.js";

/** The name of a container's first process. */
export const INIT = "init";

/** Paths of FIFOs or files; empty is /dev/null. */
export interface Stdio {
  stdin: string;
  stdout: string;
  stderr: string;
}

/** What process.json holds: the OCI process's own fields and what the shim has to know besides. */
export interface ProcessState extends OciProcess {
  exec: boolean;
  containerdStdin: string;
  containerdStdout: string;
  containerdStderr: string;
  runtimeArgs: readonly string[] | null;
  noPivotRoot: boolean;
  checkpoint: string;
  rootUID: number;
  rootGID: number;
}

/** Requests on the control FIFO (docs/shim.md). */
const CLOSE_STDIN = 0;
const RESIZE = 1;

const SIGKILL = 9;

/** One process of a container: its init, or an exec. Knows its directory, its descriptors and the host's process behind it. */
export class Process {
  readonly id: string;
  readonly directory: string;
  readonly state: ProcessState;
  /** Read end of the exit FIFO: it hangs up when the shim has ended. */
  readonly exitFd: number;
  readonly #controlFd: number;
  /** On the host; 0 until the runtime has created the process. */
  systemPid = 0;
  /** Field 22 of /proc/<pid>/stat; "" when the process was gone before it could be read. */
  startTime = "";
  /** There while this daemon is the one that launched it. */
  shim: Shim | undefined;
  /** Its start is in the event log. */
  announced = false;
  /** This daemon has sent it SIGKILL. */
  killed = false;
  /** Settled once its exit has been reported; set by the supervisor. */
  done: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(directory: string, id: string, state: ProcessState) {
    this.id = id;
    this.directory = directory;
    this.state = state;
    const exitFd = openFifo(join(directory, "exit"), "read");
    try {
      this.#controlFd = openFifo(join(directory, "control"), "read-write");
    } catch (error) {
      closeSync(exitFd);
      throw error;
    }
    this.exitFd = exitFd;
  }

  /**
   * Makes the process directory with all that the shim needs.
   * @throws OperationError (already-exists) or a system error; nothing is left then
   */
  static create(directory: string, id: string, state: ProcessState): Process {
    makeDirectory(directory);
    try {
      writeAtomically(join(directory, "process.json"), stringifyJson(state));
      makeFifo(join(directory, "exit"));
      makeFifo(join(directory, "control"));
      return new Process(directory, id, state);
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * Takes over the process that another daemon, or this one before its restart, has left.
   * @throws Error when no process was created
   */
  static load(directory: string, id: string): Process {
    const pid = readPidFile(directory);
    if (pid === undefined) throw new Error(`${directory}: no process was created`);
    for (const name of ["exit", "control"]) makeFifoIfMissing(join(directory, name));
    const process = new Process(directory, id, loadState(directory, id));
    process.systemPid = pid;
    process.startTime = readText(directory, "starttime") || loadStartTime(directory, pid);
    process.announced = existsSync(join(directory, "started"));
    return process;
  }

  get stdio(): Stdio {
    return {
      stdin: this.state.containerdStdin ?? "",
      stdout: this.state.containerdStdout ?? "",
      stderr: this.state.containerdStderr ?? "",
    };
  }

  /** The runtime has created it. */
  setPid(pid: number): void {
    this.systemPid = pid;
    this.startTime = startTimeOf(pid) ?? "";
    writeAtomically(join(this.directory, "starttime"), this.startTime);
  }

  /** Its start is in the event log: a daemon that takes over need not report it, nor ask the runtime whether there was one. */
  markAnnounced(): void {
    this.announced = true;
    try {
      writeFileSync(join(this.directory, "started"), "", { mode: 0o600 });
    } catch {
      // A full disk: that daemon asks then.
    }
  }

  /** Its shim has undone its start: it has never run. */
  get abandoned(): boolean {
    return existsSync(join(this.directory, "abandoned"));
  }

  /** What the shim has recorded; undefined when the process has not exited, or nobody could tell how. */
  exitStatus(): number | undefined {
    const text = readText(this.directory, "exitStatus");
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
  }

  /** Records the status that the shim did not live to record, so that it counts after a restart of the daemon too. Throws a system error. */
  recordExitStatus(status: number): void {
    writeAtomically(join(this.directory, "exitStatus"), String(status));
  }

  /** True while the very process that was started runs; never for another one that got its pid. */
  alive(): boolean {
    return this.startTime !== "" && isAlive(this.systemPid, this.startTime);
  }

  /**
   * Sends a signal; 0 probes.
   * @throws OperationError: not-found when the process has ended, invalid-argument for a number that is no signal
   */
  signal(signal: number): void {
    // 0 before the runtime has created it; to the kernel that would be an argument that makes no sense.
    if (this.systemPid === 0) throw noSuchProcess();
    try {
      const fd = openPidFd(this.systemPid);
      try {
        // The descriptor holds one process; if that has the start time of ours, it is ours.
        if (startTimeOf(this.systemPid) !== this.startTime) throw noSuchProcess();
        signalPidFd(fd, signal);
        if (signal === SIGKILL) this.killed = true;
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      if (hasCode(error, "ESRCH")) throw noSuchProcess();
      if (hasCode(error, "EINVAL")) throw new OperationError("invalid-argument", "invalid argument");
      throw error;
    }
  }

  /** Kills it if it still runs. */
  kill(): void {
    try {
      this.signal(SIGKILL);
    } catch (error) {
      if (!(error instanceof OperationError && error.kind === "not-found")) throw error;
    }
  }

  closeStdin(): void {
    this.#control(CLOSE_STDIN, 0, 0);
  }

  /** Sets the terminal's size. */
  resize(columns: number, rows: number): void {
    this.#control(RESIZE, columns, rows);
  }

  #control(type: number, width: number, height: number): void {
    // Non-blocking: a shim that does not read its requests must not hold up the daemon. A FIFO takes hundreds of lines before that.
    writeSync(this.#controlFd, `${type} ${width} ${height}\n`);
  }

  /** Removes the process directory. */
  removeDirectory(): void {
    // First, so that what a kill in the middle leaves is no process any more: without its exitStatus it would be reported once more.
    rmSync(join(this.directory, "pid"), { force: true });
    removeTree(this.directory);
  }

  /** Closes the descriptors; whoever watches exitFd stops before. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.shim?.release();
    closeSync(this.exitFd);
    closeSync(this.#controlFd);
  }
}

/** As rmSync does it, which takes twice as long for a directory of files only. */
function removeTree(directory: string): void {
  try {
    for (const name of readdirSync(directory)) unlinkSync(join(directory, name));
    rmdirSync(directory);
  } catch {
    rmSync(directory, { recursive: true, force: true });
  }
}

function noSuchProcess(): OperationError {
  return new OperationError("not-found", "no such process");
}

function readText(directory: string, name: string): string | undefined {
  try {
    return readFileSync(join(directory, name), "utf8").trim();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** What process.json holds. A half-written one (by another daemon: ours are whole) must not cost a running process its supervision. */
function loadState(directory: string, id: string): ProcessState {
  const unknown: ProcessState = {
    exec: id !== INIT,
    containerdStdin: "",
    containerdStdout: "",
    containerdStderr: "",
    runtimeArgs: [],
    noPivotRoot: false,
    checkpoint: "",
    rootUID: 0,
    rootGID: 0,
  };
  try {
    return { ...unknown, ...(parseJson(readFileSync(join(directory, "process.json"), "utf8")) as object) };
  } catch {
    return unknown;
  }
}

/** The daemon died between the pid file and `starttime`. A child of a shim that sits in the directory can be no other process. */
function loadStartTime(directory: string, pid: number): string {
  const parent = parentOf(pid);
  return parent !== undefined && processesWithCwd(directory).includes(parent) ? (startTimeOf(pid) ?? "") : "";
}

function makeFifoIfMissing(path: string): void {
  if (!existsSync(path)) makeFifo(path);
}

/** Makes a directory for nobody but us. Throws OperationError (already-exists) in the original's words. */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    throw new OperationError(hasCode(error, "EEXIST") ? "already-exists" : "internal", errorText(error), {
      cause: error,
    });
  }
}

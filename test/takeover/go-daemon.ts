/**
 * The part of a Go containerd 0.2.x in a take-over: writes state directories as it does (order of fields, null lists, no newline at the
 * end), runs a shim that it tells nothing but the process directory, and calls the runtime itself.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { statOf } from "../harness/processes.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually } from "../harness/wait.js";

export interface GoStdio {
  stdin?: string;
  stdout?: string;
  stderr?: string;
}

/** A process directory of the Go daemon with its shim. */
export class GoProcess {
  readonly #exit: number;
  readonly #control: number;

  constructor(
    readonly directory: string,
    readonly shim: ChildProcess,
    exit: number,
  ) {
    this.#exit = exit;
    this.#control = openSync(join(directory, "control"), constants.O_RDWR | constants.O_NONBLOCK);
  }

  read(name: string): string {
    return readFileSync(join(this.directory, name), "utf8");
  }

  /** As the Go daemon does: it polls for the pid file, then writes down the process's start time. */
  async created(): Promise<number> {
    const pid = await eventually(() => Number(this.read("pid")) || undefined, { interval: 15 });
    writeFileSync(join(this.directory, "starttime"), statOf(pid).field(22));
    return pid;
  }

  control(type: number, width = 0, height = 0): void {
    writeSync(this.#control, `${type} ${width} ${height}\n`);
  }

  /** The shim has ended and so the exit FIFO has no writer any more. */
  get hungUp(): boolean {
    if (this.shim.exitCode === null && this.shim.signalCode === null) return false;
    try {
      return readSync(this.#exit, Buffer.alloc(1)) === 0;
    } catch {
      return false;
    }
  }

  /** The daemon is gone: its descriptors are closed. */
  leave(): void {
    closeSync(this.#exit);
    closeSync(this.#control);
  }
}

/** One container of the Go daemon. */
export class GoContainer {
  readonly directory: string;

  constructor(
    readonly stateDir: string,
    readonly id: string,
    readonly bundle: string,
    readonly shimProgram: string,
    readonly stdio: GoStdio = {},
    labels: string[] | null = null,
  ) {
    this.directory = join(stateDir, id);
    mkdirSync(this.directory, { recursive: true });
    const { stdin = "", stdout = "", stderr = "" } = stdio;
    const state = {
      bundle,
      labels,
      stdin,
      stdout,
      stderr,
      runtime: "runc",
      runtimeArgs: null,
      shim: shimProgram,
      noPivotRoot: false,
    };
    writeFileSync(join(this.directory, "state.json"), `${JSON.stringify(state)}\n`);
  }

  /** Makes the process directory and runs the shim in it. `args` makes it an exec. */
  run(name: string, stdio: GoStdio = {}, args?: string[]): GoProcess {
    const directory = join(this.directory, name);
    mkdirSync(directory);
    const spec = JSON.parse(readFileSync(join(this.bundle, "config.json"), "utf8")).process as object;
    const state = {
      ...spec,
      ...(args === undefined ? {} : { args }),
      exec: args !== undefined,
      containerdStdin: stdio.stdin ?? "",
      containerdStdout: stdio.stdout ?? "",
      containerdStderr: stdio.stderr ?? "",
      runtimeArgs: null,
      noPivotRoot: false,
      checkpoint: "",
      rootUID: 0,
      rootGID: 0,
    };
    writeFileSync(join(directory, "process.json"), `${JSON.stringify(state)}\n`);
    makeFifos(join(directory, "exit"), join(directory, "control"));
    const exit = openSync(join(directory, "exit"), constants.O_RDONLY | constants.O_NONBLOCK);
    const shim = spawn(this.shimProgram, [this.id, this.bundle, "runc"], {
      cwd: directory,
      detached: true,
      stdio: "ignore",
    });
    shim.unref();
    return new GoProcess(directory, shim, exit);
  }

  /** `runc start`, by the daemon itself. */
  start(): void {
    execFileSync("runc", ["start", this.id]);
    this.store({ type: "start-container", pid: "", status: 0 });
  }

  /** A line of events.log: the Go daemon writes every field with every event, -1 for no status in some releases. */
  store({ type, pid, status }: { type: string; pid: string; status: number }): void {
    const line = { id: this.id, type, timestamp: new Date().toISOString().replace("Z", "123456Z"), pid, status };
    appendFileSync(join(this.stateDir, "events.log"), `${JSON.stringify(line)}\n`);
  }
}

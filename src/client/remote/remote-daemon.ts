import { type ChildProcess, type StdioOptions as ChildStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseGoDuration } from "../../contract/go/duration.js";
import { anyText, type Checks, flag, listOf, pathText, required, text, that, whole } from "../options/option-checks.js";
import { lockDirectory } from "./directory-lock.js";

/** How a {@link Remote} starts its daemon. */
export interface DaemonOptions {
  /** Holds the pid file, the socket, the time of the last event, and the daemon's own state directory. Is made if need be. */
  stateDir: string;
  /** Path of the socket. Default: `docker-containerd.sock` in the state directory. */
  socket?: string;
  /** The command. Default: `containerd`. */
  program?: readonly string[];
  /** Name or path of the shim. Default: the daemon's own. */
  shim?: string;
  /** Name or path of the runtime. Default: the daemon's own (runc). */
  runtime?: string;
  runtimeArgs?: readonly string[];
  debug?: boolean;
  /** How long a container may take to start, as the daemon's flag takes it. Default: "2m". */
  startTimeout?: string;
  /** More of the daemon's flags. */
  args?: readonly string[];
  /** Written to the daemon's oom_score_adj (-1000 – 1000). Default: what this process has. */
  oomScoreAdj?: number;
  /** Where the daemon's stdout and stderr go: this process's, nowhere, or a descriptor. Default: "inherit". */
  output?: "inherit" | "ignore" | number;
  /**
   * Whether the daemon ends with its last client (a few seconds after it, and not before the containers have ended that were started to
   * stay) and not with this process. Default: false.
   */
  stopWithLast?: boolean;
}

const word = text("a text that is not empty", (value) => value !== "");

export const daemonChecks: Checks<DaemonOptions> = {
  stateDir: required(pathText),
  socket: pathText,
  program: that(
    "a command: a list of texts that is not empty",
    (value) => Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string"),
  ),
  shim: word,
  runtime: word,
  runtimeArgs: listOf(anyText, "a list of texts"),
  debug: flag,
  startTimeout: text('a duration as the daemon\'s flag takes it, like "2m"', (value) => {
    try {
      return parseGoDuration(value) > 0;
    } catch {
      return false;
    }
  }),
  args: listOf(anyText, "a list of texts"),
  oomScoreAdj: whole("a whole number from -1000 to 1000", -1000, 1000),
  output: that(
    'a descriptor, "inherit" or "ignore"',
    (value) => value === "inherit" || value === "ignore" || (Number.isSafeInteger(value) && (value as number) >= 0),
  ),
  stopWithLast: flag,
};

/** In ms, between looks at a process that is not our child. */
const LIVENESS_INTERVAL = 20;
/** As the daemon's flag takes it: how long it waits for the next client, who may be one that has just lost it. */
const UNUSED = "5s";
/** In ms, between looks whether a child has told its number. */
const TELL_INTERVAL = 5;
/**
 * Tells its start time and its number, each to a file, then becomes the daemon: whoever has started it may be killed at any moment, and the
 * next one finds the daemon all the same. The name of this program, in parentheses, is one word.
 */
const TELL = 'printf %s "$(cut -d " " -f 22 "/proc/$$/stat")" >"$2" && printf %s "$$" >"$1" && shift 2 && exec "$@"';

/** The daemon's process: started by us, or found running. */
export class RemoteDaemon {
  readonly pid: number;
  /** It was running already. */
  readonly adopted: boolean;
  /** Resolves when it has ended. Never rejects. */
  readonly ended: Promise<void>;
  readonly #startTime: string | undefined;
  #running = true;

  constructor(pid: number, startTime: string | undefined, adopted: boolean, ended: Promise<unknown>) {
    this.pid = pid;
    this.adopted = adopted;
    this.#startTime = startTime;
    this.ended = ended.then(() => {
      this.#running = false;
    });
  }

  get running(): boolean {
    return this.#running;
  }

  signal(signal: NodeJS.Signals): void {
    // That it has ended is seen a moment later, and its number may be somebody else's by then.
    if (!this.#running || startTimeOf(this.pid) !== this.#startTime) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

export const socketPath = ({ stateDir, socket }: DaemonOptions): string =>
  socket ?? join(stateDir, "docker-containerd.sock");

const pidFile = ({ stateDir }: DaemonOptions): string => join(stateDir, "docker-containerd.pid");

/** Holds the time at which the process of the pid file was started: with that it is no other one, whatever that says it is. */
const startTimeFile = ({ stateDir }: DaemonOptions): string => join(stateDir, "docker-containerd.starttime");

/**
 * The daemon that the pid file names, if it lives, or else a new one.
 *
 * A new one gets a session of its own and is killed (SIGKILL) when this process ends, however it ends: the containers go on, and the next
 * daemon finds them. Node can't set that "parent death signal" for a child, so `setpriv` (util-linux) does, which then becomes the daemon.
 * The kernel sends it at the end of the *thread* that has started the child: don't start it from a worker thread that ends before. One that
 * stops with its last client has no such signal.
 * @throws a system error; Error for a state directory that somebody else can write to; with the oom score that may not be set, the daemon
 * is killed again.
 */
export async function startOrAdopt(options: DaemonOptions): Promise<RemoteDaemon> {
  mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
  checkOwner(options.stateDir);
  // Of two that start one at the same time, the second finds that of the first.
  const lock = await lockDirectory(options.stateDir);
  try {
    const pid = readPid(options);
    const known = readStartTime(options);
    if (known !== undefined && startTimeOf(pid) === known) return new RemoteDaemon(pid, known, true, gone(pid, known));
    for (const file of [pidFile(options), startTimeFile(options)]) writeFileSync(file, "", { mode: 0o600 });
    const child = await start(options);
    try {
      if (options.stopWithLast) await told(child, options);
      const startTime = startTimeOf(child.pid!);
      if (!options.stopWithLast) {
        // The pid comes last: it never stands beside another process's time.
        writeFileSync(startTimeFile(options), startTime ?? "");
        writeFileSync(pidFile(options), `${child.pid}`);
      }
      if (options.oomScoreAdj !== undefined)
        writeFileSync(`/proc/${child.pid}/oom_score_adj`, `${options.oomScoreAdj}`);
      return new RemoteDaemon(child.pid!, startTime, false, ended(child));
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
  } finally {
    lock.release();
  }
}

/** Resolves when a child has told its number, or has ended. */
async function told(child: ChildProcess, options: DaemonOptions): Promise<void> {
  while (!hasEnded(child) && readPid(options) !== child.pid) await sleep(TELL_INTERVAL);
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;

async function ended(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, "exit");
}

/** Removes what a daemon that was killed has left. */
export function removeTraces(options: DaemonOptions): void {
  rmSync(pidFile(options), { force: true });
  rmSync(startTimeFile(options), { force: true });
  rmSync(socketPath(options), { force: true });
}

async function start(options: DaemonOptions): Promise<ChildProcess> {
  const { program = ["containerd"], shim, runtime, runtimeArgs = [], debug, args = [], output = "inherit" } = options;
  const { stopWithLast = false } = options;
  const command = [
    ...program,
    "-l",
    `unix://${socketPath(options)}`,
    "--metrics-interval=0",
    "--start-timeout",
    options.startTimeout ?? "2m",
    "--state-dir",
    join(options.stateDir, "containerd"),
    ...(shim === undefined ? [] : ["--shim", shim]),
    ...(runtime === undefined ? [] : ["--runtime", runtime]),
    ...(debug ? ["--debug"] : []),
    ...runtimeArgs.flatMap((argument) => ["--runtime-args", argument]),
    ...(stopWithLast ? ["--stop-when-unused", UNUSED] : []),
    ...args,
  ];
  // Readiness of this process is not the daemon's to tell.
  const { NOTIFY_SOCKET: _, ...env } = process.env;
  const stdio: ChildStdio = ["ignore", output, output];
  const [launcher, ...first] = stopWithLast
    ? ["sh", "-c", TELL, "sh", pidFile(options), startTimeFile(options)]
    : ["setpriv", "--pdeathsig", "KILL", "--"];
  const child = spawn(launcher!, [...first, ...command], { detached: true, env, stdio });
  try {
    await once(child, "spawn");
  } catch (cause) {
    throw new Error(`${stopWithLast ? "sh" : "setpriv (util-linux)"} is needed to start containerd`, { cause });
  }
  // Only stop() and kill() decide about its end: it must not keep this process alive.
  child.unref();
  return child;
}

/** What is in such a directory says which process is signalled, and is run as this user. */
function checkOwner(directory: string): void {
  const { uid, mode } = statSync(directory);
  if ((uid !== 0 && uid !== process.geteuid!()) || (mode & 0o022) !== 0)
    throw new Error(`${directory}: somebody else can write to it: its owner has to be this user, its mode 0700`);
}

/** NaN or 0: there is none. */
function readPid(options: DaemonOptions): number {
  try {
    return Number(readFileSync(pidFile(options), "utf8").trim());
  } catch {
    return Number.NaN;
  }
}

function readStartTime(options: DaemonOptions): string | undefined {
  try {
    return readFileSync(startTimeFile(options), "utf8") || undefined;
  } catch {
    return undefined;
  }
}

/** Field 22 of /proc/<pid>/stat, which tells a process from another one that gets its pid later; undefined when none runs. */
function startTimeOf(pid: number): string | undefined {
  if (!Number.isInteger(pid) || pid < 1) return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, can hold anything: what follows begins with field 3.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[22 - 3];
  } catch {
    return undefined;
  }
}

/** Resolves when a process that is not our child has ended. */
async function gone(pid: number, startTime: string): Promise<void> {
  while (startTimeOf(pid) === startTime) await sleep(LIVENESS_INTERVAL, undefined, { ref: false });
}

/** From process.json to a running process: creating it, starting it when the daemon says so, and undoing that. */
import { PID_FILE } from "../contract/shim/process-directory";
import { openExecFifo } from "./exec-fifo";
import { markAbandoned, writeExitStatus } from "./exit-status";
import { logError, logWarning } from "./log";
import { runUntil } from "./loop";
import type { ProcessState } from "./process-state";
import { adopt, type Child, killChildren } from "./reaper";
import { CLEAN_UP_TIMEOUT, call, creationArgs, endCall, spawnCreate } from "./runtime";
import { closeStartChannel, type StartChannel, send } from "./start-channel";
import { attachConsole, closeChildEnds, closeStdio, drain, passNothingOver, passOver, type Stdio } from "./stdio";
import * as files from "./syscalls/files";
import * as processes from "./syscalls/processes";
import * as waiting from "./syscalls/waiting";

/** What the shim was started for. */
export interface Assignment {
  readonly id: string;
  readonly bundle: string;
  readonly state: ProcessState;
  readonly stdio: Stdio;
  /** Undefined under a daemon that knows no start channel: that one runs `start` itself. */
  readonly channel: StartChannel | undefined;
}

/** A start that failed for a reason that is in a log already. */
export const ALREADY_LOGGED = "";

/** In ms: how long the start may still take after it was called off, or after the daemon has died. */
const ABANDONED_TIMEOUT = 3_000;
/** How long a runtime may take to make the process before what it prints is suspected to hold it up, in ms. */
const FLOOD_TIMEOUT = 2_000;

/**
 * Whether the start is given up: the daemon has called it off; or the daemon is dead, so that a created container that nobody was told of
 * would wait for its `start` for ever. An exec or a restored container runs at once: the next daemon takes it over.
 */
export function isAbandoned(state: ProcessState, channel: StartChannel | undefined): boolean {
  if (channel === undefined) return false;
  return channel.cancelled || (channel.gone && !channel.kept && !state.exec && state.checkpoint === undefined);
}

/**
 * Has the runtime make the process: afterwards an init waits for `start`, an exec or a restored container runs.
 * Throws when that fails, and then nothing of it is left.
 */
export function create(assignment: Assignment): Child {
  const { id, bundle, state, stdio, channel } = assignment;
  const startedAt = os.time();
  const consolePath = stdio.consoleSocket?.path;
  const args = creationArgs(state, id, bundle, consolePath);
  const creation = spawnCreate(args, bundle, stdio.child);
  closeChildEnds(stdio);
  const ended = () => creation.status !== undefined;
  const endedOrAbandoned = () => ended() || isAbandoned(state, channel);
  if (!runUntil(endedOrAbandoned, waiting.now() + FLOOD_TIMEOUT)) {
    // What it prints goes where the output of its process will go, and few clients read that before their start is answered. Once a process
    // runs, which an exec or a restored one does from its beginning, it is the process that writes, and nothing of that may be lost.
    const runs = () => (state.exec || state.checkpoint !== undefined) && typeof files.readFile(PID_FILE) === "string";
    if (!runs()) passOver(stdio);
    runUntil(() => endedOrAbandoned() || runs());
    passNothingOver(stdio);
    runUntil(endedOrAbandoned);
  }
  if (!runUntil(ended, waiting.now() + ABANDONED_TIMEOUT)) endCall(creation, ABANDONED_TIMEOUT);
  if (creation.status !== 0) {
    logWarning(`the runtime failed with exit status ${creation.status}`);
    if (state.exec) {
      undoHalfCreated(assignment);
    } else {
      markAbandoned();
      deleteHalfCreated(id, startedAt);
    }
    killChildren();
    return error(ALREADY_LOGGED, 0);
  }
  const pid = createdPid();
  if (pid === undefined) {
    undo(assignment, undefined);
    return error("the runtime wrote no pid file", 0);
  }
  const child = adopt(pid);
  const [delivered, problem] = pcall(attachConsole, stdio);
  if (!delivered) {
    undo(assignment, child);
    error(problem, 0);
  }
  return child;
}

/** What the runtime has told of the process that it has made; undefined: nothing. */
function createdPid(): number | undefined {
  const text = files.readFile(PID_FILE);
  return typeof text === "string" ? tonumber(text) : undefined;
}

/** Ends an exec whose runtime has made it and failed all the same. A daemon may have taken it over meanwhile, which sees how it ended. */
function undoHalfCreated(assignment: Assignment): void {
  const pid = createdPid();
  if (pid === undefined) return;
  const child = adopt(pid);
  undo(assignment, child);
  if (child.status !== undefined) writeExitStatus(child.status);
}

/**
 * A runtime cleans up after itself when it fails, but not when it is killed. What it has left must go, and somebody
 * else's container, whose id is the reason of the failure, must stay: ours cannot be older than our call.
 */
function deleteHalfCreated(id: string, startedAt: number): void {
  const { status, output } = call(["state", id], CLEAN_UP_TIMEOUT);
  if (status === 0) {
    const [created] = string.match(output, '"created"%s*:%s*"([^"]+)');
    const [pid] = string.match(output, '"pid"%s*:%s*(%d+)');
    const isYoung = created !== undefined && string.sub(created, 1, 19) >= os.date("!%Y-%m-%dT%H:%M:%S", startedAt);
    const number = tonumber(pid) ?? 0;
    if (!isYoung || (number !== 0 && !processes.isChild(number))) return;
  }
  call(["delete", "--force", id], CLEAN_UP_TIMEOUT);
}

/** Kills and deletes what was created but must not run, or what runs although its start was given up. */
export function undo(assignment: Assignment, child: Child | undefined): void {
  const { id, state, channel } = assignment;
  if (state.exec) {
    if (child?.status === undefined && child !== undefined && processes.isChild(child.pid))
      processes.kill(child.pid, processes.SIGKILL);
  } else {
    // First: afterwards a daemon that takes the directory over could not tell it from one that has run and ended.
    if (channel?.kept !== true) markAbandoned();
    const { status, output } = call(["delete", "--force", id], CLEAN_UP_TIMEOUT);
    if (status !== 0) logError(`delete: ${output}`);
  }
  if (child !== undefined) runUntil(() => child.status !== undefined, waiting.now() + ABANDONED_TIMEOUT);
  killChildren();
}

/**
 * Ends the work for a process whose start was undone. The exit of a container that was kept is told, and that of an exec that a daemon took
 * over meanwhile.
 */
export function abandon(assignment: Assignment, child: Child): void {
  const isKnown = assignment.state.exec || assignment.channel?.kept === true;
  if (isKnown && child.status !== undefined) writeExitStatus(child.status);
  drain(assignment.stdio, ABANDONED_TIMEOUT);
  closeStdio(assignment.stdio);
}

/**
 * Tells the daemon and starts the process when it says so.
 *
 * @returns whether the process runs, or was kept: then it has ended already, or a later daemon starts it. If not, nothing of it is left
 */
export function start(assignment: Assignment, child: Child): boolean {
  const { id, state, channel } = assignment;
  if (channel === undefined) return true;
  if (channel.cancelled) {
    undo(assignment, child);
    return false;
  }
  send(channel, `created ${child.pid}`);
  if (state.exec || state.checkpoint !== undefined) {
    closeStartChannel(channel);
    return true;
  }

  const waitingName = nameOf(child);
  let lastName = waitingName;
  child.atDeath = () => {
    lastName = nameOf(child);
  };
  const isLeft = () => channel.kept && !channel.cancelled && (channel.gone || child.status !== undefined);
  runUntil(() => channel.startRequested || isLeft() || isAbandoned(state, channel));
  if (!channel.startRequested && isLeft()) {
    child.atDeath = undefined;
    return true;
  }
  if (!channel.startRequested || channel.cancelled) {
    undo(assignment, child);
    return false;
  }
  const isWaitedFor = () => (channel.kept || !channel.gone) && !channel.cancelled && child.status === undefined;
  const { execFifo } = channel;
  const isOpen = execFifo !== undefined && openExecFifo(execFifo, isWaitedFor);
  const { status, output } =
    isOpen || channel.cancelled ? { status: 0, output: "" } : call(["start", id], ABANDONED_TIMEOUT, isWaitedFor);
  child.atDeath = undefined;
  // A process that has ended already makes some runtimes' start fail. But it has run: it is not the runtime's any more.
  const hasRun = child.status !== undefined && lastName !== waitingName;
  const hasFailed = status !== 0 && !hasRun;
  // The next daemon starts what the last one was about to start, and may have done so already.
  if (hasFailed && channel.kept && channel.gone && child.status === undefined) return true;
  if (channel.cancelled || hasFailed) {
    undo(assignment, child);
    send(channel, `failed ${status}\0${output}`);
    return false;
  }
  send(channel, "started");
  closeStartChannel(channel);
  return true;
}

/** The name that the program in the process has, which changes when the runtime's place is taken by the container's program. */
function nameOf(child: Child): string {
  const name = files.readFile(`/proc/${child.pid}/comm`);
  return typeof name === "string" ? name : "";
}

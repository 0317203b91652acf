/** The stdio of a process: what the runtime gives it, where it goes, and the copying between the two. */
import type { OutputJson } from "../contract/shim/process-json";
import { type ConsoleSocket, closeConsoleSocket, openConsoleSocket, receiveConsole } from "./console";
import { openContainerLog } from "./container-log";
import {
  beginOverflow,
  type Copier,
  closeCopier,
  cutSource,
  discardRest,
  dropKeeper,
  endOverflow,
  pump,
  startCopier,
} from "./copier";
import { type LogStream, openLogStream } from "./log-stream";
import {
  awaitReady,
  endLoggingPrograms,
  killLoggingProgram,
  LOGGING_TIMEOUT,
  type LoggingProgram,
  startLoggingProgram,
} from "./logging-program";
import { close, runFor, runUntil } from "./loop";
import type { ProcessState } from "./process-state";
import type { ChildStdio } from "./runtime";
import * as files from "./syscalls/files";
import { ENXIO, errorText } from "./syscalls/libc";
import * as waiting from "./syscalls/waiting";

/** In ms: how often is looked whether an output FIFO has got a reader, from the first to the longest. */
const FIRST_RETRY = 1;
const LONGEST_RETRY = 25;

/** The stdio of the process. */
export interface Stdio {
  /** For the runtime; closed once it has been started. */
  child: ChildStdio;
  readonly consoleSocket: ConsoleSocket | undefined;
  /** The pty's master, -1 without a terminal or before it has come. */
  master: number;
  /** Source of stdin until its copier is started, -1 without one. */
  stdinSource: number;
  /** Our own writer of the stdin FIFO: it keeps the process's stdin open without a client. */
  stdinKeeper: number;
  stdin: Copier | undefined;
  /** The opened stdout and stderr. */
  readonly targets: readonly OutputTarget[];
  readonly outputs: Copier[];
  /** Those that some of the targets lead to. */
  readonly programs: readonly LoggingProgram[];
}

interface OutputTarget {
  readonly output: OutputJson;
  readonly isStdout: boolean;
  fd: number;
  keeper: number;
  /** In place of a descriptor. */
  log: LogStream | undefined;
}

function isNull(path: string): boolean {
  return path === "" || path === "/dev/null";
}

function openFailed(path: string, why: string): never {
  return error(`open ${path}: ${why}`, 0);
}

function mustOpen(path: string, flags: number): number {
  const fd = files.open(path, flags);
  return fd < 0 ? openFailed(path, errorText(fd)) : fd;
}

/**
 * Opens the client's ends. An output FIFO must get its reader within the timeout.
 *
 * @param abandoned when it says so, nobody is interested any more
 */
function openTargets(targets: OutputTarget[], timeout: number, abandoned: () => boolean): void {
  const deadline = waiting.now() + timeout;
  let retry = FIRST_RETRY;
  while (true) {
    let missing: string | undefined;
    for (const target of targets) {
      if (target.fd >= 0 || target.log !== undefined) continue;
      const { path } = target.output;
      target.fd = files.open(path, files.O_WRONLY + files.O_APPEND + files.O_NONBLOCK);
      if (target.fd >= 0) {
        if (files.isPipe(target.fd)) target.keeper = mustOpen(path, files.O_RDONLY + files.O_NONBLOCK);
      } else if (target.fd === -ENXIO) {
        missing = path;
      } else {
        openFailed(path, errorText(target.fd));
      }
    }
    if (missing === undefined) return;
    if (waiting.now() >= deadline) openFailed(missing, "deadline exceeded");
    if (abandoned()) openFailed(missing, "the daemon is gone");
    runFor(retry);
    retry = math.min(retry * 2, LONGEST_RETRY);
  }
}

/** Which outputs the process has, not opened yet. */
function targetsOf({ terminal, stdout, stderr }: ProcessState): OutputTarget[] {
  const targets: OutputTarget[] = [];
  const add = (output: OutputJson, isStdout: boolean) => {
    targets[targets.length] = { output, isStdout, fd: -1, keeper: -1, log: undefined };
  };
  if (!isNull(stdout.path)) add(stdout, true);
  // Also when nobody wants it: a terminal that is not read stops who writes to it.
  else if (terminal) add({ path: "/dev/null" }, true);
  if (!terminal && !isNull(stderr.path)) add(stderr, false);
  return targets;
}

/** Opens the container's log, if the outputs lead there. */
function openLogs(targets: OutputTarget[]): void {
  const first = targets[0];
  if (first?.output.log === undefined) return;
  const log = openContainerLog(first.output);
  for (const target of targets)
    if (target.output.log !== undefined) target.log = openLogStream(log, target.isStdout ? "stdout" : "stderr");
}

/** Starts the logging programs that the outputs lead to, one where both lead to the same. Throws a message. */
function startPrograms(targets: OutputTarget[]): LoggingProgram[] {
  const programs: LoggingProgram[] = [];
  for (const target of targets) {
    if (target.output.program === undefined || target.fd >= 0) continue;
    // stderr is the last one, if it is there.
    const last = targets[targets.length - 1];
    const takesStderr = !last.isStdout && last.output === target.output;
    const [program, stdout, stderr] = startLoggingProgram(target.output, target.isStdout, takesStderr);
    programs[programs.length] = program;
    if (target.isStdout) target.fd = stdout;
    if (takesStderr) last.fd = stderr;
  }
  return programs;
}

/** A pipe that belongs to the container's root user, our end of it non-blocking. */
function containerPipe(state: ProcessState): LuaMultiReturn<[number, number]> {
  const [reader, writer] = files.pipe();
  if (reader < 0) return error(`pipe: ${errorText(reader)}`, 0);
  if (state.rootUID !== 0 || state.rootGID !== 0) {
    const result = files.fchown(reader, state.rootUID, state.rootGID);
    if (result < 0) return error(`chown of a stdio pipe: ${errorText(result)}`, 0);
  }
  return $multi(reader, writer);
}

/**
 * Opens everything that the paths of the process state name, and makes what the runtime gets. Throws a message that
 * names the path.
 *
 * @param fifoTimeout how long the readers of output FIFOs may take, in ms
 */
export function openStdio(state: ProcessState, fifoTimeout: number, abandoned: () => boolean): Stdio {
  // A client may open its ends one after the other and wait at each: so stdin, which needs no client, comes first, and
  // the outputs are tried side by side.
  let stdinSource = -1;
  let stdinKeeper = -1;
  if (!isNull(state.stdin)) {
    stdinSource = mustOpen(state.stdin, files.O_RDONLY + files.O_NONBLOCK);
    if (files.isPipe(stdinSource)) stdinKeeper = mustOpen(state.stdin, files.O_WRONLY + files.O_NONBLOCK);
    // It can be opened, and has nothing to be read.
    else if (files.executable(`${state.stdin}/.`) >= 0) openFailed(state.stdin, "is a directory");
  }
  const targets = targetsOf(state);
  openLogs(targets);
  const programs = startPrograms(targets);
  openTargets(targets, fifoTimeout, abandoned);
  awaitReady(programs, fifoTimeout, abandoned);

  const nothing = mustOpen("/dev/null", files.O_RDWR);
  const child = { stdin: nothing, stdout: nothing, stderr: nothing };
  const consoleSocket = state.terminal ? openConsoleSocket() : undefined;
  const stdio: Stdio = {
    child,
    consoleSocket,
    master: -1,
    stdinSource,
    stdinKeeper,
    stdin: undefined,
    targets,
    outputs: [],
    programs,
  };
  if (state.terminal) return stdio;

  if (stdinSource >= 0) {
    const [reader, writer] = containerPipe(state);
    files.setNonBlocking(writer);
    child.stdin = reader;
    stdio.stdin = startCopier(stdinSource, writer, -1, true);
  }
  for (const target of targets) {
    const [reader, writer] = containerPipe(state);
    files.setNonBlocking(reader);
    if (target.isStdout) child.stdout = writer;
    else child.stderr = writer;
    stdio.outputs[stdio.outputs.length] = startCopier(
      reader,
      target.fd,
      target.keeper,
      false,
      false,
      target.output.program !== undefined,
      target.log,
    );
  }
  return stdio;
}

/** Closes what only the runtime needs: the pipes must end when the process does. */
export function closeChildEnds(stdio: Stdio): void {
  const { stdin, stdout, stderr } = stdio.child;
  files.close(stdin);
  if (stdout !== stdin) files.close(stdout);
  if (stderr !== stdin && stderr !== stdout) files.close(stderr);
}

/** Takes the terminal from the runtime and starts copying. Throws when none came. */
export function attachConsole(stdio: Stdio): void {
  if (stdio.consoleSocket === undefined) return;
  stdio.master = receiveConsole(stdio.consoleSocket);
  // Each direction is watched for itself, which takes a descriptor for each.
  if (stdio.stdinSource >= 0)
    stdio.stdin = startCopier(stdio.stdinSource, files.duplicate(stdio.master), -1, true, true);
  for (const target of stdio.targets) {
    const source = files.duplicate(stdio.master);
    const isLogged = target.output.program !== undefined;
    stdio.outputs[0] = startCopier(source, target.fd, target.keeper, false, true, isLogged, target.log);
    stdio.outputs[0].partner = stdio.stdin;
  }
}

/** Lets what the runtime prints while it makes the process pass, although the client does not read it yet. */
export function passOver(stdio: Stdio): void {
  for (const output of stdio.outputs) beginOverflow(output);
}

/** Keeps all output again. */
export function passNothingOver(stdio: Stdio): void {
  for (const output of stdio.outputs) endOverflow(output);
}

/** Lets the process's stdin end when the client's writers are gone and everything they wrote has been passed on. */
export function closeStdin(stdio: Stdio): void {
  close(stdio.stdinKeeper);
  stdio.stdinKeeper = -1;
  if (stdio.stdin !== undefined) pump(stdio.stdin);
}

/** Sets the size of the terminal, if there is one. */
export function resize(stdio: Stdio, columns: number, rows: number): void {
  if (stdio.master >= 0) files.setWindowSize(stdio.master, columns, rows);
}

/**
 * Waits until the output of a process that has ended is where it belongs.
 *
 * Output that does not fit into a FIFO waits for the client that has the FIFO open, for as long as it has. Of a FIFO that
 * no client has open any more it is dropped, because otherwise the exit of the process would never be told. A logging program has some
 * time for it.
 *
 * @param writersTimeout how long others than the process may keep its output open, in ms; undefined: as long as they like
 */
export function drain(stdio: Stdio, writersTimeout: number | undefined): void {
  const outputs = stdio.outputs;
  let deadline = writersTimeout === undefined ? undefined : waiting.now() + writersTimeout;
  /** When the logging programs' time for what is left is over, once nothing can be added to it. */
  let loggingDeadline: number | undefined;
  const waitsForProgram = (output: Copier) => output.isLogged && output.hungUp;
  const needsAttention = () => {
    let allEnded = true;
    for (const output of outputs) {
      if (output.ended) continue;
      if (output.deserted || (output.hungUp && output.keeper >= 0)) return true;
      if (waitsForProgram(output) && loggingDeadline === undefined) return true;
      allEnded = false;
    }
    return allEnded;
  };
  // A terminal that nobody has open is closed for good now.
  for (const output of outputs) output.reopens = false;
  while (true) {
    let open = false;
    for (const output of outputs) {
      if (!output.ended && output.hungUp) dropKeeper(output);
      pump(output);
      if (output.deserted) {
        if (discardRest(output)) pump(output);
        else closeCopier(output);
      }
      if (output.ended) continue;
      open = true;
      if (waitsForProgram(output)) loggingDeadline ??= waiting.now() + LOGGING_TIMEOUT;
    }
    if (!open) return;
    if (runUntil(needsAttention, earlier(deadline, loggingDeadline))) continue;
    if (loggingDeadline !== undefined && waiting.now() >= loggingDeadline) {
      loggingDeadline = undefined;
      for (const program of stdio.programs) killLoggingProgram(program, "it does not take the output");
      // It may have children that have the pipe, too.
      for (const output of outputs) if (waitsForProgram(output) && !discardRest(output)) closeCopier(output);
    } else {
      deadline = undefined;
      for (const output of outputs) cutSource(output);
    }
  }
}

function earlier(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || (other !== undefined && other < one) ? other : one;
}

/** Closes everything that is still open, and waits for the logging programs to end. */
export function closeStdio(stdio: Stdio): void {
  if (stdio.consoleSocket !== undefined) closeConsoleSocket(stdio.consoleSocket);
  if (stdio.stdin !== undefined) closeCopier(stdio.stdin);
  for (const output of stdio.outputs) closeCopier(output);
  close(stdio.stdinKeeper);
  close(stdio.master);
  endLoggingPrograms(stdio.programs);
}

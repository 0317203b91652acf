/** A program that gets the output of a process, by pipes: `binary://` in containerd 1.x's API. */
import type { OutputJson } from "../contract/shim/process-json";
import { logWarning } from "./log";
import { close, runUntil, watch } from "./loop";
import { type Child, expect } from "./reaper";
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";
import * as processes from "./syscalls/processes";
import * as waiting from "./syscalls/waiting";

/** A logging program that runs, or has run. */
export interface LoggingProgram {
  readonly path: string;
  readonly child: Child;
  /** It closes the other end of this pipe, or writes into it, when it is ready. Closed then, and -1. */
  ready: number;
  /** Why it could not be executed. */
  failure: string | undefined;
}

/** The descriptor that it closes when it is ready. */
const READY = 5;
/** How the words begin that come from there when it could not be executed. */
const FAILURE = "fork/exec ";
/** How long it may take for what is left of the output when the process has ended, and then to end itself, in ms. */
export const LOGGING_TIMEOUT = 10_000;
/** How long one that has ended may take to be reaped, in ms. */
const REAP_TIMEOUT = 1_000;

/** A pipe whose write end is not blocking; without a writer where there is nothing to be written. */
function outputPipe(isUsed: boolean): LuaMultiReturn<[number, number]> {
  const [reader, writer] = files.pipe();
  if (reader < 0) return error(`pipe: ${errorText(reader)}`, 0);
  if (isUsed) files.setNonBlocking(writer);
  else files.close(writer);
  return $multi(reader, isUsed ? writer : -1);
}

/**
 * Starts the program: it gets stdout and stderr as its descriptors 3 and 4, and 5, which it closes when it is ready. Throws a message.
 *
 * @param stdout whether it gets the process's
 * @param stderr whether it gets the process's
 * @returns with the write ends of its pipes, -1 for what it does not get
 */
export function startLoggingProgram(
  output: OutputJson,
  stdout: boolean,
  stderr: boolean,
): LuaMultiReturn<[LoggingProgram, number, number]> {
  const { path } = output;
  const found = files.executable(path);
  if (found < 0) return error(`open ${path}: ${errorText(found)}`, 0);
  const [outReader, outWriter] = outputPipe(stdout);
  const [errReader, errWriter] = outputPipe(stderr);
  const [ready, readyWriter] = files.pipe();
  if (ready < 0) return error(`pipe: ${errorText(ready)}`, 0);
  const nothing = files.open("/dev/null", files.O_RDWR);
  const pid = processes.spawn(
    {
      path,
      copy: -1,
      args: [path, ...output.program!.args],
      environment: output.program!.environment,
      directory: "/",
      descriptors: [nothing, nothing, nothing, outReader, errReader, readyWriter],
    },
    // The log's descriptor may be one of those that it was given.
    (what) => files.write(READY, what, what.length),
  );
  for (const fd of [nothing, outReader, errReader, readyWriter]) files.close(fd);
  if (pid < 0) return error(`fork/exec ${path}: ${errorText(pid)}`, 0);
  const logging: LoggingProgram = { path, child: expect(pid, true), ready, failure: undefined };
  watch(ready, waiting.EPOLLIN, () => {
    const words = files.readText(ready, 4096);
    if (string.sub(words, 1, FAILURE.length) === FAILURE) logging.failure = words;
    close(ready);
    logging.ready = -1;
  });
  return $multi(logging, outWriter, errWriter);
}

/** Whether it has ended, which may not have been seen yet: its memory goes before its descriptors do. */
function hasEnded({ child }: LoggingProgram): boolean {
  return child.status !== undefined || files.readFile(`/proc/${child.pid}/cmdline`) === "";
}

/**
 * Waits until the programs are ready. Throws a message that names the one that is not.
 *
 * @param timeout in ms
 * @param abandoned when it says so, nobody is interested any more
 */
export function awaitReady(programs: readonly LoggingProgram[], timeout: number, abandoned: () => boolean): void {
  const deadline = waiting.now() + timeout;
  for (const logging of programs) {
    const isReady = () => logging.ready < 0;
    if (!runUntil(() => isReady() || abandoned(), deadline)) error(`open ${logging.path}: deadline exceeded`, 0);
    if (!isReady()) error(`open ${logging.path}: the daemon is gone`, 0);
    const { child, failure } = logging;
    if (failure !== undefined) error(failure, 0);
    if (!hasEnded(logging)) continue;
    runUntil(() => child.status !== undefined, waiting.now() + REAP_TIMEOUT);
    // One that goes on in a child of its own has ended well.
    const status = child.status ?? 0;
    if (status !== 0) error(`open ${logging.path}: exit status ${status} before it was ready`, 0);
  }
}

/** Kills one that takes too long. */
export function killLoggingProgram({ path, child }: LoggingProgram, why: string): void {
  if (child.status !== undefined) return;
  logWarning(`${path} is killed: ${why}`);
  processes.kill(child.pid, processes.SIGKILL);
}

/** Waits for the ends of programs whose output has ended. */
export function endLoggingPrograms(programs: readonly LoggingProgram[]): void {
  const deadline = waiting.now() + LOGGING_TIMEOUT;
  for (const logging of programs) {
    const { path, child } = logging;
    const ended = () => child.status !== undefined;
    if (!runUntil(ended, deadline)) killLoggingProgram(logging, "it has not ended with the output");
    runUntil(ended, waiting.now() + REAP_TIMEOUT);
    if (child.status !== 0) logWarning(`${path}: exit status ${child.status}`);
  }
}

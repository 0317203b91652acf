/** The OCI runtime's command line. */
import { UNKNOWN_STATUS } from "../contract/shim/exit-status";
import { PID_FILE, PROCESS_JSON, RUNTIME_LOG } from "../contract/shim/process-directory";
import { logError } from "./log";
import { close, runUntil, watch } from "./loop";
import type { ProcessState } from "./process-state";
import { type Child, expect, killStrays } from "./reaper";
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";
import * as processes from "./syscalls/processes";
import * as waiting from "./syscalls/waiting";

/** How long a call that cleans up may take, in ms: a hanging runtime, or a hook that it waits for, must not hold an exit for ever. */
export const CLEAN_UP_TIMEOUT = 10_000;
/** How much of what a call prints is kept from its beginning, and how much from its end, in bytes. */
const KEPT_LENGTH = 8192;

/** What a finished call left: its status and what it printed. */
export interface CallResult {
  readonly status: number;
  readonly output: string;
}

/** The descriptors that a process gets as its 0, 1 and 2. */
export interface ChildStdio {
  readonly stdin: number;
  readonly stdout: number;
  readonly stderr: number;
}

let runtimeName = "";
let runtimePath = "";
let globalArgs: readonly string[] = [];
/** A descriptor of what makes the process in place of the file at {@link runtimePath}, until it has; -1: none. */
let runtimeCopy = -1;

/**
 * Looks the runtime up, on the PATH when its name has no slash. Throws a message when it is not to be had.
 *
 * @param copy a descriptor of a copy of its program, for the call that makes the process; -1: none
 */
export function findRuntime(name: string, args: readonly string[], copy: number): void {
  runtimeName = name;
  const [slash] = string.find(name, "/", 1, true);
  runtimePath = slash === undefined ? lookUp(name) : checkPath(name);
  globalArgs = args;
  runtimeCopy = copy;
}

/** Now, and not when it fails to be executed: by then a client would have been waited for. */
function checkPath(path: string): string {
  const result = files.executable(path);
  return result < 0 ? error(`fork/exec ${path}: ${errorText(result)}`, 0) : path;
}

function lookUp(name: string): string {
  for (const [directory] of string.gmatch(processes.environment("PATH") ?? "", "[^:]+")) {
    const path = `${directory}/${name}`;
    const isDirectory = () => files.executable(`${path}/.`) >= 0;
    if (files.executable(path) >= 0 && !isDirectory()) return path;
  }
  return error(`${name} not installed on system`, 0);
}

function add(args: string[], ...more: string[]): void {
  for (const arg of more) args[args.length] = arg;
}

/** Where the console socket is, when the process has a terminal. */
export type ConsolePath = string | undefined;

/** The arguments of the call that makes the process: create, exec or restore. */
export function creationArgs(state: ProcessState, id: string, bundle: string, consolePath: ConsolePath): string[] {
  const directory = files.getcwd();
  // The runtime would make it for everybody to read.
  files.close(files.open(RUNTIME_LOG, files.O_WRONLY + files.O_CREAT, 0o600));
  const args = ["--log", `${directory}/${RUNTIME_LOG}`, "--log-format", "json"];
  add(args, ...globalArgs);
  const checkpoint = state.checkpoint;
  if (state.exec) {
    add(args, "exec", "-d", "--process", `${directory}/${PROCESS_JSON}`);
  } else if (checkpoint !== undefined) {
    // The runtime makes the last directory only.
    const work = `${checkpoint.path}/criu.work`;
    files.mkdir(work, 0o700);
    add(args, "restore", "-d", "--bundle", bundle);
    add(args, "--image-path", checkpoint.path);
    add(args, "--work-path", `${work}/restore-${os.date("!%Y-%m-%dT%H:%M:%SZ")}`);
    if (checkpoint.shell) add(args, "--shell-job");
    if (checkpoint.tcp) add(args, "--tcp-established");
    if (checkpoint.unixSockets) add(args, "--ext-unix-sk");
    if (state.noPivotRoot) add(args, "--no-pivot");
    for (const namespace of checkpoint.emptyNamespaces) add(args, "--empty-ns", namespace);
  } else {
    add(args, "create", "--bundle", bundle);
    if (state.noPivotRoot) add(args, "--no-pivot");
    if (state.noNewKeyring) add(args, "--no-new-keyring");
  }
  if (consolePath !== undefined) add(args, "--console-socket", consolePath);
  add(args, "--pid-file", `${directory}/${PID_FILE}`, id);
  return args;
}

/** Spawns the runtime's `create`, `exec` or `restore` with the process's stdio. An error of the shim if it can't be executed. */
export function spawnCreate(args: string[], bundle: string, stdio: ChildStdio): Child {
  const child = spawn(args, bundle, stdio, logError);
  if (runtimeCopy >= 0) files.close(runtimeCopy);
  runtimeCopy = -1;
  return child;
}

function spawn(args: string[], directory: string, stdio: ChildStdio, failed: (what: string) => void): Child {
  const argv = [runtimeName];
  add(argv, ...args);
  const descriptors = [stdio.stdin, stdio.stdout, stdio.stderr];
  const program = { path: runtimePath, copy: runtimeCopy, args: argv, environment: undefined, directory, descriptors };
  const pid = processes.spawn(program, failed);
  if (pid < 0) return error(`fork/exec ${runtimeName}: ${errorText(pid)}`, 0);
  return expect(pid);
}

/**
 * A call whose output is wanted. The bundle is not its working directory: it may be gone by now.
 *
 * @param timeout how long it may take, in ms; then it is killed
 * @param mayGoOn as long as it says so the timeout does not count
 */
export function call(args: readonly string[], timeout: number, mayGoOn: () => boolean = () => false): CallResult {
  const [reader, writer] = files.pipe();
  if (reader < 0) return { status: UNKNOWN_STATUS, output: `pipe: ${errorText(reader)}` };
  files.setNonBlocking(reader);
  let head = "";
  let tail = "";
  let omitted = 0;
  const readOutput = () => {
    while (true) {
      const text = files.readText(reader, KEPT_LENGTH);
      if (text === "") return;
      const room = KEPT_LENGTH - head.length;
      head += string.sub(text, 1, room);
      const rest = tail + string.sub(text, room + 1);
      tail = string.sub(rest, -KEPT_LENGTH);
      omitted += rest.length - tail.length;
    }
  };
  watch(reader, waiting.EPOLLIN + waiting.EPOLLET, readOutput);
  const argv: string[] = [];
  add(argv, ...globalArgs);
  add(argv, ...args);
  const nothing = files.open("/dev/null", files.O_RDONLY);
  const [ok, child] = pcall(spawn, argv, "/", { stdin: nothing, stdout: writer, stderr: writer }, printError);
  files.close(writer);
  files.close(nothing);
  if (!ok) {
    close(reader);
    return { status: UNKNOWN_STATUS, output: `${child}` };
  }
  const ended = () => child.status !== undefined;
  runUntil(() => ended() || !mayGoOn());
  if (!runUntil(ended, waiting.now() + timeout)) endCall(child, timeout);
  readOutput();
  close(reader);
  const output = omitted === 0 ? head + tail : `${head}\n[${string.format("%d", omitted)} bytes]\n${tail}`;
  return { status: child.status ?? UNKNOWN_STATUS, output };
}

/**
 * Kills a call, and what it has started: a runtime that is a script, and hooks, have processes of their own. Their orphans become
 * our children one generation after the other.
 *
 * @param timeout how long that may take, in ms
 */
export function endCall(call: Child, timeout: number): void {
  // It is still our child, so its pid is nobody else's.
  processes.kill(call.pid, processes.SIGKILL);
  runUntil(() => call.status !== undefined && !killStrays(), waiting.now() + timeout);
}

function printError(what: string): void {
  files.write(2, what, what.length);
}

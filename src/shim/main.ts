/**
 * containerd-shim <id> <bundle> <runtime>: holds one process of a container. Runs in the process directory; see
 * docs/shim.md.
 */

import { SPAWNER_FLAG } from "../contract/shim/spawner";
import { openControl } from "./control";
import { ALREADY_LOGGED, type Assignment, abandon, create, isAbandoned, start } from "./creation";
import { endsItsNamespace, finish } from "./exit";
import { openExitFifo, reserveExitStatus } from "./exit-status";
import { logError, openLog } from "./log";
import { openLoop, runUntil } from "./loop";
import { readProcessState } from "./process-state";
import { startReaper } from "./reaper";
import { findRuntime } from "./runtime";
import { spawnShims } from "./spawner";
import { openStartChannel, takeChannelDescriptor } from "./start-channel";
import { closeStdin, openStdio, resize, type Stdio } from "./stdio";
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";
import * as memory from "./syscalls/memory";
import * as processes from "./syscalls/processes";
import * as waiting from "./syscalls/waiting";

/** How long the reader of an output FIFO may take, in ms. */
const DEFAULT_FIFO_TIMEOUT = 15_000;
/** Our own daemon has started us. */
let hasChannel = false;
/** A spawner has forked us. */
let isForked = false;
/** How long a process must have run before its shim's text is given back, in ms. */
const RELEASE_DELAY = 250;

/** Makes the process a shim: named, the leader of a session, with all signals blocked, and the new parent of its descendants' orphans. */
function becomeShim(): void {
  processes.setName("containerd-shim");
  processes.leadOwnSession();
  processes.blockSignals();
  const result = processes.becomeSubreaper();
  if (result < 0) error(`subreaper: ${errorText(result)}`, 0);
}

function prepare(
  id: string,
  bundle: string,
  runtime: string,
  channelDescriptor: number | undefined,
  runtimeCopy: number,
): Assignment {
  files.closeInherited(channelDescriptor ?? -1, runtimeCopy);
  files.occupyStandardDescriptors();
  openLog();
  const fifoTimeout = tonumber(processes.takeEnvironment("CONTAINERD_SHIM_FIFO_TIMEOUT")) ?? DEFAULT_FIFO_TIMEOUT;
  becomeShim();
  openLoop();
  const channel = channelDescriptor === undefined ? undefined : openStartChannel(channelDescriptor);
  startReaper();
  openExitFifo();
  let stdio: Stdio | undefined;
  let closesStdin = false;
  openControl({
    closeStdin: () => {
      closesStdin = true;
      if (stdio !== undefined) closeStdin(stdio);
    },
    resize: (columns, rows) => {
      if (stdio !== undefined) resize(stdio, columns, rows);
    },
  });
  const state = readProcessState();
  findRuntime(runtime, state.runtimeArgs, runtimeCopy);
  reserveExitStatus();
  stdio = openStdio(state, fifoTimeout, () => isAbandoned(state, channel));
  if (closesStdin) closeStdin(stdio);
  // Runtimes give an init the one that its container asks for, but an exec their own (runc 1.1). Files of ours have modes that need none.
  if (state.umask !== undefined) files.setUmask(state.umask);
  return { id, bundle, state, stdio, channel };
}

function serve(
  id: string,
  bundle: string,
  runtime: string,
  channelDescriptor: number | undefined,
  runtimeCopy: number,
): void {
  // A start makes less garbage than collecting it would touch: a forked shim shares every page that nobody writes to.
  collectAt(1000);
  const assignment = prepare(id, bundle, runtime, channelDescriptor, runtimeCopy);
  const child = create(assignment);
  // A daemon without a channel runs `start` itself, perhaps still does when the process has ended: kill there in any
  // case, as its own shim would, so that the container is not deleted under its hands. Ours expects that.
  const endsAlone = assignment.channel !== undefined && !assignment.state.exec && endsItsNamespace(child.pid);
  if (start(assignment, child)) {
    const ended = () => child.status !== undefined;
    // Giving text back and faulting it in again is wasted on a process that ends at once, as most execs do.
    if (!runUntil(ended, waiting.now() + RELEASE_DELAY)) memory.releaseText();
    // Where the heap is shared, collecting a little garbage costs more memory than it frees.
    collectAt(isForked ? 150 : 110);
    runUntil(ended);
    // The daemon does it then, as for a shim that was killed.
    if (!finish(assignment, child, endsAlone)) error(ALREADY_LOGGED, 0);
  } else {
    abandon(assignment, child);
  }
}

/** Has garbage collected when memory has grown to so many per cent of what it is now. */
function collectAt(percent: number): void {
  collectgarbage("setpause", percent);
  collectgarbage("restart", -1);
}

/** What the command line says, or, in a child of a spawner, what its daemon wants; false when there is nothing left to do. */
function run(): boolean {
  // Once, for all shims that a spawner forks.
  processes.resetSignals();
  const channel = takeChannelDescriptor();
  hasChannel = channel !== undefined;
  if (channel !== undefined && arg[1] === SPAWNER_FLAG) {
    const launch = spawnShims(channel);
    isForked = true;
    if (launch !== undefined) serve(...launch.args, launch.channel, launch.runtimeCopy);
    return true;
  }
  const id = arg[1];
  const bundle = arg[2];
  const runtime = arg[3];
  if (id === undefined || bundle === undefined || runtime === undefined) return false;
  serve(id, bundle, runtime, channel, -1);
  return true;
}

/** The whole program. Whoever loads this file calls it, so that what only loading needed can go. */
export function main(): never {
  // At once: taking everything down in order would write to pages that are shared.
  return processes.exit(status());
}

function status(): number {
  const [ok, result] = pcall(run);
  if (ok) {
    if (result) return 0;
    io.stderr.write("usage: containerd-shim <id> <bundle> <runtime>\n");
    return 2;
  }
  const message = `${result}`;
  // A daemon without a channel takes a shim that has failed for the reason of the failure, and does not look into the runtime's log.
  if (message === ALREADY_LOGGED) return hasChannel ? 1 : 0;
  logError(message);
  return 1;
}

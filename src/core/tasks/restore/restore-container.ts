import { join } from "node:path";
import { errorText } from "../../../system/linux/libc.js";
import { startTimeOf } from "../../../system/linux/proc-stat.js";
import { requireDescriptors } from "../../../system/linux/reserved-descriptors.js";
import { closeTree } from "../../files/close-tree.js";
import type { Operation } from "../../telemetry/operations.js";
import { watchOom } from "../exit/oom.js";
import { releaseRest } from "../exit/release.js";
import { watchLifetime } from "../lifetime.js";
import { INIT, Process } from "../process.js";
import { OciRuntime } from "../runtime/oci-runtime.js";
import { childrenOf, findShims } from "../shims/shim-process.js";
import {
  type ContainerState,
  containerState,
  readContainerState,
  writeContainerState,
} from "../state-directory/container-state.js";
import { type ContainerDirectory, processDirectoriesAmong } from "../state-directory/ownership.js";
import { readPidFile } from "../state-directory/pid-file.js";
import { Task } from "../task.js";
import type { Tasks } from "../tasks.js";
import { findIdentity, follow, loadProcess, wasUndone } from "./restore-process.js";
import { adoptExec, endLostExec } from "./unfinished-exec.js";
import { endUnfinishedStart } from "./unfinished-start.js";

/**
 * Takes over one container. What its files no longer say is found out elsewhere; a container that never ran, or whose process can't be
 * identified any more, is ended. Waits for no other program where nothing is damaged.
 */
export async function restoreContainer(
  tasks: Tasks,
  id: string,
  found: ContainerDirectory,
  operation: Operation,
): Promise<void> {
  const directory = join(tasks.stateDir, id);
  closeTree(directory);
  const state = found.state ?? savedState(tasks, id) ?? (await rescueState(tasks, id, operation));
  const shim = tasks.shims.programOf(state.shim);
  const task = Task.load(tasks.removals, tasks.stateDir, id, state, shim);
  if (task.ended) {
    releaseRest(tasks, task);
    return;
  }
  // Others may have taken them while the runtime was asked.
  if (found.state === undefined) requireDescriptors();
  let processes: Found;
  try {
    processes = await findProcesses(tasks, task, processDirectoriesAmong(found.entries), operation);
  } catch (error) {
    for (const proc of task.processes.values()) proc.close();
    throw error;
  }
  const { init, underWay, undone, lost } = processes;
  if (init === undefined) {
    void tasks.operations.run({ kind: "restore", id, pid: INIT }, (ending) => endUnfinishedStart(tasks, task, ending));
    return;
  }
  // From here on nothing throws: it is taken over as a whole or not at all.
  task.paused = undefined;
  tasks.add(task);
  const oom = watchOom(tasks, task, true);
  for (const proc of task.processes.values()) {
    tasks.reports.tellStartOnce(task, proc);
    follow(tasks, task, proc, proc === init ? () => oom.flush(init) : undefined);
  }
  oom.announce();
  watchLifetime(tasks.log, task);
  void init.done.finally(oom.end);
  for (const name of underWay) {
    void tasks.operations.run({ kind: "restore", id, pid: name }, (adoption) => adoptExec(tasks, task, name, adoption));
  }
  for (const name of [...undone, ...lost]) void endLostExec(tasks, task, name);
}

/** What there is of a container, besides the processes that are loaded. */
interface Found {
  /** Undefined when it never ran, or its process can't be identified any more. */
  init: Process | undefined;
  /** Names of execs whose shim is still creating them: the daemon that asked for them has died, … */
  underWay: string[];
  /** … whose call had failed, … */
  undone: string[];
  /** … and whose directory is gone, with their exit untold. */
  lost: string[];
}

/** Loads the processes of a container. Throws a system error; those that it has loaded by then are the container's. */
async function findProcesses(tasks: Tasks, task: Task, names: readonly string[], operation: Operation): Promise<Found> {
  const init = names.includes(INIT) ? await findInit(tasks, task, operation) : undefined;
  if (init !== undefined) task.processes.set(INIT, init);
  const underWay: string[] = [];
  const undone: string[] = [];
  for (const name of names) {
    if (name === INIT) continue;
    const identity = findIdentity(task, name);
    if (identity === undefined) underWay.push(name);
    else if (wasUndone(tasks, task, name, identity)) undone.push(name);
    else task.processes.set(name, loadProcess(task, name, identity));
  }
  const runs = init !== undefined && (await wasStarted(tasks, task, init, operation));
  const lost = [...tasks.reports.history.running(task)].filter(
    ([name, isRunning]) => isRunning && !names.includes(name),
  );
  return { init: runs ? init : undefined, underWay, undone, lost: lost.map(([name]) => name) };
}

/** As it was written down, in state.json or in its init's process.json; undefined when both are lost. */
function savedState(tasks: Pick<Tasks, "log" | "stateDir">, id: string): ContainerState | undefined {
  const directory = join(tasks.stateDir, id);
  try {
    return readContainerState(directory);
  } catch (error) {
    const copy = Process.readState(join(directory, INIT)).container;
    const what = copy === undefined ? "lost" : "written anew from its copy in process.json";
    tasks.log.warn({ id, error: errorText(error) }, `containerd: state.json ${what}`);
    if (copy !== undefined) rewriteState(tasks, id, copy);
    return copy;
  }
}

function rewriteState({ log, stateDir }: Pick<Tasks, "log" | "stateDir">, id: string, state: ContainerState): void {
  try {
    writeContainerState(join(stateDir, id), state);
  } catch (error) {
    // The next daemon finds out the same.
    log.warn({ id, error: errorText(error) }, "containerd: write state.json");
  }
}

/**
 * The state of a container whose files are all lost, as the daemon's own runtime knows it. Nothing is taken from the command line of a
 * process, since it would be executed. A container that this runtime does not know is still followed to its end: its shim has the runtime's
 * name.
 */
async function rescueState(tasks: Tasks, id: string, operation: Operation): Promise<ContainerState> {
  const { runtime, runtimeArgs } = tasks;
  const directory = join(tasks.stateDir, id, INIT);
  operation.doing = "asking the runtime what container it is";
  const known = await new OciRuntime(runtime, runtimeArgs).state(id, deadline(tasks));
  const pids = [
    readPidFile(directory),
    ...findShims(directory, id)
      .flatMap(childrenOf)
      .map(({ pid }) => pid),
  ];
  const isIt = known?.bundle !== undefined && known.pid !== undefined && pids.includes(known.pid);
  const state = containerState({ bundle: isIt ? known.bundle! : "", runtime, runtimeArgs });
  if (isIt) {
    tasks.log.warn(
      { id, bundle: state.bundle, runtime },
      "containerd: state.json written anew from what the runtime says",
    );
    rewriteState(tasks, id, state);
  }
  return state;
}

/** The container's init, as far as there is one, with what is lost of its identity found out. */
async function findInit(
  tasks: Pick<Tasks, "startTimeout">,
  task: Task,
  operation: Operation,
): Promise<Process | undefined> {
  const found = findIdentity(task, INIT);
  if (found !== undefined && (found.startTime !== "" || startTimeOf(found.pid) === undefined)) {
    return loadProcess(task, INIT, found);
  }
  operation.doing = "asking the runtime which process it is";
  const state = await task.runtime.state(task.id, deadline(tasks));
  const pid = (await task.container.isOurs(state)) ? state?.pid : undefined;
  const isKnown = pid !== undefined && pid > 0 && (found === undefined || found.pid === pid);
  if (isKnown) return loadProcess(task, INIT, { pid, startTime: startTimeOf(pid) ?? "" });
  return found && loadProcess(task, INIT, found);
}

function deadline({ startTimeout }: Pick<Tasks, "startTimeout">) {
  return { signal: AbortSignal.timeout(startTimeout) };
}

/**
 * Whether a container that has a process was started, or had only been created when its daemon died. The runtime is asked only if the start
 * is not recorded: another project's daemon made it, or ours died while it answered.
 */
async function wasStarted(tasks: Tasks, task: Task, init: Process, operation: Operation): Promise<boolean> {
  if (init.announced || init.exitStatus() !== undefined) return true;
  if (tasks.reports.history.hasStart(task, INIT, init.run)) return true;
  operation.doing = "asking the runtime whether it was started";
  const state = await task.runtime.state(task.id, deadline(tasks));
  // In this order: a shim that gives the start up says so before it deletes the container.
  return state?.status !== "created" && !init.abandoned;
}

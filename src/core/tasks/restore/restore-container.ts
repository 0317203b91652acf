import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CREATED_FILE } from "../../../contract/shim/process-directory.js";
import { errorText } from "../../../system/linux/libc.js";
import { startTimeOf } from "../../../system/linux/proc-stat.js";
import { requireDescriptors } from "../../../system/linux/reserved-descriptors.js";
import { closeTree } from "../../files/close-tree.js";
import type { Operation } from "../../telemetry/operations.js";
import { watchOom } from "../exit/oom.js";
import { releaseRest } from "../exit/release.js";
import type { TaskName } from "../history.js";
import { watchLifetime } from "../lifetime.js";
import { deleteTask } from "../operations/delete.js";
import { finishStart } from "../operations/start.js";
import { hasMark, INIT, Process } from "../process.js";
import { OciRuntime } from "../runtime/oci-runtime.js";
import { childrenOf, findShims } from "../shims/shim-process.js";
import {
  type ContainerState,
  containerState,
  readContainerState,
  writeContainerState,
} from "../state-directory/container-state.js";
import { type ContainerDirectory, processDirectoriesAmong } from "../state-directory/ownership.js";
import { removeTree } from "../state-directory/partial-directory.js";
import { readPidFile } from "../state-directory/pid-file.js";
import { Task } from "../task.js";
import type { Tasks } from "../tasks.js";
import { type FoundIdentity, findIdentity, follow, loadProcess, wasUndone } from "./restore-process.js";
import { adoptExec, endLostExec } from "./unfinished-exec.js";
import { endUnfinishedStart } from "./unfinished-start.js";

/**
 * Takes over one container. What its files no longer say is found out elsewhere; a container that was never created, or whose process can't
 * be identified any more, is ended. Waits for no other program where nothing is damaged.
 */
export async function restoreContainer(
  tasks: Tasks,
  name: TaskName,
  found: ContainerDirectory,
  operation: Operation,
): Promise<void> {
  const { id } = name;
  const directory = tasks.directoryOf(name);
  // A daemon of another project may have left it open; none has made those of namespaces.
  if (name.namespace === "") closeTree(directory);
  const state = found.state ?? savedState(tasks, name) ?? (await rescueState(tasks, name, operation));
  const shim = tasks.shims.programOf(state.shim);
  const task = Task.load(tasks.removals, directory, name, state, shim);
  if (task.ended) {
    releaseRest(tasks, task);
    return;
  }
  // Others may have taken them while the runtime was asked.
  if (found.state === undefined) requireDescriptors();
  let processes: Found;
  try {
    processes = await findProcesses(tasks, task, processDirectoriesAmong(found.entries, name.namespace), operation);
  } catch (error) {
    for (const proc of task.processes.values()) proc.close();
    throw error;
  }
  const { init, underWay, undone, lost } = processes;
  if (init === undefined) {
    const ended = tasks.operations.run({ kind: "restore", id, pid: INIT }, (ending) =>
      endUnfinishedStart(tasks, task, ending),
    );
    // A client that got no answer creates it again: it waits until the id is free, unless a runtime does not let go of it for long.
    if (!task.deleteOnExit) await Promise.race([ended, delay(tasks.startTimeout, undefined, { ref: false })]);
    return;
  }
  if (tasks.reports.history(task).hasDelete(task, init.run)) {
    void task.container.deleteRest().then(() => deleteTask(tasks, task));
    return;
  }
  // From here on nothing throws: it is taken over as a whole or not at all.
  task.isKnown = true;
  if (init.status === "stopped") task.markExited();
  tasks.add(task);
  if (!task.deleteOnExit) tasks.reports.tellCreateOnce(task, init);
  if (init.status === "running") task.oom = watchOom(tasks, task, true);
  for (const proc of task.processes.values()) goOn(tasks, task, proc);
  if (init.status === "running") {
    task.oom?.announce();
    watchLifetime(tasks.log, task);
  }
  if (init.status === "added" && hasMark(init.directory, "starting")) {
    const start = (starting: Operation) => finishStart(tasks, task, init, starting);
    void tasks.operations.run({ kind: "start", id }, start).catch(() => {});
  }
  for (const name of underWay) {
    void tasks.operations.run({ kind: "restore", id, pid: name }, (adoption) => adoptExec(tasks, task, name, adoption));
  }
  for (const name of [...undone, ...lost]) void endLostExec(tasks, task, name);
}

/** Goes on with a process as the earlier daemon would have. */
function goOn(tasks: Tasks, task: Task, proc: Process): void {
  if (proc.status === "stopped") return;
  const isInit = proc.id === INIT;
  if (proc.status === "running") tasks.reports.tellStartOnce(task, proc);
  else if (!isInit) tasks.reports.tellExecAddedOnce(task, proc);
  if (proc.status === "running" || isInit) follow(tasks, task, proc);
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
    if (!task.deleteOnExit && loadKept(tasks, task, name, identity)) continue;
    if (identity === undefined) underWay.push(name);
    else if (wasUndone(tasks, task, name, identity)) undone.push(name);
    else task.processes.set(name, loadProcess(task, name, identity));
  }
  const isThere = init !== undefined && (await isThereStill(tasks, task, init, operation));
  const lost = [...tasks.reports.history(task).running(task)].filter(
    ([name, isRunning]) => isRunning && !names.includes(name),
  );
  return { init: isThere ? init : undefined, underWay, undone, lost: lost.map(([name]) => name) };
}

/** Loads an exec that is kept until it is deleted, and does not run. False when it may run. Throws a system error. */
function loadKept(tasks: Tasks, task: Task, name: string, identity: FoundIdentity | undefined): boolean {
  const directory = join(task.directory, name);
  const isOver = task.init === undefined || task.init.status === "stopped";
  if (hasMark(directory, "reported")) task.processes.set(name, Process.loadStopped(directory, name, identity));
  else if (identity === undefined && !Process.isWhole(directory)) {
    // Its daemon was killed while it made it.
    tasks.removals.now(directory, () => removeTree(directory));
  } else if (identity === undefined) {
    const exec = Process.loadAdded(directory, name, isOver);
    exec.isStarting = hasMark(directory, "starting");
    task.processes.set(name, exec);
    return !exec.isStarting;
  } else if (wasUndone(tasks, task, name, identity)) {
    const exec = Process.loadStopped(directory, name, identity);
    exec.markFailed();
    task.processes.set(name, exec);
  } else return false;
  return true;
}

/** As it was written down, in state.json or in its init's process.json; undefined when both are lost. */
function savedState(tasks: Pick<Tasks, "log" | "directoryOf">, name: TaskName): ContainerState | undefined {
  const { id } = name;
  const directory = tasks.directoryOf(name);
  try {
    return readContainerState(directory);
  } catch (error) {
    const copy = Process.readState(join(directory, INIT)).container;
    const what = copy === undefined ? "lost" : "written anew from its copy in process.json";
    tasks.log.warn({ id, error: errorText(error) }, `containerd: state.json ${what}`);
    if (copy !== undefined) rewriteState(tasks, name, copy);
    return copy;
  }
}

function rewriteState(tasks: Pick<Tasks, "log" | "directoryOf">, name: TaskName, state: ContainerState): void {
  try {
    writeContainerState(tasks.directoryOf(name), state);
  } catch (error) {
    // The next daemon finds out the same.
    tasks.log.warn({ id: name.id, error: errorText(error) }, "containerd: write state.json");
  }
}

/**
 * The state of a container whose files are all lost, as the daemon's own runtime knows it. Nothing is taken from the command line of a
 * process, since it would be executed. A container that this runtime does not know is still followed to its end: its shim has the runtime's
 * name.
 */
async function rescueState(tasks: Tasks, name: TaskName, operation: Operation): Promise<ContainerState> {
  const { id } = name;
  const { runtime } = tasks;
  const runtimeArgs = [...tasks.runtimeArgs, ...tasks.rootArgs(name.namespace)];
  const directory = join(tasks.directoryOf(name), INIT);
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
    rewriteState(tasks, name, state);
  }
  return state;
}

/** The container's init, as far as there is one, with what is lost of its identity found out. */
async function findInit(
  tasks: Pick<Tasks, "reports" | "startTimeout">,
  task: Task,
  operation: Operation,
): Promise<Process | undefined> {
  const found = findIdentity(task, INIT);
  if (found !== undefined && (found.startTime !== "" || startTimeOf(found.pid) === undefined)) {
    return loadInit(tasks, task, found);
  }
  operation.doing = "asking the runtime which process it is";
  const state = await task.runtime.state(task.id, deadline(tasks));
  const pid = (await task.container.isOurs(state)) ? state?.pid : undefined;
  const isKnown = pid !== undefined && pid > 0 && (found === undefined || found.pid === pid);
  if (isKnown) return loadInit(tasks, task, { pid, startTime: startTimeOf(pid) ?? "" });
  return found && loadInit(tasks, task, found);
}

/** One that is kept may have stopped, or not be started yet. */
function loadInit(tasks: Pick<Tasks, "reports">, task: Task, identity: FoundIdentity): Process {
  const directory = join(task.directory, INIT);
  if (!task.deleteOnExit && hasMark(directory, "reported")) return Process.loadStopped(directory, INIT, identity);
  const init = loadProcess(task, INIT, identity);
  const wasTold = () => init.announced || tasks.reports.wasStartTold(task, INIT, init.run);
  if (!task.deleteOnExit && !wasTold()) init.status = "added";
  return init;
}

function deadline({ startTimeout }: Pick<Tasks, "startTimeout">) {
  return { signal: AbortSignal.timeout(startTimeout) };
}

/**
 * Whether a container that has a process is one that somebody was told of. One that is kept until it is deleted was created, which is
 * marked before anybody is told. Another was started, or had only been created when its daemon died: the runtime is asked only if the start
 * is not recorded: another project's daemon made it, or ours died while it answered.
 */
async function isThereStill(tasks: Tasks, task: Task, init: Process, operation: Operation): Promise<boolean> {
  if (!task.deleteOnExit) return hasMark(init.directory, CREATED_FILE) && !init.abandoned;
  if (init.announced || init.exitStatus() !== undefined) return true;
  if (tasks.reports.history(task).hasStart(task, INIT, init.run)) return true;
  operation.doing = "asking the runtime whether it was started";
  const state = await task.runtime.state(task.id, deadline(tasks));
  // In this order: a shim that gives the start up says so before it deletes the container.
  return state?.status !== "created" && !init.abandoned;
}

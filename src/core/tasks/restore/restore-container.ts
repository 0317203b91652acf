import { join } from "node:path";
import { errorText } from "../../../system/linux/libc.js";
import { startTimeOf } from "../../../system/linux/proc-stat.js";
import { closeTree } from "../../files/close-tree.js";
import type { Operation } from "../../telemetry/operations.js";
import { Container } from "../container.js";
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
import type { Supervisor } from "../supervisor.js";
import { announce, findIdentity, follow, loadProcess, wasUndone } from "./restore-process.js";
import { adoptExec, endLostExec } from "./unfinished-exec.js";
import { endUnfinishedStart } from "./unfinished-start.js";

/**
 * Takes over one container, with what can be found out about it; or, when it never ran or nobody can tell what it is any more, ends what there is of it.
 * Where nothing is damaged this waits for nobody.
 */
export async function restoreContainer(
  supervisor: Supervisor,
  id: string,
  found: ContainerDirectory,
  operation: Operation,
): Promise<void> {
  const directory = join(supervisor.stateDir, id);
  closeTree(directory);
  const state = found.state ?? savedState(supervisor, id) ?? (await rescueState(supervisor, id, operation));
  const shim = supervisor.shimProgramOf(state.shim);
  const container = Container.load(supervisor.removals, supervisor.stateDir, id, state, shim);
  if (container.ended) {
    releaseRest(supervisor, container);
    return;
  }
  const names = processDirectoriesAmong(found.entries);
  const init = names.includes(INIT) ? await findInit(supervisor, container, operation) : undefined;
  if (init !== undefined) container.processes.set(INIT, init);
  const underWay: string[] = [];
  const undone: string[] = [];
  for (const name of names) {
    if (name === INIT) continue;
    const identity = findIdentity(container, name);
    if (identity === undefined) underWay.push(name);
    else if (wasUndone(supervisor, container, name, identity)) undone.push(name);
    else container.processes.set(name, loadProcess(container, name, identity));
  }
  if (init === undefined || !(await wasStarted(supervisor, container, init, operation))) {
    void supervisor.operations.run({ kind: "restore", id, pid: INIT }, (ending) =>
      endUnfinishedStart(supervisor, container, ending),
    );
    return;
  }
  container.paused = undefined;
  supervisor.containers.set(id, container);
  const oom = watchOom(supervisor, container, true);
  for (const process of container.processes.values()) {
    announce(supervisor, container, process);
    follow(supervisor, container, process, process === init ? () => oom.flush(init) : undefined);
  }
  oom.announce();
  watchLifetime(supervisor.log, container);
  void init.done.finally(oom.end);
  for (const name of underWay) {
    void supervisor.operations.run({ kind: "restore", id, pid: name }, (adoption) =>
      adoptExec(supervisor, container, name, adoption),
    );
  }
  for (const name of undone) void endLostExec(supervisor, container, name);
  for (const [name, isRunning] of supervisor.events.running(id)) {
    if (isRunning && !names.includes(name)) void endLostExec(supervisor, container, name);
  }
}

/** As it was written down, in state.json or in its init's process.json; undefined when both are lost. */
function savedState(supervisor: Supervisor, id: string): ContainerState | undefined {
  const directory = join(supervisor.stateDir, id);
  try {
    return readContainerState(directory);
  } catch (error) {
    const copy = Process.readState(join(directory, INIT)).container;
    const what = copy === undefined ? "lost" : "written anew from its copy in process.json";
    supervisor.log.warn({ id, error: errorText(error) }, `containerd: state.json ${what}`);
    if (copy !== undefined) rewriteState(supervisor, id, copy);
    return copy;
  }
}

function rewriteState(supervisor: Supervisor, id: string, state: ContainerState): void {
  try {
    writeContainerState(join(supervisor.stateDir, id), state);
  } catch (error) {
    // The next daemon finds out the same.
    supervisor.log.warn({ id, error: errorText(error) }, "containerd: write state.json");
  }
}

/**
 * What is left to find out when nothing was written down: the daemon's own runtime may know the container. Nothing is taken from a process: what it says
 * would be executed. A container whose runtime nobody knows is followed to its end all the same: its shim knows it.
 */
async function rescueState(supervisor: Supervisor, id: string, operation: Operation): Promise<ContainerState> {
  const { runtime, runtimeArgs } = supervisor;
  const directory = join(supervisor.stateDir, id, INIT);
  operation.doing = "asking the runtime what container it is";
  const known = await new OciRuntime(runtime, runtimeArgs).state(id, deadline(supervisor));
  const pids = [
    readPidFile(directory),
    ...findShims(directory, id)
      .flatMap(childrenOf)
      .map(({ pid }) => pid),
  ];
  const isIt = known?.bundle !== undefined && known.pid !== undefined && pids.includes(known.pid);
  const state = containerState({ bundle: isIt ? known.bundle! : "", runtime, runtimeArgs });
  if (isIt) {
    supervisor.log.warn(
      { id, bundle: state.bundle, runtime },
      "containerd: state.json written anew from what the runtime says",
    );
    rewriteState(supervisor, id, state);
  }
  return state;
}

/** The container's init, as far as there is one, with what is lost of its identity found out. */
async function findInit(
  supervisor: Supervisor,
  container: Container,
  operation: Operation,
): Promise<Process | undefined> {
  const found = findIdentity(container, INIT);
  if (found !== undefined && (found.startTime !== "" || startTimeOf(found.pid) === undefined)) {
    return loadProcess(container, INIT, found);
  }
  operation.doing = "asking the runtime which process it is";
  const state = await container.runtime.state(container.id, deadline(supervisor));
  const pid = (await container.isOurs(state)) ? state?.pid : undefined;
  const isKnown = pid !== undefined && pid > 0 && (found === undefined || found.pid === pid);
  if (isKnown) return loadProcess(container, INIT, { pid, startTime: startTimeOf(pid) ?? "" });
  return found && loadProcess(container, INIT, found);
}

function deadline({ startTimeout }: Supervisor) {
  return { signal: AbortSignal.timeout(startTimeout) };
}

/**
 * Whether a container that has a process was started, or only created when its daemon died. Only a container of another daemon, or one
 * whose start was being answered, has to be looked up.
 */
async function wasStarted(
  supervisor: Supervisor,
  container: Container,
  init: Process,
  operation: Operation,
): Promise<boolean> {
  if (init.announced || init.exitStatus() !== undefined) return true;
  if (supervisor.events.hasStart(container.id, INIT, init.run)) return true;
  operation.doing = "asking the runtime whether it was started";
  const state = await container.runtime.state(container.id, deadline(supervisor));
  // In this order: its shim says so before it deletes it.
  return state?.status !== "created" && !init.abandoned;
}

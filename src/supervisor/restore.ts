import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../linux/libc.js";
import { killProcessGroup } from "../linux/pidfd.js";
import { closeTree } from "../runtime/close-tree.js";
import { Container } from "../runtime/container.js";
import { OciRuntime } from "../runtime/oci-runtime.js";
import { readPidFile } from "../runtime/pid-file.js";
import { INIT, Process } from "../runtime/process.js";
import { findShims, type ShimProcess } from "../runtime/shim-process.js";
import { withDeadline } from "./deadline.js";
import { followExit } from "./exit.js";
import { watchLifetime } from "./lifetime.js";
import { watchOom } from "./oom.js";
import type { Supervisor } from "./supervisor.js";

/** In ms: how often a start that an earlier daemon has left under way is looked at. */
const WATCH_INTERVAL = 20;
/** In ms: how long a shim that knows that its daemon is gone gets to clean up by itself. */
const SHIM_PATIENCE = 2_000;

/**
 * Takes over all containers that the state directory holds. One that can't be taken over is logged and does not stop the others; what has
 * to wait for a shim or a runtime goes on in the background with its id taken.
 */
export async function restore(supervisor: Supervisor): Promise<void> {
  const began = performance.now();
  const ids = readdirSync(supervisor.stateDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
  await Promise.all(
    ids.map(async (id) => {
      try {
        await supervisor.operations.run({ kind: "restore", id }, () => restoreContainer(supervisor, id));
      } catch (error) {
        supervisor.log.error({ id, error: errorText(error) }, "containerd: restore container");
      }
    }),
  );
  supervisor.log.info(
    { containers: supervisor.containers.size, duration: Math.round(performance.now() - began) },
    "containerd: containers restored",
  );
}

async function restoreContainer(supervisor: Supervisor, id: string): Promise<void> {
  closeTree(join(supervisor.stateDir, id));
  const container = await loadContainer(supervisor, id);
  if (container === undefined) return;
  const underWay: string[] = [];
  for (const name of container.processDirectories()) {
    try {
      container.processes.set(name, Process.load(join(container.directory, name), name));
    } catch (error) {
      supervisor.log.debug({ id, pid: name, error: errorText(error) }, "containerd: process not created yet");
      underWay.push(name);
    }
  }
  const { init } = container;
  if (init === undefined || !(await wasStarted(supervisor, container, init))) {
    void supervisor.operations.run({ kind: "restore", id, pid: INIT }, (operation) => {
      operation.doing = "removing what was never started";
      return endUnfinishedStart(supervisor, container);
    });
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
  watchLifetime(supervisor, container);
  void init.done.finally(oom.end);
  for (const name of underWay) {
    void supervisor.operations.run({ kind: "restore", id, pid: name }, (operation) => {
      operation.doing = "waiting for an exec of an earlier daemon";
      return adoptExec(supervisor, container, name);
    });
  }
}

/** The container of a directory; undefined when there is none, and the directory is removed. */
async function loadContainer(supervisor: Supervisor, id: string): Promise<Container | undefined> {
  const load = () => Container.load(supervisor.epoll, supervisor.stateDir, id, (name) => supervisor.shimProgram(name));
  try {
    return load();
  } catch (error) {
    const directory = join(supervisor.stateDir, id);
    if (!(await rescueState(supervisor, id))) {
      supervisor.log.warn({ id, error: errorText(error) }, "containerd: no container; removing its directory");
      rmSync(directory, { recursive: true, force: true });
      return undefined;
    }
    supervisor.log.warn({ id, error: errorText(error) }, "containerd: state.json written anew from what runs");
    return load();
  }
}

/**
 * Writes a lost state.json anew when its container still runs: the shim's command line tells bundle and runtime, or else the daemon's
 * own runtime may know the container. False when nothing runs.
 */
async function rescueState(supervisor: Supervisor, id: string): Promise<boolean> {
  const directory = join(supervisor.stateDir, id);
  const init = join(directory, INIT);
  if (readPidFile(init) === undefined) return false;
  const process = Process.load(init, INIT);
  process.close();
  const { runtimeArgs } = process.state;
  const shim = findShims(init, id)[0];
  if (shim !== undefined) {
    Container.writeState(directory, { bundle: shim.bundle, runtime: shim.runtime, runtimeArgs });
    return true;
  }
  if (!process.alive()) return false;
  const { runtime } = supervisor;
  const state = await new OciRuntime(supervisor.epoll, runtime, runtimeArgs ?? []).state(id);
  Container.writeState(directory, { bundle: state?.bundle ?? "", runtime, runtimeArgs });
  return true;
}

/**
 * Whether a container that has a process was started, or only created when its daemon died. Only a container of another daemon, or one
 * whose start was being answered, has to be looked up.
 */
async function wasStarted(supervisor: Supervisor, container: Container, init: Process): Promise<boolean> {
  if (init.announced || init.exitStatus() !== undefined) return true;
  if (supervisor.events.hasStart(container.id, INIT, creationTime(init))) return true;
  const state = await container.runtime.state(container.id, { signal: AbortSignal.timeout(supervisor.startTimeout) });
  // In this order: its shim says so before it deletes it.
  return state?.status !== "created" && !init.abandoned;
}

/** Reports a start that its daemon did not live to report. */
function announce(supervisor: Supervisor, container: Container, process: Process): void {
  if (process.announced) return;
  if (supervisor.events.hasStart(container.id, process.id, creationTime(process)) === false) {
    supervisor.emit(
      process.id === INIT
        ? { type: "start-container", id: container.id }
        : { type: "start-process", id: container.id, pid: process.id },
    );
  }
  process.markAnnounced();
}

function creationTime(process: Process): bigint {
  // Nothing is ever written into the exit FIFO.
  return statSync(join(process.directory, "exit"), { bigint: true }).mtimeNs;
}

/** @param beforeExit called when the process has exited, before that is reported */
function follow(supervisor: Supervisor, container: Container, process: Process, beforeExit = async () => {}): void {
  const exited = supervisor.monitor.exit(process.exitFd, join(process.directory, "exit"));
  process.done = followExit(supervisor, container, process, exited.then(beforeExit));
}

/** An exec that its daemon did not live to see created: its shim goes on with it, so it is waited for, and then it is there or nothing is. */
async function adoptExec(supervisor: Supervisor, container: Container, name: string): Promise<void> {
  const directory = join(container.directory, name);
  try {
    await container.turns.shared(() =>
      withDeadline([container.exited], supervisor.startTimeout, "not created in time", async (signal) => {
        // In this order: a shim may write the pid and end at once.
        let shims: ShimProcess[];
        let pid: number | undefined;
        do {
          shims = findShims(directory, container.id);
          pid = readPidFile(directory);
          if (pid !== undefined) break;
          await delay(WATCH_INTERVAL, undefined, { signal });
        } while (shims.length > 0);
        if (pid === undefined) throw new Error("its shim ended");
        const process = Process.load(directory, name);
        container.processes.set(name, process);
        announce(supervisor, container, process);
        follow(supervisor, container, process);
      }),
    );
  } catch (error) {
    supervisor.log.warn({ id: container.id, pid: name, error: errorText(error) }, "containerd: exec was not started");
    await endShims(directory, container.id);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Nobody was ever told of this container: what there is of it ends, and then its id is free. */
async function endUnfinishedStart(supervisor: Supervisor, container: Container): Promise<void> {
  const init = join(container.directory, INIT);
  supervisor.log.warn({ id: container.id }, "containerd: container was not started; removing it");
  try {
    for (const process of container.processes.values()) process.close();
    container.processes.clear();
    if (existsSync(init)) {
      // Our own shim cleans up; one that waits for a `start` that never comes ends once its container is deleted.
      await shimsGone(init, container.id, SHIM_PATIENCE);
      await container.deleteFromRuntime();
      if (!(await shimsGone(init, container.id, SHIM_PATIENCE))) {
        await endShims(init, container.id);
        await container.deleteFromRuntime();
      }
    }
    container.removeDirectory();
  } catch (error) {
    supervisor.log.error({ id: container.id, error: errorText(error) }, "containerd: remove container");
  }
}

/** Waits until no shim works in a process directory any more; false when some still do after `patience` ms. */
async function shimsGone(directory: string, containerId: string, patience: number): Promise<boolean> {
  const deadline = performance.now() + patience;
  while (findShims(directory, containerId).length > 0) {
    if (performance.now() > deadline) return false;
    await delay(WATCH_INTERVAL);
  }
  return true;
}

/** Kills the shims that work in a process directory. */
async function endShims(directory: string, containerId: string): Promise<void> {
  for (const { pid } of findShims(directory, containerId)) killProcessGroup(pid);
  await shimsGone(directory, containerId, SHIM_PATIENCE);
}

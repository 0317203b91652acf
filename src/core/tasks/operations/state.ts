import { setImmediate } from "node:timers/promises";
import type { Container } from "../container.js";
import type { Process } from "../process.js";
import type { Supervisor } from "../supervisor.js";

/** In ms: after this long on the main thread others get their turn. */
const SLICE = 4;

/** What a container is at one moment: it may end while those of others are taken. */
export interface ContainerSnapshot {
  container: Container;
  status: Container["status"];
  processes: readonly Process[];
  /** Host pids of every process in it. */
  pids: number[];
}

/**
 * The container with this id, or all. Reading the pids of hundreds of containers takes a while, so others get their turn in between.
 * @throws Failure (not-found)
 */
export function state(supervisor: Supervisor, id: string): Promise<ContainerSnapshot[]> {
  return supervisor.operations.run({ kind: "state", id }, () => readState(supervisor, id));
}

async function readState(supervisor: Supervisor, id: string): Promise<ContainerSnapshot[]> {
  const containers = id === "" ? [...supervisor.containers.values()] : [supervisor.container(id)];
  const snapshots: ContainerSnapshot[] = [];
  let sliceEnd = performance.now() + SLICE;
  for (const container of containers) {
    if (performance.now() > sliceEnd) {
      await setImmediate();
      sliceEnd = performance.now() + SLICE;
    }
    // It may go at each wait.
    const isThere = () => supervisor.containers.get(container.id) === container;
    if (!isThere()) continue;
    const pids = await pidsOf(container);
    if (isThere()) snapshots.push(snapshot(container, pids));
  }
  return snapshots;
}

/** The container as it is now. */
export function snapshot(container: Container, pids: number[]): ContainerSnapshot {
  return { container, status: container.status, processes: [...container.processes.values()], pids };
}

async function pidsOf(container: Container): Promise<number[]> {
  const { cgroup } = container;
  if (cgroup !== undefined) return cgroup.pids();
  // No cgroup on this host: only the runtime knows. One that is ending must not fail the whole answer.
  try {
    return await container.runtime.ps(container.id, { signal: AbortSignal.timeout(PS_TIMEOUT) });
  } catch {
    return [];
  }
}

/** In ms. */
const PS_TIMEOUT = 5_000;

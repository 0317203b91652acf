import { setImmediate } from "node:timers/promises";
import type { Container } from "../runtime/container.js";
import type { Supervisor } from "./supervisor.js";

/** In ms: after this long on the main thread others get their turn. */
const SLICE = 4;

export interface ContainerSnapshot {
  container: Container;
  /** Host pids of every process in it. */
  pids: number[];
}

/**
 * The container with this id, or all. Reading the pids of hundreds of containers takes a while, so others get their turn in between.
 * @throws OperationError (not-found)
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
    // It may have gone meanwhile.
    if (supervisor.containers.get(container.id) === container) snapshots.push(await snapshot(container));
  }
  return snapshots;
}

async function snapshot(container: Container): Promise<ContainerSnapshot> {
  const { cgroup } = container;
  if (cgroup !== undefined) return { container, pids: cgroup.pids() };
  // No cgroup on this host: only the runtime knows. One that is ending must not fail the whole answer.
  try {
    return { container, pids: await container.runtime.ps(container.id, { signal: AbortSignal.timeout(PS_TIMEOUT) }) };
  } catch {
    return { container, pids: [] };
  }
}

/** In ms. */
const PS_TIMEOUT = 5_000;

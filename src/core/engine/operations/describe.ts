import { bootTime, now } from "../../../system/linux/clock.js";
import { Failure } from "../../failure/failure.js";
import type { Publication } from "../../network/network.js";
import { Slices } from "../../scheduling/slices.js";
import { INIT } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type Health, newHealth } from "../health/health.js";
import {
  type ContainerExit,
  type KeptContainer,
  type KeptProcess,
  type KeptVolume,
  keptOf,
} from "../kept-container.js";
import type { AttachedEndpoint, Wish } from "../network-place.js";
import { CHECK_PREFIX } from "./exec.js";
import { type Status, statusOf } from "./running.js";

/** All that is known of a container. */
export interface Description {
  container: EngineContainer;
  kept: KeptContainer;
  status: Status;
  /** On the host; 0 while it does not run. */
  pid: number;
  /** Times are in nanoseconds since the epoch. */
  createdAt: bigint;
  startedAt: bigint | undefined;
  exit: ContainerExit | undefined;
  endsAt: bigint | undefined;
  /** When its time to live is over. */
  expiresAt: bigint | undefined;
  /** How often it was started by its policy since somebody has started it. */
  restartCount: number;
  /** When its policy starts it again. */
  restartsAt: bigint | undefined;
  /** Of one that has a check. */
  health: Omit<Health, "began"> | undefined;
  /** Of its specification. */
  process: KeptProcess;
  execIds: string[];
  /** One for each network that it is on; without addresses while it does not run. */
  endpoints: { wish: Wish; endpoint: AttachedEndpoint | undefined }[];
  publications: readonly Publication[];
  /** With where their files are on the host. */
  volumes: (KeptVolume & { path: string })[];
}

/** @throws Failure (not-found) */
export async function describe(engine: Engine, container: EngineContainer): Promise<Description> {
  const { namespace, id } = container;
  // How it has ended, and whether for good, is known once that is written down.
  if (container.exit === undefined && engine.taskOf(container)?.status === "stopped")
    await engine.inTurn(container, async () => {});
  const record = await engine.containers.getBrief(namespace, id);
  const kept = keptOf(record);
  if (kept === undefined) throw new Failure("not-found", "container-not-found", { id });
  const task = engine.taskOf(container);
  const status = statusOf(engine, container);
  const process = kept.process ?? (await processOf(engine, container));
  return {
    ...{ container, kept, status, process },
    pid: status === "running" || status === "paused" ? (task?.init?.systemPid ?? 0) : 0,
    createdAt: record.createdAt,
    startedAt: kept.startedAt,
    exit: container.exit,
    endsAt: sinceEpoch(task?.endsAt),
    expiresAt: sinceEpoch(container.expiresAt),
    ...networksOf(engine, container),
    health: healthOf(container, status),
    restartCount: container.restarts.count,
    restartsAt: sinceEpoch(container.restarts.at),
    execIds: [...(task?.processes.keys() ?? [])].filter((name) => name !== INIT && !name.startsWith(CHECK_PREFIX)),
    volumes: (kept.volumes ?? []).map((volume) => {
      return { ...volume, path: engine.volumes.pathOf({ namespace, name: volume.name }) };
    }),
  };
}

function networksOf(engine: Engine, container: EngineContainer): Pick<Description, "endpoints" | "publications"> {
  const { wishes = [], attached } = engine.networks.placeOf(container) ?? {};
  const endpoints = wishes.map((wish) => ({
    wish,
    endpoint: attached?.endpoints.find(({ network }) => network === wish.network.id),
  }));
  return { endpoints, publications: attached?.publications ?? [] };
}

/** What does not run any more does not work. */
function healthOf({ check, health = newHealth(0) }: EngineContainer, status: Status): Description["health"] {
  if (check === undefined) return undefined;
  if (status === "restarting") return { ...health, status: "starting" };
  return status === "stopped" ? { ...health, status: "unhealthy" } : health;
}

/** What a container runs, of one whose record does not say it by itself. */
export async function processOf(engine: Engine, { namespace, id }: EngineContainer): Promise<KeptProcess> {
  const { spec } = await engine.containers.get(namespace, id);
  const { process = {} } = JSON.parse(spec!.value.toString("utf8")) as { process?: KeptProcess };
  return process;
}

/** @param time in ms since the machine has booted */
function sinceEpoch(time: number | undefined): bigint | undefined {
  return time === undefined ? undefined : now() + BigInt(Math.round((time - bootTime()) * 1e6));
}

export interface ListRequest {
  /** `NAME` or `NAME=value`; all of them hold. */
  labels: readonly string[];
  /** One of them holds; none: any. */
  statuses: readonly string[];
  names: readonly string[];
}

/** Those that a list is to have. */
export function select(engine: Engine, namespace: string, { labels, statuses, names }: ListRequest): EngineContainer[] {
  return engine.index
    .list(namespace)
    .filter(
      (container) =>
        container.isMade &&
        hasLabels(container, labels) &&
        (names.length === 0 || names.includes(container.name)) &&
        (statuses.length === 0 || statuses.includes(statusOf(engine, container))),
    );
}

/** @param wanted `NAME` or `NAME=value`; all of them hold */
export function hasLabels(
  { labels }: { labels: Readonly<Record<string, string>> },
  wanted: readonly string[],
): boolean {
  return wanted.every((label) => {
    const end = label.indexOf("=");
    if (end < 0) return Object.hasOwn(labels, label);
    const key = label.slice(0, end);
    return Object.hasOwn(labels, key) && labels[key] === label.slice(end + 1);
  });
}

/** Many take a while, so others get their turn in between. */
export async function list(engine: Engine, namespace: string, request: ListRequest): Promise<Description[]> {
  const found: Description[] = [];
  const slices = new Slices();
  for (const container of select(engine, namespace, request)) {
    await slices.next();
    try {
      found.push(await describe(engine, container));
    } catch (error) {
      // It may go at each wait.
      if (!(error instanceof Failure && error.kind === "not-found")) throw error;
    }
  }
  return found;
}

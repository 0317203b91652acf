import type { ContainerRecord } from "../containers/container-record.js";
import { Failure } from "../failure/failure.js";
import { type Owner, parseOwner } from "../tasks/owner.js";
import type { OciProcess } from "../tasks/runtime/spec.js";
import type { ContainerConfig, IdMap } from "./container-config.js";
import type { ResolvedCheck } from "./health/health-check.js";
import type { Attached } from "./network-place.js";
import type { Restarts } from "./restarts.js";
import type { TimeToLive } from "./time-to-live.js";

/** The extension of a container's record that says that the engine manages it, and what it knows of it. Only the engine writes it. */
export const EXTENSION = "containerdts.engine.v1";

/** Of every task that the engine has made: one without a record is what a kill has left. */
export const TASK_MARK = "containerdts.engine.v1";

/** How a container's own process has ended. */
export interface ContainerExit {
  /** 128 + N of a process that signal N has killed. */
  status: number;
  /** Nanoseconds since the epoch. */
  at: bigint;
  oomKilled: boolean;
  /** Whether its lifetime was over. */
  timedOut: boolean;
  /** In nanoseconds; undefined where the kernel does not tell. */
  cpuTime?: bigint | undefined;
  /** In bytes; as above. */
  memoryPeak?: bigint | undefined;
  /** Why its end is not known better; "" as a rule. */
  error: string;
  /** Whether it was killed as its time to live was over. */
  expired?: boolean | undefined;
}

/** A start that is under way, or was when a daemon was killed. */
export interface Starting {
  /** With another one, what has become of it is lost. */
  bootId: string;
  /** A container whose `run` was never answered is removed; one whose `start` was not is as it was before; its policy tries again. */
  by: "run" | "start" | "policy";
}

/** Of the process of a container's specification what is told of it. */
export type KeptProcess = Pick<OciProcess, "args" | "env" | "cwd" | "user">;

/** A volume that a container has: as it was asked for, or its image wants it. */
export interface KeptVolume {
  name: string;
  destination: string;
  /** It goes with the container. */
  isOwn: boolean;
  readOnly: boolean;
}

/** The extension's value. */
export interface KeptContainer {
  version: 1;
  name: string;
  config: ContainerConfig;
  /** Of the request that has made it: who repeats that is answered again. */
  request: string;
  /** The program that it belongs to. */
  owner?: Owner | undefined;
  autoRemove: boolean;
  /** In ms from its start; 0 is none. */
  lifetime: number;
  /** Undefined: it is there until somebody removes it. */
  ttl?: TimeToLive | undefined;
  /** Which ids of it are which ones of the host. */
  idMaps?: { uids: IdMap[]; gids: IdMap[] } | undefined;
  /** Undefined: none. */
  volumes?: KeptVolume[] | undefined;
  /** Undefined of one that an earlier daemon has made. */
  process?: KeptProcess | undefined;
  /** Of the image's manifest; "" without an image. */
  imageDigest: string;
  /** By which the image's author wants it to be stopped; undefined: nothing is said. */
  imageStopSignal?: string | undefined;
  starting?: Starting | undefined;
  /** What its last start was called by who asked for it: the same again starts nothing. */
  startId?: string | undefined;
  /** Its layer was not whole when an earlier daemon was killed, which wrote that down: who has asked for it was not answered. */
  isFilling?: true | undefined;
  /** What it has of networks; of one that does not run, or is not on any, it says nothing. */
  attached?: Attached | undefined;
  /** Since when it runs, or has run last: nanoseconds since the epoch. */
  startedAt?: bigint | undefined;
  /** Of its last run; undefined while it runs. */
  exit?: ContainerExit | undefined;
  /** Of the image and the caller's wishes; undefined: there is none. */
  check?: ResolvedCheck | undefined;
  /** Of one that has a policy. */
  restarts?: Restarts | undefined;
}

/** Whether a record is the engine's. */
export function isEngines({ extensions }: Pick<ContainerRecord, "extensions">): boolean {
  return Object.hasOwn(extensions, EXTENSION);
}

/** Whether a task is the engine's. */
export function isEnginesTask({ labels }: { labels: readonly string[] }): boolean {
  return labels.includes(TASK_MARK);
}

/**
 * For who wants to take away, or change, what the engine manages by another API.
 * @param part of it, when it is not the container itself
 */
export function managed(id: string, doing: string, part = ""): Failure {
  const what = part === "" ? "" : `, and ${part},`;
  const why =
    `container ${JSON.stringify(id)}${what} is managed by the engine, and not ${doing} this way: ` +
    `"ctr rm ${id}" removes it, as client.containers does`;
  return new Failure("failed-precondition", "refused", { why });
}

/** What the extension says; undefined of a record that is not the engine's, or of a later version. */
export function keptOf({ extensions }: Pick<ContainerRecord, "extensions">): KeptContainer | undefined {
  const value = extensions[EXTENSION]?.value;
  if (value === undefined) return undefined;
  const kept = JSON.parse(value.toString("utf8"), revive) as KeptContainer;
  return kept.version === 1 ? { ...kept, owner: parseOwner(kept.owner) } : undefined;
}

/** A record's extensions with this value in it. */
export function withKept(
  extensions: ContainerRecord["extensions"],
  kept: KeptContainer,
): ContainerRecord["extensions"] {
  return { ...extensions, [EXTENSION]: { typeUrl: EXTENSION, value: Buffer.from(JSON.stringify(kept, replace)) } };
}

/** JSON has no integers of 64 bits. */
const BIGINT = "$bigint";

function replace(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? { [BIGINT]: String(value) } : value;
}

function revive(_: string, value: unknown): unknown {
  const text = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[BIGINT] : undefined;
  return typeof text === "string" && /^-?\d+$/.test(text) ? BigInt(text) : value;
}

import { Failure, refusal } from "../failure/failure.js";
import type { Labels } from "../metadata/labels.js";

/** What is kept of a volume. */
export interface VolumeRecord {
  name: string;
  labels: Labels;
  /** Nanoseconds since the epoch. */
  createdAt: bigint;
  /** Nobody has given it a name. */
  isAnonymous: boolean;
  /** The id of the container that it goes with; undefined: it stays until somebody removes it. */
  container?: string | undefined;
  /** No container has ever had it: the first one fills it with what its image has at that place. */
  isNew: boolean;
}

/** A volume as it is told. */
export interface Volume extends VolumeRecord {
  /** Of its files, on the host. */
  path: string;
  /** Ids of the containers that have it, whether they run or not. */
  containers: string[];
  /** In bytes, where that was asked for. */
  size?: number | undefined;
}

/** As long as the name of a directory can be. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
/** In characters: how much of a name that is none an error quotes. */
const SHOWN = 300;

/** Whether a volume can be called so. */
export function isVolumeName(name: string): boolean {
  return NAME.test(name);
}

/** @throws Failure (invalid-argument) */
export function checkVolumeName(name: string): void {
  if (!isVolumeName(name))
    throw refusal(`volume ${JSON.stringify(name.slice(0, SHOWN))}: its name has to match ${NAME.source}`);
}

export function noVolume(name: string): Failure {
  return new Failure("not-found", "refused", { why: `no volume ${JSON.stringify(name.slice(0, SHOWN))}` });
}

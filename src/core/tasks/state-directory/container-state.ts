import { join } from "node:path";
import type { Mount } from "../../../system/mount/mount.js";
import { parseJson } from "../../files/json.js";
import { type Owner, parseOwner } from "../owner.js";
import { readStateFile, replaceStateFile } from "./state-file.js";

/** What state.json holds. */
export interface ContainerState {
  bundle: string;
  labels: readonly string[] | null;
  stdin: string;
  stdout: string;
  stderr: string;
  runtime: string;
  runtimeArgs: readonly string[] | null;
  shim: string;
  noPivotRoot: boolean;
  /** Additions of this project's daemon; another ignores them. */
  owner?: Owner | undefined;
  endsAt?: number | undefined;
  /** Of one in a namespace, if there are any: what is mounted at `rootfs` in its bundle. */
  rootfs?: readonly Mount[] | undefined;
  isOurRootfs?: boolean | undefined;
}

/** As far as nobody knows better. */
const nothing: ContainerState = {
  bundle: "",
  labels: [],
  stdin: "",
  stdout: "",
  stderr: "",
  runtime: "",
  runtimeArgs: [],
  shim: "",
  noPivotRoot: false,
};

/** Of a container of which not all is known. */
export function containerState(known: Partial<ContainerState>): ContainerState {
  return { ...nothing, ...known };
}

/** Reads state.json. Throws an Error that names the file when there is none, or none that is a container's. */
export function readContainerState(directory: string): ContainerState {
  const path = join(directory, "state.json");
  const state = parseContainerState(parseJson(readStateFile(path)));
  if (state === undefined) throw new Error(`${path}: no bundle or runtime`);
  return state;
}

/** Writes state.json. Throws a system error; the old one is still there then. */
export function writeContainerState(directory: string, state: ContainerState): void {
  replaceStateFile(join(directory, "state.json"), JSON.stringify(state));
}

/**
 * Undefined when it does not say what bundle and what runtime; other fields that are missing or of another type are as if nothing had been
 * asked for.
 */
export function parseContainerState(value: unknown): ContainerState | undefined {
  const state = (value ?? {}) as Record<string, unknown>;
  if (typeof state.bundle !== "string" || typeof state.runtime !== "string" || state.runtime === "") return undefined;
  const text = (name: string) => (typeof state[name] === "string" ? state[name] : "");
  const list = (name: string) => (isStrings(state[name]) ? state[name] : []);
  return {
    bundle: state.bundle,
    labels: list("labels"),
    stdin: text("stdin"),
    stdout: text("stdout"),
    stderr: text("stderr"),
    runtime: state.runtime,
    runtimeArgs: list("runtimeArgs"),
    shim: text("shim"),
    noPivotRoot: state.noPivotRoot === true,
    owner: parseOwner(state.owner),
    endsAt: typeof state.endsAt === "number" ? state.endsAt : undefined,
    ...(Array.isArray(state.rootfs) && { rootfs: state.rootfs.filter(isMount) }),
    ...(state.isOurRootfs === true && { isOurRootfs: true }),
  };
}

export function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function isMount(value: unknown): value is Mount {
  const { type, source, target, options } = (value ?? {}) as Record<keyof Mount, unknown>;
  return [type, source, target].every((text) => typeof text === "string") && isStrings(options);
}

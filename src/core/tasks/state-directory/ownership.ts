import { type Dirent, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  ABANDONED_FILE,
  CONSOLE_SOCKET,
  CONTROL_FIFO,
  CREATED_FILE,
  EXIT_FIFO,
  EXIT_STATUS_FILE,
  PID_FILE,
  PROCESS_JSON,
  RESERVED_EXIT_STATUS_FILE,
  RUNTIME_LOG,
  SHIM_LOG,
  USAGE_FILE,
} from "../../../contract/shim/process-directory.js";
import { INIT } from "../process.js";
import { WAITING_REQUESTS } from "../shims/control-fifo.js";
import { SHIM_RECORD } from "../shims/shim-process.js";
import { type ContainerState, readContainerState } from "./container-state.js";
import { isSetAside, readStateFile } from "./state-file.js";

/** What a daemon, a shim or a runtime makes in a process directory; beside it there may be half-written ones. */
const PROCESS_FILES = new Set([
  PROCESS_JSON,
  EXIT_FIFO,
  CONTROL_FIFO,
  WAITING_REQUESTS,
  SHIM_RECORD,
  PID_FILE,
  // runc's, until it has written the whole.
  `.${PID_FILE}`,
  "starttime",
  CREATED_FILE,
  "starting",
  "started",
  "reported",
  ABANDONED_FILE,
  EXIT_STATUS_FILE,
  RESERVED_EXIT_STATUS_FILE,
  CONSOLE_SOCKET,
  SHIM_LOG,
  RUNTIME_LOG,
  "config.json",
  USAGE_FILE,
]);

/** One of these is enough: no other program uses such names. */
const TELLING_FILES = [PROCESS_JSON, "starttime", EXIT_STATUS_FILE, RESERVED_EXIT_STATUS_FILE, SHIM_LOG];

/** What is in a container's directory. */
export interface ContainerDirectory {
  entries: readonly Dirent[];
  /** What its state.json says; undefined when that is lost. */
  state: ContainerState | undefined;
}

/**
 * A directory in the state directory, if it is recognisably a container's of this daemon or of the original: other programs share what is
 * the default state directory. All else (undefined) is left alone.
 * @param device of the state directory
 */
export function readContainerDirectory(directory: string, device: number): ContainerDirectory | undefined {
  if (!isOurOwn(directory, device)) return undefined;
  const entries = readdirSync(directory, { withFileTypes: true });
  let isAnothers = false;
  if (entries.some(({ name }) => name === "state.json")) {
    try {
      return { entries, state: readContainerState(directory) };
    } catch {
      isAnothers = isAnothersState(directory);
    }
  }
  const isContainers =
    entries.some((entry) => entry.isDirectory() && isProcessDirectory(join(directory, entry.name), device)) ||
    // What a kill has left of one that was just being made or removed.
    (!isAnothers && entries.length > 0 && entries.every((entry) => isOfContainer(directory, entry, device)));
  return isContainers ? { entries, state: undefined } : undefined;
}

/**
 * The bundle of a task in a namespace, beside its process directories: no id of a process there begins with a dot, and what is just being
 * removed does.
 */
export const BUNDLE = ".bundle";

/** Names of the process directories among what is in the directory of a container of that namespace. */
export function processDirectoriesAmong(entries: readonly Dirent[], namespace: string): string[] {
  // One in the place of state.json, or set aside from there, is damage.
  const isState = (name: string) => name === "state.json" || isSetAside(name, "state.json");
  const isOther = (name: string) => isState(name) || (namespace !== "" && name.startsWith("."));
  return entries.filter((entry) => entry.isDirectory() && !isOther(entry.name)).map(({ name }) => name);
}

/** With our owner, and no mount. */
function isOurOwn(directory: string, device: number): boolean {
  const info = lstatSync(directory);
  return info.isDirectory() && info.uid === process.geteuid!() && info.dev === device;
}

function isProcessDirectory(directory: string, device: number): boolean {
  if (!isOurOwn(directory, device)) return false;
  const names = readdirSync(directory);
  if (TELLING_FILES.some((name) => names.includes(name))) return true;
  return [EXIT_FIFO, CONTROL_FIFO].every((name) => names.includes(name) && lstatSync(join(directory, name)).isFIFO());
}

/** A runtime's own state is a file of this name, too. */
function isAnothersState(directory: string): boolean {
  try {
    const state: unknown = JSON.parse(readStateFile(join(directory, "state.json")));
    return typeof state === "object" && state !== null && !Array.isArray(state) && Object.keys(state).length > 0;
  } catch {
    return false;
  }
}

function isOfContainer(directory: string, entry: Dirent, device: number): boolean {
  if (/^(state\.json|cgroup\.json)/.test(entry.name)) return true;
  if (!entry.isDirectory()) return false;
  const path = join(directory, entry.name);
  const names = readdirSync(path);
  if (!isOurOwn(path, device) || (names.length === 0 && entry.name !== INIT)) return false;
  return names.every((name) => PROCESS_FILES.has(name.replace(/\.(tmp|damaged\d?)$/, "")));
}

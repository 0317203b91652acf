import { lstat, mkdir, readdir, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkDirectory, makeTrustedDirectory } from "../../../system/linux/closed-directory.js";
import { errorText, hasCode } from "../../../system/linux/libc.js";
import { Failure } from "../../failure/failure.js";
import { closeTree } from "../../files/close-tree.js";
import { foreignFileError, onForeignFiles, readForeignFile } from "../../files/foreign-files.js";
import { checkIdentifier } from "../identifier.js";
import type { OciRuntime } from "./oci-runtime.js";

/** A saved container: a directory `<checkpoint-dir>/<name>` with CRIU's images and a config.json that holds this. */
export interface Checkpoint {
  name: string;
  /** The container ended once it was saved. */
  exit: boolean;
  /** Established TCP connections are saved. */
  tcp: boolean;
  /** External unix sockets are saved. */
  unixSockets: boolean;
  /** The container's session may have a terminal from outside. */
  shell: boolean;
  /** Namespaces saved without their content. */
  emptyNS: string[];
}

/** The directories in which checkpoints are being made, as {@link identityOf} has them: what is there is none yet, and may never be one. */
const underWay = new Set<string>();

/** In bytes: what we write is a thousandth of it. */
const LARGEST_CONFIG = 1024 * 1024;

/** The directory in a checkpoint's that CRIU makes its own in: one of a checkpoint, one of each restore. */
export const WORK = "criu.work";

/** Where a container's checkpoints lie unless the caller names a directory. */
export function checkpointsDirectory(bundle: string, directory: string): string {
  return directory || join(bundle, "checkpoints");
}

/**
 * Saves a container.
 * @param failed called with the directory of CRIU's log, before that is removed
 * @throws Failure: invalid-argument for a name that leaves the directory, already-exists for one that is taken, internal (the runtime's
 * words) when the runtime fails; no directory is left then and the container runs on
 */
export async function createCheckpoint(
  runtime: OciRuntime,
  containerId: string,
  directory: string,
  checkpoint: Checkpoint,
  signal: AbortSignal,
  failed?: (work: string) => Promise<void>,
): Promise<void> {
  checkIdentifier("checkpoint name", checkpoint.name);
  const path = join(directory, checkpoint.name);
  await onForeignFiles(directory, () => makeCheckpointDirectory(directory, path), signal);
  let identity = "";
  try {
    // CRIU makes its work directory, but not the parents; a restore makes one of its own beside it.
    const work = join(path, WORK);
    await onForeignFiles(path, async () => {
      identity = await identityOf(path);
      underWay.add(identity);
      const config = JSON.stringify({ ...checkpoint, created: new Date().toISOString() });
      await writeFile(join(path, "config.json"), config, { flag: "wx", mode: 0o600 });
      await mkdir(work, { mode: 0o700 });
    });
    await runtime.checkpoint(
      containerId,
      ["--image-path", path, "--work-path", join(work, "checkpoint"), ...flags(checkpoint)],
      {
        signal,
      },
    );
  } catch (error) {
    if (failed !== undefined) await onForeignFiles(path, () => failed(join(path, WORK))).catch(() => {});
    await onForeignFiles(path, () => removeFailed(path)).catch(() => {});
    throw error;
  } finally {
    underWay.delete(identity);
  }
}

/** Tells a directory from all others, whatever its path is. Rejects with a system error. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await lstat(path, { bigint: true });
  return `${dev}:${ino}`;
}

/**
 * Reads the config.json of a whole checkpoint.
 * @throws Failure, not-found also for one that is being made
 */
async function readConfig(path: string, signal?: AbortSignal): Promise<string> {
  const config = join(path, "config.json");
  const before = new Set(underWay);
  const text = await readForeignFile(config, LARGEST_CONFIG, signal);
  if (before.size + underWay.size === 0) return text;
  const identity = await onForeignFiles(path, () => identityOf(path), signal).catch(() => undefined);
  if (identity !== undefined && !before.has(identity) && !underWay.has(identity)) return text;
  throw notThere(path);
}

/** As if its file were not there. */
function notThere(path: string): Failure {
  return new Failure("not-found", "system", { why: `open ${join(path, "config.json")}: no such file or directory` });
}

/** What makes it a checkpoint goes first: that takes no descriptor, of which there may be none left for a moment, as the rest does. */
async function removeFailed(path: string): Promise<void> {
  await unlink(join(path, "config.json")).catch(() => {});
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

async function makeCheckpointDirectory(directory: string, path: string): Promise<void> {
  await trusted(directory, () => makeTrustedDirectory(directory, 0o700));
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    throw new Failure("already-exists", "name-taken", { what: "checkpoint", path }, { cause: error });
  }
}

/**
 * A check of where checkpoints are. Others must not be able to have a container's memory written to a place of theirs, nor to have it
 * restored from what they have made: what CRIU finds in its images it does as root.
 * @throws Failure
 */
async function trusted(directory: string, check: () => Promise<void> | void): Promise<void> {
  try {
    await check();
  } catch (error) {
    throw new Failure(
      "failed-precondition",
      "untrusted-checkpoints",
      { directory, why: errorText(error) },
      { cause: error },
    );
  }
}

function flags({ exit, tcp, unixSockets, shell, emptyNS }: Checkpoint): string[] {
  return [
    ...(exit ? [] : ["--leave-running"]),
    ...(shell ? ["--shell-job"] : []),
    ...(tcp ? ["--tcp-established"] : []),
    ...(unixSockets ? ["--ext-unix-sk"] : []),
    ...emptyNS.flatMap((namespace) => ["--empty-ns", namespace]),
  ];
}

/** Checkpoints in a directory, by name; entries that are none, or can't be read, are passed over. No directory: none. */
export async function listCheckpoints(directory: string): Promise<Checkpoint[]> {
  let names: string[];
  try {
    names = (await onForeignFiles(directory, () => readdir(directory))).sort();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw foreignFileError(error);
  }
  const found = await Promise.all(names.map((name) => readCheckpoint(directory, name)));
  return found.filter((checkpoint) => checkpoint !== undefined);
}

async function readCheckpoint(directory: string, name: string): Promise<Checkpoint | undefined> {
  let saved: Partial<Record<keyof Checkpoint, unknown>>;
  try {
    saved = JSON.parse(await readConfig(join(directory, name)));
    if (typeof saved !== "object" || saved === null) return undefined;
  } catch {
    return undefined;
  }
  const { exit, tcp, unixSockets, shell, emptyNS } = saved;
  return {
    name,
    exit: exit === true,
    tcp: tcp === true,
    unixSockets: unixSockets === true,
    shell: shell === true,
    emptyNS: Array.isArray(emptyNS) ? emptyNS.filter((namespace) => typeof namespace === "string") : [],
  };
}

/**
 * The directory of an existing checkpoint, closed to others.
 * @throws Failure: invalid-argument for a name that leaves the directory, or when its config.json is something else; not-found;
 * failed-precondition when somebody else than root can have made it
 */
export async function findCheckpoint(directory: string, name: string, signal?: AbortSignal): Promise<string> {
  checkIdentifier("checkpoint name", name);
  await onForeignFiles(directory, () => trusted(directory, () => checkDirectory(directory)), signal);
  const path = join(directory, name);
  await readConfig(path, signal);
  // Its file system has just answered.
  await trusted(directory, () => closeTree(path));
  return path;
}

/** What CRIU has written besides its images goes. @param path of a checkpoint that is nobody else's */
export async function removeWork(path: string): Promise<void> {
  await rm(join(path, WORK), { recursive: true, force: true });
}

/**
 * Makes a checkpoint of a directory with CRIU's images that others may have filled: of its config.json, if it has one, only what is
 * understood stays.
 */
export async function adoptCheckpoint(directory: string, name: string): Promise<void> {
  const said = await readCheckpoint(directory, name);
  const config = join(directory, name, "config.json");
  await rm(config, { recursive: true, force: true });
  await writeFile(config, JSON.stringify({ ...said, name }), { flag: "wx", mode: 0o600 });
  await removeWork(join(directory, name));
}

/**
 * Removes a checkpoint, whatever is in it.
 * @throws Failure: invalid-argument for a name that leaves the directory, not-found
 */
export async function deleteCheckpoint(directory: string, name: string): Promise<void> {
  checkIdentifier("checkpoint name", name);
  const path = join(directory, name);
  try {
    await onForeignFiles(path, async () => {
      // In the original's words.
      await lstat(join(path, "config.json")).catch((error) =>
        Promise.reject(Object.assign(error, { syscall: "open" })),
      );
      if (underWay.has(await identityOf(path))) throw notThere(path);
      await rm(path, { recursive: true, force: true });
    });
  } catch (error) {
    throw foreignFileError(error);
  }
}

import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { checkDirectory, makeTrustedDirectory } from "../linux/closed-directory.js";
import { errorText, hasCode } from "../linux/libc.js";
import { closeTree } from "./close-tree.js";
import { checkIdentifier } from "./identifier.js";
import type { OciRuntime } from "./oci-runtime.js";
import { OperationError } from "./operation-error.js";
import { makeDirectory } from "./process.js";
import { writeAtomically } from "./write-atomically.js";

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

/** Where a container's checkpoints lie unless the caller names a directory. */
export function checkpointsDirectory(bundle: string, directory: string): string {
  return directory || join(bundle, "checkpoints");
}

/**
 * Saves a container.
 * @throws OperationError: invalid-argument for a name that leaves the directory, already-exists for one that is taken, internal (the runtime's
 * words) when the runtime fails; no directory is left then and the container runs on
 */
export async function createCheckpoint(
  runtime: OciRuntime,
  containerId: string,
  directory: string,
  checkpoint: Checkpoint,
  signal: AbortSignal,
): Promise<void> {
  checkIdentifier("checkpoint name", checkpoint.name);
  trusted(directory, () => makeTrustedDirectory(directory, 0o700));
  const path = join(directory, checkpoint.name);
  makeDirectory(path);
  try {
    writeAtomically(join(path, "config.json"), JSON.stringify({ ...checkpoint, created: new Date().toISOString() }));
    // CRIU makes its work directory, but not the parents; a restore makes one of its own beside it.
    const work = join(path, "criu.work");
    mkdirSync(work, { mode: 0o700 });
    await runtime.checkpoint(
      containerId,
      ["--image-path", path, "--work-path", join(work, "checkpoint"), ...flags(checkpoint)],
      {
        signal,
      },
    );
  } catch (error) {
    rmSync(path, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Runs a check of where checkpoints are. Others must not be able to have a container's memory written to a place of theirs, nor to have it restored
 * from what they have made: what CRIU finds in its images it does as root.
 * @throws OperationError
 */
function trusted(directory: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new OperationError("failed-precondition", `checkpoint directory ${directory}: ${errorText(error)}`, {
      cause: error,
    });
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

/** Checkpoints in a directory, by name; entries that are none are passed over. No directory: none. */
export function listCheckpoints(directory: string): Checkpoint[] {
  let names: string[];
  try {
    names = readdirSync(directory).sort();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw new OperationError("internal", errorText(error), { cause: error });
  }
  return names.flatMap((name) => {
    try {
      const saved = JSON.parse(readFileSync(join(directory, name, "config.json"), "utf8")) as Partial<Checkpoint>;
      return [
        {
          name,
          exit: saved.exit ?? false,
          tcp: saved.tcp ?? false,
          unixSockets: saved.unixSockets ?? false,
          shell: saved.shell ?? false,
          emptyNS: saved.emptyNS ?? [],
        },
      ];
    } catch {
      return [];
    }
  });
}

/**
 * The directory of an existing checkpoint, closed to others.
 * @throws OperationError: invalid-argument for a name that leaves the directory, not-found, failed-precondition when somebody else than root can
 * have made it
 */
export function findCheckpoint(directory: string, name: string): string {
  checkIdentifier("checkpoint name", name);
  trusted(directory, () => checkDirectory(directory));
  const path = join(directory, name);
  try {
    readFileSync(join(path, "config.json"));
  } catch (error) {
    if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTDIR")) throw error;
    throw new OperationError("not-found", errorText(error), { cause: error });
  }
  trusted(directory, () => closeTree(path));
  return path;
}

/** @throws as {@link findCheckpoint} */
export function deleteCheckpoint(directory: string, name: string): void {
  rmSync(findCheckpoint(directory, name), { recursive: true, force: true });
}

import { lstat, rename } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../../../system/linux/libc.js";
import { abortable } from "../../failure/abortable.js";
import { Failure } from "../../failure/failure.js";
import { unlessMissing } from "../../failure/unless-missing.js";
import { onForeignFiles } from "../../files/foreign-files.js";
import { checkpointContainer } from "../../tasks/operations/checkpoint.js";
import { type Checkpoint, deleteCheckpoint } from "../../tasks/runtime/checkpoint.js";
import { criuLog, PARTIAL, placeOf, withLog } from "../checkpoints.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { requireThere } from "./remove.js";
import { endPolicy, resumePolicy } from "./restart-policy.js";
import { runningTask, wholeEnd } from "./running.js";

export interface CheckpointWishes extends Pick<Checkpoint, "tcp" | "unixSockets" | "shell"> {
  /** Its name, or the absolute path of a directory that is made. */
  ref: string;
  leaveRunning: boolean;
}

/**
 * Saves the processes of a container, which ends with that unless it is to go on. Its files are not saved: they stay in its layer.
 * @param signal ends the attempt, unless CRIU has begun
 * @throws Failure: invalid-argument, already-exists, failed-precondition for one that does not run, internal with CRIU's words; nothing is
 *   left then, and the container runs on
 */
export async function checkpoint(
  engine: Engine,
  container: EngineContainer,
  { ref, leaveRunning, ...how }: CheckpointWishes,
  signal: AbortSignal,
): Promise<void> {
  const { directory, name } = placeOf(engine, container, ref);
  const partial = `${name}${PARTIAL}`;
  if (!leaveRunning) await endPolicy(engine, container);
  const saved = engine.inTurn(container, async () => {
    requireThere(container);
    const task = runningTask(engine, container);
    const path = join(directory, name);
    if (await onForeignFiles(directory, () => isThere(path), signal))
      throw new Failure("already-exists", "refused", {
        why: `checkpoint ${JSON.stringify(ref)} is there already: ${path}`,
      });
    // What a daemon that was killed has left.
    await unlessMissing(deleteCheckpoint(directory, partial));
    let log = "";
    // CRIU saves no process that was brought in from outside.
    const held = container.holdChecks();
    const wanted = { name: partial, exit: !leaveRunning, ...how, emptyNS: [] };
    try {
      await abortable(held, signal);
      await checkpointContainer(engine.tasks, container, wanted, directory, signal, async (work) => {
        log = await criuLog(work);
      });
    } catch (error) {
      throw log === "" ? error : withLog(error, log);
    } finally {
      void held.then((release) => release());
    }
    await onForeignFiles(directory, () => rename(join(directory, partial), path));
    return task;
  });
  if (leaveRunning) {
    await saved;
    return;
  }
  const task = await saved.catch(async (error) => {
    await resumePolicy(engine, container);
    throw error;
  });
  await wholeEnd(task);
  // What its end brings about is done, too.
  await engine.inTurn(container, async () => {});
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return false;
    throw error;
  }
}

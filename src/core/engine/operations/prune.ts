import { Failure } from "../../failure/failure.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { select } from "./describe.js";
import { removeNow } from "./remove.js";

/**
 * Removes those containers of a namespace that do not run.
 * @param labels as of a list
 * @returns their ids, and how many bytes they had on the disk
 */
export async function prune(
  engine: Engine,
  namespace: string,
  labels: readonly string[],
  signal: AbortSignal,
): Promise<{ ids: string[]; freed: number }> {
  const ids: string[] = [];
  let freed = 0;
  for (const container of select(engine, namespace, { labels, statuses: ["created", "stopped"], names: [] })) {
    signal.throwIfAborted();
    try {
      const size = await sizeOf(engine, container);
      await removeNow(engine, container, false);
      ids.push(container.id);
      freed += size;
    } catch (error) {
      // It has gone, or runs by now.
      if (!(error instanceof Failure && ["not-found", "failed-precondition"].includes(error.kind))) throw error;
      // Somebody else may be removing it just now.
      await engine.inTurn(container, async () => {});
    }
  }
  return { ids, freed };
}

/** In bytes, of its own layer. */
async function sizeOf(engine: Engine, { namespace, id, hasLayer }: EngineContainer): Promise<number> {
  return hasLayer ? (await engine.snapshots.usage(namespace, id)).size : 0;
}

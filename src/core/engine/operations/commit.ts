import { upperOf } from "../../../system/mount/overlay.js";
import { Failure } from "../../failure/failure.js";
import { changedConfig, type RunConfig } from "../../images/config-changes.js";
import type { ContainerConfig } from "../container-config.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { holdStill } from "./hold-still.js";
import { requireThere } from "./remove.js";

export interface CommitWishes {
  /** The image's name in its full form; "": its digest. */
  ref: string;
  /** Whether it goes on while its layer is read. */
  noPause: boolean;
  author: string;
  message: string;
  /** As a Dockerfile has them. */
  changes: readonly string[];
}

/**
 * Makes an image of a container's own layer, on the image that it was made of. Its config is the image's with what the container was made
 * with. A container that runs is paused until its layer is read.
 * @returns the digest of the manifest
 * @throws Failure: failed-precondition for one without a layer on an image, invalid-argument for the changes; the signal's reason
 */
export async function commit(
  engine: Engine,
  container: EngineContainer,
  { ref, noPause, author, message, changes }: CommitWishes,
  signal: AbortSignal,
): Promise<string> {
  const { namespace, id } = container;
  const { config, idMaps, imageDigest } = keptOf(await engine.containers.getBrief(namespace, id))!;
  const change = (before: RunConfig) => changedConfig(withWishes(before, config), changes);
  // What is wrong with them is told before anything is done.
  change({});
  if (!config.writable || config.image === "") {
    const why = `container ${JSON.stringify(id)} has no layer of its own on an image: make it of an image, with writable: true`;
    throw new Failure("failed-precondition", "refused", { why });
  }
  const [mount] = await engine.snapshots.mounts(namespace, id);
  const upper = upperOf(mount!) ?? mount!.source;
  const release = noPause ? async () => {} : await holdStill(engine, container, signal);
  try {
    const { target } = await engine.transfers.commit({
      ...{ namespace, base: imageDigest, upper, idMaps, name: ref, change, author, comment: message, signal },
      createdBy: (config.args ?? []).join(" "),
      onRead: async () => {
        requireStays(container);
        await release();
      },
    });
    return target.digest;
  } catch (error) {
    requireStays(container);
    throw error;
  } finally {
    await release();
  }
}

/** What is removed has no whole layer any more. @throws Failure (not-found) */
function requireStays(container: EngineContainer): void {
  requireThere(container);
  if (container.isRemoving) throw new Failure("not-found", "container-not-found", { id: container.id });
}

function withWishes(before: RunConfig, wishes: ContainerConfig): RunConfig {
  const { entrypoint, args, env, user, workdir, stopSignal, labels } = wishes;
  const all = new Map((before.Env ?? []).map((entry) => [entry.split("=", 1)[0]!, entry]));
  for (const entry of env) {
    const name = entry.split("=", 1)[0]!;
    if (entry.includes("=")) all.set(name, entry);
    else all.delete(name);
  }
  return {
    ...before,
    ...(entrypoint !== undefined && { Entrypoint: entrypoint, Cmd: null }),
    ...(args !== undefined && { Cmd: args }),
    Env: [...all.values()],
    ...(user !== "" && { User: user }),
    ...(workdir !== "" && { WorkingDir: workdir }),
    ...(stopSignal !== "" && { StopSignal: stopSignal }),
    Labels: { ...before.Labels, ...labels },
  };
}

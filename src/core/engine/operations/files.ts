import { mkdirSync } from "node:fs";
import { directoriesOf, upperOf } from "../../../system/mount/overlay.js";
import { Failure } from "../../failure/failure.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import type { Change } from "../files/container-files.js";
import { openRootOfLayers, openRootOfProcess } from "../files/open-root.js";
import type { Root } from "../files/root.js";
import { type KeptContainer, keptOf } from "../kept-container.js";
import { processOf } from "./describe.js";
import { mountsOverDirectory, needsSnapshot, openDirectory } from "./plan.js";

/** Where a container's files are: in what its process sees while it runs, else in its layers. @throws Failure (not-found) */
export async function rootOf(engine: Engine, container: EngineContainer): Promise<Root> {
  const { namespace, id } = container;
  const record = await engine.containers.getBrief(namespace, id);
  const kept = keptOf(record)!;
  const { user } = kept.process ?? (await processOf(engine, container));
  return {
    key: `${namespace}/${id}`,
    idMaps: kept.idMaps,
    user: { uid: user?.uid ?? 0, gid: user?.gid ?? 0 },
    open: async (forWriting) => {
      const task = engine.taskOf(container);
      if (task?.init !== undefined && task.status !== "stopped" && task.status !== "created")
        return openRootOfProcess(task.init.systemPid, task.init.startTime);
      return await openStopped(engine, container, kept, record.labels[LAYERS_LABEL] ?? "", forWriting);
    },
  };
}

/**
 * What a container has changed in its own layer, as `docker diff` tells it; nothing where it has none.
 * @throws Failure; the signal's reason
 */
export async function changesIn(engine: Engine, container: EngineContainer, signal: AbortSignal): Promise<Change[]> {
  const { namespace, id } = container;
  const kept = keptOf(await engine.containers.getBrief(namespace, id))!;
  if (!kept.config.writable) return [];
  const { parent } = await engine.snapshots.stat(namespace, id);
  const [mount] = await engine.snapshots.mounts(namespace, id);
  const upper = upperOf(mount!) ?? mount!.source;
  const changes = async (lower: string) => {
    const all: Change[] = [];
    const layer = { key: `${namespace}/${id}`, upper, lower, idMaps: kept.idMaps };
    for await (const some of engine.files.changes(layer, signal)) all.push(...some);
    return all;
  };
  if (parent !== "") return await engine.snapshots.withMounted(namespace, parent, changes);
  return await changes(kept.config.rootfs);
}

const LAYERS_LABEL = "containerd.io/gc.ref.snapshot.overlayfs";

async function openStopped(
  engine: Engine,
  { namespace, id }: EngineContainer,
  kept: KeptContainer,
  chainId: string,
  forWriting: boolean,
): Promise<number> {
  const { config } = kept;
  if (forWriting && !config.writable && config.image !== "") {
    const why = `container ${JSON.stringify(id)} has no layer of its own for files to go into: make it with writable: true`;
    throw new Failure("failed-precondition", "refused", { why });
  }
  if (!needsSnapshot(kept)) {
    if (config.rootfs !== "") return await openDirectory(config.rootfs);
    return openRootOfLayers(await engine.images.layers(namespace, chainId), undefined, placeOf(engine));
  }
  const [mount] =
    config.rootfs === ""
      ? await engine.snapshots.mounts(namespace, id)
      : await mountsOverDirectory(engine, { namespace, id }, config.rootfs);
  const directories = directoriesOf(mount!);
  const upper = upperOf(mount!);
  // Only to look at, its own directory is a layer like the others: the container may be started meanwhile.
  if (upper === undefined || !forWriting) return openRootOfLayers(directories, undefined, placeOf(engine));
  const work = mount!.options.find((option) => option.startsWith("workdir="))!.slice("workdir=".length);
  return openRootOfLayers(directories.slice(1), { upper, work }, placeOf(engine));
}

function placeOf(engine: Engine): string {
  mkdirSync(engine.place, { recursive: true, mode: 0o700 });
  return engine.place;
}

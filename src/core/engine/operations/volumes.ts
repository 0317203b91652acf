import { basename, join } from "node:path";
import type { ContainerConfig } from "../container-config.js";
import type { Engine } from "../engine.js";
import type { KeptContainer, KeptVolume } from "../kept-container.js";
import type { ResolvedImage } from "../resolved-images.js";
import type { VolumeSource } from "../spec/mounts.js";
import { type VolumeWish, volumeWishes } from "../spec/volume-wishes.js";

interface Place {
  namespace: string;
  id: string;
}

/**
 * Has a new container have its volumes. They are its own from here on, also when it is not made.
 * @throws Failure; the signal's reason
 */
export async function takeVolumes(
  engine: Engine,
  place: Place,
  config: ContainerConfig,
  image: ResolvedImage | undefined,
  signal: AbortSignal,
): Promise<KeptVolume[] | undefined> {
  const wishes = volumeWishes(config, image?.config.volumes ?? []);
  if (wishes.length === 0) return undefined;
  engine.mark();
  const taken = wishes.map(async (wish): Promise<KeptVolume> => {
    const { name, destination, readOnly } = wish;
    const fill = fillOf(engine, place, wish, image, signal);
    return { name: await engine.volumes.hold(place, { name, fill }), destination, isOwn: name === "", readOnly };
  });
  // Whoever undoes the creation comes when nothing is done for it any more.
  await Promise.allSettled(taken);
  return await Promise.all(taken);
}

function fillOf(
  engine: Engine,
  { namespace }: Place,
  { name, destination, noCopy }: VolumeWish,
  image: ResolvedImage | undefined,
  signal: AbortSignal,
): ((directory: string) => Promise<void>) | undefined {
  if (noCopy || image === undefined || image.chainId === "") return undefined;
  return (directory) =>
    engine.images.lookInto(namespace, image.chainId, (root) =>
      engine.files.populate(directory, root, destination, { to: directory, isLasting: name !== "" }, signal),
    );
}

/** Where a container's volumes are for whom makes it. */
export function volumeSources(
  engine: Engine,
  place: Place,
  { volumes = [], idMaps }: Pick<KeptContainer, "volumes" | "idMaps">,
): VolumeSource[] {
  return volumes.map(({ name, destination, readOnly }, index) => {
    const files = engine.volumes.pathOf({ namespace: place.namespace, name });
    if (idMaps === undefined) return { source: files, destination, readOnly };
    return { source: join(engine.mappedVolumes.placeOf(place, index), basename(files)), destination, readOnly };
  });
}

/**
 * Has the volumes of a container with ids of its own be where its specification has them, while `work` makes the container.
 * @throws Failure; what `work` throws
 */
export async function withVolumes<T>(
  engine: Engine,
  place: Place,
  { volumes = [], idMaps }: Pick<KeptContainer, "volumes" | "idMaps">,
  work: () => Promise<T>,
): Promise<T> {
  if (volumes.length === 0 || idMaps === undefined) return await work();
  const { namespace } = place;
  const directories = volumes.map(({ name }) => engine.volumes.directoryOf({ namespace, name }));
  await engine.mappedVolumes.mount(place, directories, idMaps);
  try {
    return await work();
  } finally {
    await engine.mappedVolumes.unmount(place);
  }
}

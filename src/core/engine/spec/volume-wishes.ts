import { checkVolumeName } from "../../volumes/volume-record.js";
import type { ContainerConfig, ContainerMount } from "../container-config.js";
import { absolutePath, invalidOption } from "./invalid-option.js";

/** A volume that a container is to have. */
export interface VolumeWish {
  /** "" is one that goes with the container. */
  name: string;
  destination: string;
  readOnly: boolean;
  noCopy: boolean;
}

/** @throws Failure (invalid-argument) for a mount of a volume that is asked for what a volume has not */
export function checkVolumeMounts(mounts: readonly ContainerMount[]): void {
  for (const [index, mount] of mounts.entries()) {
    const option = `mounts[${index}]`;
    if (mount.type !== "volume") {
      if (mount.noCopy) throw invalidOption(`${option}.noCopy`, true, "it is for volumes");
      continue;
    }
    if (mount.source !== "") checkVolumeName(mount.source);
    const { propagation, createSource, size, mode, uid, gid } = mount;
    for (const [name, value] of Object.entries({ propagation, createSource, size }))
      if (value) throw invalidOption(`${option}.${name}`, value, "a volume has none");
    for (const [name, value] of Object.entries({ mode, uid, gid }))
      if (value !== undefined) throw invalidOption(`${option}.${name}`, value, "a volume has those of its files");
  }
}

/** In these no image has a volume: they are the kernel's, or made for each container. */
const NOT_OF_IMAGES = /^\/(?:(?:proc|sys|dev)(?:\/.*)?|etc\/(?:hosts|hostname|resolv\.conf))?$/s;

/**
 * The volumes that a container is asked to have, and those that its image wants where nothing else is mounted.
 * @param ofImage paths, as its author has written them
 * @throws Failure (invalid-argument)
 */
export function volumeWishes({ mounts }: Pick<ContainerConfig, "mounts">, ofImage: readonly string[]): VolumeWish[] {
  const destinations = mounts.map(({ destination }, index) =>
    absolutePath(`mounts[${index}].destination`, destination),
  );
  const asked = mounts.flatMap(({ type, source: name, readOnly, noCopy = false }, index) =>
    type === "volume" ? [{ name, destination: destinations[index]!, readOnly, noCopy }] : [],
  );
  const own = new Set(ofImage.map((path) => absolutePath("volume of the image", path)));
  const wanted = [...own].filter((path) => !NOT_OF_IMAGES.test(path) && !destinations.includes(path));
  return [...asked, ...wanted.map((destination) => ({ name: "", destination, readOnly: false, noCopy: false }))];
}

import type { CallOptions } from "../api/call-options.js";
import type { V1 } from "../api/v1.js";
import { ContainerdError } from "../errors/containerd-error.js";

/** How many, and how many bytes in all. */
export interface Room {
  readonly count: number;
  readonly bytes: number;
}

/** What a namespace's images take. */
export interface ImagesUsage {
  /** As they come from registries. */
  readonly blobs: Room;
  /** What is mounted: layers, and what containers have written. */
  readonly snapshots: Room;
}

/** The snapshots of images are this one's. */
export const SNAPSHOTTER = "overlayfs";
/** How many snapshots are asked for at a time. */
const AT_ONCE = 16;

export async function usageOf(v1: V1, options: CallOptions): Promise<ImagesUsage> {
  let [count, bytes] = [0, 0];
  for await (const { info } of await v1.content.list({}, options)) {
    count += info.length;
    for (const { size } of info) bytes += Number(size);
  }
  const names: string[] = [];
  for await (const { info } of await v1.snapshots.list({ snapshotter: SNAPSHOTTER }, options))
    for (const { name } of info) names.push(name);
  let taken = 0;
  for (let at = 0; at < names.length; at += AT_ONCE) {
    const sizes = await Promise.all(names.slice(at, at + AT_ONCE).map((key) => sizeOf(v1, key, options)));
    taken += sizes.reduce((sum, size) => sum + size, 0);
  }
  return { blobs: { count, bytes }, snapshots: { count: names.length, bytes: taken } };
}

async function sizeOf(v1: V1, key: string, options: CallOptions): Promise<number> {
  try {
    return Number((await v1.snapshots.usage({ snapshotter: SNAPSHOTTER, key }, options)).size);
  } catch (error) {
    // It has gone meanwhile.
    if (error instanceof ContainerdError && error.isNotFound) return 0;
    throw error;
  }
}

/** What is in the store of images, as a test asks for it. */
import type { TestDaemon } from "./daemon.js";
import { Mounted } from "./mounted.js";
import type { ApiV1 } from "./v1.js";

export const SNAPSHOTTER = "overlayfs";

let views = 0;

/** Has a look at an unpacked image. @param chainId of its highest layer */
export async function lookInto<T>(
  daemon: TestDaemon,
  api: ApiV1,
  chainId: string,
  work: (directory: string) => T | Promise<T>,
): Promise<T> {
  const key = `view ${views++}`;
  const { mounts } = await api.snapshots.view({ snapshotter: SNAPSHOTTER, key, parent: chainId });
  try {
    using mounted = new Mounted(daemon.dir, mounts);
    return await work(mounted.path);
  } finally {
    await api.snapshots.remove({ snapshotter: SNAPSHOTTER, key });
  }
}

export async function imageNames(api: ApiV1): Promise<string[]> {
  return (await api.images.list()).images.map(({ name }) => name);
}

/** What an image's name stands for. */
export async function targetOf(api: ApiV1, name: string) {
  return (await api.images.get({ name })).image!.target!;
}

export async function labelsOf(api: ApiV1, digest: string): Promise<Record<string, string>> {
  return (await api.content.info({ digest })).info!.labels;
}

/** The digests of all that a namespace has. */
export async function contentOf(api: ApiV1): Promise<string[]> {
  const stream = api.listContent();
  await stream.ended;
  return stream.messages.flatMap(({ info }) => info.map(({ digest }) => digest));
}

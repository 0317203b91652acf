import type { Client } from "../../client/index.js";

/** Follows each image to its layers. @param blobs what there is */
export async function checkImages(
  client: Client,
  blobs: ReadonlySet<string>,
): Promise<{ count: number; wrong: string[] }> {
  const images = await client.images.list();
  const wrong: string[] = [];
  for (const image of images) {
    try {
      const { layers, chainId, platform } = await client.images.inspect(image.name);
      const isUnpacked = chainId === "" || (await hasSnapshot(client, chainId));
      const missing = layers.filter(({ digest }) => !blobs.has(digest));
      // Blobs of layers may be dropped once these are unpacked.
      if (missing.length > 0 && !isUnpacked)
        wrong.push(`${image.name}: of ${platform} ${missing.map(({ digest }) => digest).join(", ")} is not here`);
    } catch (error) {
      // One that has gone meanwhile is not wrong.
      const gone = await client.images.get(image.name).catch((failure) => failure);
      if (!(gone instanceof Error && (gone as { isNotFound?: boolean }).isNotFound))
        wrong.push(`${image.name}: ${(error as Error).message}`);
    }
  }
  return { count: images.length, wrong };
}

async function hasSnapshot(client: Client, key: string): Promise<boolean> {
  try {
    await client.v1.snapshots.stat({ snapshotter: "overlayfs", key });
    return true;
  } catch (error) {
    if ((error as { isNotFound?: boolean }).isNotFound) return false;
    throw error;
  }
}

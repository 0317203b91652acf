import { randomUUID } from "node:crypto";
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
      const isUnpacked = chainId === "" || (await canBeMounted(client, chainId));
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

/** Has a snapshot, and those that it is put on, mounted for a moment. @returns whether it is there. @throws Error when it can't be used */
async function canBeMounted(client: Client, parent: string): Promise<boolean> {
  // Should this process die meanwhile, the next collection removes what is called so.
  const view = { snapshotter: "overlayfs", key: `extract-check-${randomUUID()}` };
  try {
    await client.v1.snapshots.view({ ...view, parent });
  } catch (error) {
    if ((error as { isNotFound?: boolean }).isNotFound) return false;
    throw error;
  }
  await client.v1.snapshots.remove(view).catch((error: { isNotFound?: boolean }) => {
    if (!error.isNotFound) throw error;
  });
  return true;
}

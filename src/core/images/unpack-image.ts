import { assembleImage } from "./assemble.js";
import { discardLayers } from "./discard.js";
import { ContentSource, type ImportParts } from "./import.js";
import type { Descriptor } from "./manifest.js";
import { HERE } from "./platform.js";
import { Progress } from "./progress.js";

export interface UnpackRequest {
  namespace: string;
  /** How errors call it. */
  name: string;
  target: Descriptor;
  signal: AbortSignal;
}

/**
 * Makes snapshots of an image that is content, for the platform of this machine.
 * @throws Failure that says what is wrong with it, or what of it is not there; the signal's reason
 */
export async function unpackImage(parts: ImportParts, request: UnpackRequest): Promise<void> {
  const { namespace, name, target, signal } = request;
  using progress = new Progress(undefined);
  await parts.leases.during(namespace, undefined, `unpack ${target.digest}`, async (lease) => {
    const assembly = { ...parts, namespace, image: name, lease, progress };
    const selection = { platforms: [HERE], allMetadata: false, manifestLimit: 0, unpacks: [HERE] };
    const discarded = await assembleImage(assembly, new ContentSource(assembly), target, selection, signal);
    await discardLayers(parts.content, namespace, discarded);
  });
}

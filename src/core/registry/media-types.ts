/** What a tag can name. */
export const MANIFEST_TYPES: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];

/** Docker's first form, which nobody takes any more: asked for, so that what a registry has can be named. */
export const FORMER_TYPES: readonly string[] = [
  "application/vnd.docker.distribution.manifest.v1+prettyjws",
  "application/vnd.docker.distribution.manifest.v1+json",
];

export function isManifest(mediaType: string): boolean {
  return MANIFEST_TYPES.includes(mediaType) || FORMER_TYPES.includes(mediaType);
}

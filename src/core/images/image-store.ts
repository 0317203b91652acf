import { Failure, refusal } from "../failure/failure.js";
import type { Labels } from "../metadata/labels.js";
import type { Assembly, Selection } from "./assemble.js";
import type { ImageRecord, Images } from "./image-records.js";
import type { Descriptor } from "./manifest.js";
import { Progress, type ProgressListener } from "./progress.js";

/** More names that images get, or are found by. */
export interface NameRule {
  /** A whole name, or what comes before the tag that an archive gives to an image. */
  name: string;
  isPrefix: boolean;
  /** The image's digest is a part of the name. */
  addDigest: boolean;
  /** No name with a digest for an image that has one without. */
  skipNamedDigest: boolean;
}

/** Where images go, and as what. */
export interface Destination extends Selection {
  /** "": none of its own. */
  name: string;
  labels: Labels;
  rules: readonly NameRule[];
}

/** What the ways of images into the store have in common. */
export type AssemblyParts = Pick<Assembly, "content" | "unpacker" | "workers" | "root" | "discardBlobs">;

/** Of an image in an archive: its whole name, and its tag alone or whatever else its maker has put there. */
const FULL_NAME = "io.containerd.image.name";
const REFERENCE_NAME = "org.opencontainers.image.ref.name";

/** How much of a name an error quotes, in characters. */
const MAX_SHOWN = 200;

/** The names that an image gets which came by a name of its own. */
export function namesFor({ name, rules }: Destination, { digest }: Descriptor): string[] {
  const more = rules
    .filter((rule) => !rule.isPrefix)
    .map((rule) => (rule.addDigest ? `${rule.name}@${digest}` : rule.name));
  return [...new Set([...(name === "" ? [] : [name]), ...more])];
}

/** The names that an image gets which an archive names. */
export function namesFromArchive({ rules }: Destination, descriptor: Descriptor): string[] {
  const prefixes = rules.filter(({ isPrefix }) => isPrefix);
  if (prefixes.length === 0) {
    const name = nameInArchive(descriptor, "");
    return name === undefined ? [] : [name];
  }
  const names = prefixes.flatMap((rule) => {
    const name = nameInArchive(descriptor, rule.name);
    const withDigest = `${rule.name}@${descriptor.digest}`;
    if (name === undefined) return rule.addDigest ? [withDigest] : [];
    return rule.addDigest && !rule.skipNamedDigest ? [name, withDigest] : [name];
  });
  return [...new Set(names)];
}

function nameInArchive({ annotations = {} }: Descriptor, prefix: string): string | undefined {
  const full = annotations[FULL_NAME];
  if (full) return full;
  const reference = annotations[REFERENCE_NAME];
  if (!reference) return undefined;
  if (prefix !== "") return `${prefix}:${reference}`;
  // A tag alone is no name of an image.
  return /[/:@]/.test(reference) ? reference : undefined;
}

/** What an archive says of an image that has this name. */
export function archiveAnnotations(name: string): Record<string, string> {
  const tag = /:([^:/@]+)$/.exec(name.replace(/@.*$/, ""))?.[1];
  return { [FULL_NAME]: name, ...(tag === undefined ? {} : { [REFERENCE_NAME]: tag }) };
}

/**
 * Gives names to what is content now. An image that had one of them loses it.
 * @throws Failure (not-found) when there is no name at all
 */
export async function nameImages(
  images: Images,
  namespace: string,
  wanted: readonly { name: string; target: Descriptor }[],
  labels: Labels,
  progress: Progress,
): Promise<ImageRecord[]> {
  if (wanted.length === 0)
    throw new Failure("not-found", "refused", { why: "no image name found: give one, or a prefix for the tags" });
  const records: ImageRecord[] = [];
  for (const { name, target } of wanted) {
    records.push(await put(images, namespace, { name, labels, target: targetOf(target) }));
    progress.tell({ event: "saved", name, descriptor: target });
  }
  return records;
}

/** Another name for an image. */
export async function tagImage(
  images: Images,
  namespace: string,
  source: string,
  destination: Destination,
  listener?: ProgressListener,
): Promise<ImageRecord[]> {
  using progress = new Progress(listener);
  const { target } = await images.get(namespace, source);
  const names = namesFor(destination, target);
  if (names.length === 0) throw refusal(`image ${JSON.stringify(source.slice(0, MAX_SHOWN))}: no other name given`);
  const wanted = names.map((name) => ({ name, target }));
  return await nameImages(images, namespace, wanted, destination.labels, progress);
}

async function put(
  images: Images,
  namespace: string,
  record: Omit<ImageRecord, "createdAt" | "updatedAt">,
): Promise<ImageRecord> {
  for (;;) {
    try {
      return await images.create(namespace, record);
    } catch (error) {
      if (!(error instanceof Failure && error.kind === "already-exists")) throw error;
    }
    try {
      return await images.update(namespace, record.name, () => record);
    } catch (error) {
      // Deleted meanwhile.
      if (!(error instanceof Failure && error.kind === "not-found")) throw error;
    }
  }
}

function targetOf({ mediaType, digest, size, annotations = {} }: Descriptor): ImageRecord["target"] {
  return { mediaType, digest, size, annotations };
}

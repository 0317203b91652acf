import { createHash } from "node:crypto";
import { Failure } from "../failure/failure.js";
import type { Platform } from "./platform.js";

/** What an image's documents say of a blob. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  /** In bytes. */
  size: number;
  annotations?: Readonly<Record<string, string>>;
  platform?: Platform;
}

/** A document that names manifests, one for each platform as a rule. */
export interface Index {
  kind: "index";
  manifests: Descriptor[];
}

/** A document that names what an image consists of; or an artifact, which is something else that a registry keeps. */
export interface Manifest {
  kind: "manifest";
  config: Descriptor;
  layers: Descriptor[];
}

/** What an image's config says that the daemon needs. */
export interface ImageConfig {
  platform: Platform;
  /** Digests of the uncompressed layers, the lowest first. */
  diffIds: string[];
}

export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
export const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
export const DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
export const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
export const DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/;

/** In bytes: of a document; registries take no larger ones. */
export const MAX_DOCUMENT = 4 << 20;
/** In bytes: of anything. */
const MAX_SIZE = 2 ** 50;
/** More than any kernel can stack. */
const MAX_LAYERS = 2000;
const MAX_MANIFESTS = 2000;
/** In characters. */
const MAX_MEDIA_TYPE = 255;
/** In characters: how much of a value an error quotes. */
const MAX_SHOWN = 100;

/** How deep lists and objects are in each other: of what is read here, some four times. */
const MAX_NESTING = 100;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isIndexType(mediaType: string): boolean {
  return mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
}

export function isManifestType(mediaType: string): boolean {
  return mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST;
}

export function isConfigType(mediaType: string): boolean {
  return mediaType === OCI_CONFIG || mediaType === DOCKER_CONFIG;
}

/** Of a file system layer, compressed or not. */
export function isLayerType(mediaType: string): boolean {
  const type = uncompressedType(mediaType);
  return type === OCI_LAYER || type === DOCKER_LAYER || isForeignLayer(mediaType);
}

/** Of a layer that its maker does not want to see in other registries. */
export function isForeignLayer(mediaType: string): boolean {
  const type = uncompressedType(mediaType);
  return type === OCI_FOREIGN_LAYER || type === DOCKER_FOREIGN_LAYER;
}

function uncompressedType(mediaType: string): string {
  return mediaType.replace(/[.+](?:gzip|zstd)$/, "");
}

/** `sha256:…` of these bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The hash of a layer and all below it, which names its snapshot: `sha256:…` for each layer, the lowest first. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

/**
 * Reads an index or a manifest.
 * @param descriptor what names it: its media type is what it is; the bytes are known to have its digest
 * @throws Failure (invalid-argument) that says which document is wrong, and what of it
 */
export function parseDocument(descriptor: Descriptor, bytes: Buffer): Index | Manifest {
  const { mediaType } = descriptor;
  const parser = new Parser(`${isIndexType(mediaType) ? "index" : "manifest"} ${descriptor.digest}`);
  checkDocumentType(descriptor);
  const document = parser.object(bytes);
  if (document.schemaVersion === 1) throw schema1(descriptor);
  if (document.mediaType !== undefined && document.mediaType !== "" && document.mediaType !== mediaType)
    parser.refuse(`says that it is ${shown(document.mediaType)}, and what names it ${shown(mediaType)}`);
  if (isIndexType(mediaType)) {
    // Read one way by one program and the other way by another, it would be two images with one digest.
    if (document.layers !== undefined || document.config !== undefined) parser.refuse("is a manifest as well");
    const manifests = parser.descriptors(document.manifests, "manifests", MAX_MANIFESTS);
    for (const child of manifests) if (child.digest === descriptor.digest) parser.refuse("names itself");
    return { kind: "index", manifests };
  }
  if (document.manifests !== undefined) parser.refuse("is an index as well");
  const config = parser.descriptor(document.config, "config");
  return { kind: "manifest", config, layers: parser.descriptors(document.layers, "layers", MAX_LAYERS) };
}

/** @throws Failure (invalid-argument) for what is neither an index nor a manifest, or too large to be one */
export function checkDocumentType(descriptor: Descriptor): void {
  const { mediaType, digest, size } = descriptor;
  if (SCHEMA_1.test(mediaType)) throw schema1(descriptor);
  const parser = new Parser(`what has the digest ${digest}`);
  if (!isIndexType(mediaType) && !isManifestType(mediaType))
    parser.refuse(`is no image: its media type is ${shown(mediaType)}`);
  if (size > MAX_DOCUMENT) parser.refuse(`is of ${size} bytes: a manifest has at most ${MAX_DOCUMENT}`);
}

/** @throws Failure (invalid-argument) that says what is wrong */
export function parseConfig(digest: string, bytes: Buffer): ImageConfig {
  const parser = new Parser(`image config ${digest}`);
  const config = parser.object(bytes);
  const rootfs = config.rootfs as { diff_ids?: unknown } | null | undefined;
  const given = (typeof rootfs === "object" ? rootfs?.diff_ids : undefined) ?? [];
  const diffIds = parser.list(given, "rootfs.diff_ids", MAX_LAYERS);
  for (const [index, diffId] of diffIds.entries())
    if (typeof diffId !== "string" || !DIGEST.test(diffId))
      parser.refuse(`rootfs.diff_ids[${index}]: ${shown(diffId)} is no digest of sha256`);
  return { platform: platformOf(config), diffIds: diffIds as string[] };
}

/** A descriptor in the words of a document. */
export function descriptorJson(descriptor: Descriptor): object {
  const { mediaType, digest, size, annotations, platform } = descriptor;
  return {
    mediaType,
    digest,
    size,
    ...(annotations && Object.keys(annotations).length > 0 ? { annotations } : {}),
    ...(platform === undefined ? {} : { platform: platformJson(platform) }),
  };
}

/** Reads a list of descriptors that stands alone: an archive's `index.json`, which is named by nothing. */
export function parseLooseIndex(name: string, bytes: Buffer): Descriptor[] {
  const parser = new Parser(name);
  return parser.descriptors(parser.object(bytes).manifests, "manifests", MAX_MANIFESTS);
}

/** What `docker save` says of an image in `manifest.json`: its names, and the files of its config and its layers. */
export interface DockerArchiveImage {
  config: string;
  repoTags: string[];
  layers: string[];
}

/** @throws Failure (invalid-argument) that says what is wrong */
export function parseDockerArchive(name: string, bytes: Buffer): DockerArchiveImage[] {
  const parser = new Parser(name);
  return parser.list(parser.json(bytes), "the file", MAX_MANIFESTS).map((one, index) => {
    const where = `[${index}]`;
    const { Config, RepoTags, Layers } = parser.asObject(one, where);
    return {
      config: parser.text(Config, `${where}.Config`),
      repoTags: parser.texts(RepoTags ?? [], `${where}.RepoTags`),
      layers: parser.texts(Layers ?? [], `${where}.Layers`),
    };
  });
}

function platformJson({ os, architecture, variant, osVersion }: Platform): object {
  return {
    architecture,
    os,
    ...(osVersion === "" ? {} : { "os.version": osVersion }),
    ...(variant === "" ? {} : { variant }),
  };
}

function schema1({ digest }: Descriptor): Failure {
  return new Failure("invalid-argument", "refused", {
    why: `${digest} is a manifest of schema 1, which is not supported: push the image anew with a program that writes schema 2 or OCI`,
  });
}

function platformOf(value: Record<string, unknown>): Platform {
  const text = (name: string) => (typeof value[name] === "string" ? value[name].slice(0, MAX_MEDIA_TYPE) : "");
  return {
    os: text("os"),
    architecture: text("architecture"),
    variant: text("variant"),
    osVersion: text("os.version"),
  };
}

function shown(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** Whether JSON is nested so deep that it takes long to read. */
function isDeep(bytes: Buffer): boolean {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (isText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (byte === LIST || byte === OBJECT) {
      depth++;
      if (depth > MAX_NESTING) return true;
    } else if (byte === LIST + 2 || byte === OBJECT + 2) depth--;
  }
  return false;
}

/** In ASCII; what closes a list or an object is two after what opens it. */
const [QUOTE, BACKSLASH, LIST, OBJECT] = [0x22, 0x5c, 0x5b, 0x7b];

/** Takes apart JSON that somebody else has made. */
class Parser {
  readonly #whose: string;

  /** @param whose begins the text of errors */
  constructor(whose: string) {
    this.#whose = whose;
  }

  refuse(why: string): never {
    throw new Failure("invalid-argument", "refused", { why: `${this.#whose} ${why}` });
  }

  json(bytes: Buffer): unknown {
    if (bytes.length > MAX_DOCUMENT) this.refuse(`is of ${bytes.length} bytes: at most ${MAX_DOCUMENT} are read`);
    if (isDeep(bytes)) this.refuse(`is nested more than ${MAX_NESTING} times`);
    try {
      return JSON.parse(bytes.toString("utf8"));
    } catch (error) {
      this.refuse(`is no JSON: ${(error as Error).message.slice(0, MAX_SHOWN)}`);
    }
  }

  object(bytes: Buffer): Record<string, unknown> {
    return this.asObject(this.json(bytes), "");
  }

  asObject(value: unknown, where: string): Record<string, unknown> {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      this.refuse(`${where}: ${shown(value)} is no object`.replace(/^: /, ""));
    return value as Record<string, unknown>;
  }

  list(value: unknown, where: string, max: number): unknown[] {
    if (!Array.isArray(value)) this.refuse(`${where}: ${shown(value)} is no list`);
    const list = value as unknown[];
    if (list.length > max) this.refuse(`${where}: ${list.length} of them: at most ${max} are taken`);
    return list;
  }

  text(value: unknown, where: string): string {
    if (typeof value !== "string" || value === "") this.refuse(`${where}: ${shown(value)} is no text`);
    return value as string;
  }

  texts(value: unknown, where: string): string[] {
    return this.list(value, where, MAX_LAYERS).map((one, index) => this.text(one, `${where}[${index}]`));
  }

  descriptors(value: unknown, where: string, max: number): Descriptor[] {
    return this.list(value, where, max).map((one, index) => this.descriptor(one, `${where}[${index}]`));
  }

  descriptor(value: unknown, where: string): Descriptor {
    const { mediaType, digest, size, annotations, platform } = this.asObject(value, where);
    if (typeof mediaType !== "string" || mediaType === "" || mediaType.length > MAX_MEDIA_TYPE)
      this.refuse(`${where}.mediaType: ${shown(mediaType)} is no media type`);
    if (typeof digest !== "string" || !DIGEST.test(digest))
      this.refuse(`${where}.digest: ${shown(digest)} is no digest of sha256`);
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0 || size > MAX_SIZE)
      this.refuse(`${where}.size: ${shown(size)} is no size`);
    return {
      mediaType: mediaType as string,
      digest: digest as string,
      size: size as number,
      ...(annotations ? { annotations: this.#texts(annotations, `${where}.annotations`) } : {}),
      ...(platform ? { platform: platformOf(this.asObject(platform, `${where}.platform`)) } : {}),
    };
  }

  #texts(value: unknown, where: string): Record<string, string> {
    const entries = Object.entries(this.asObject(value, where));
    for (const [key, text] of entries)
      if (typeof text !== "string") this.refuse(`${where}.${key.slice(0, MAX_SHOWN)}: ${shown(text)} is no text`);
    // Defines what a name like `__proto__` has, and assigns nothing.
    return Object.fromEntries(entries) as Record<string, string>;
  }
}

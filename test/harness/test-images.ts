/**
 * Images that tests make: layers from lists of entries, in OCI layouts and `docker save` archives. The same call makes the same bytes, as
 * long as the machine's busybox is the same.
 */
import { execFile } from "node:child_process";
import { createHash, type Hash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { PassThrough, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createGunzip, createGzip } from "node:zlib";
import { type Header, type Pack, pack } from "tar-stream";
import { applets, busybox } from "./rootfs.js";

/** An entry of a layer. A file has `data`, or none: empty. The time is that of all unless it says another one. */
export interface LayerEntry extends Partial<Header> {
  name: string;
  data?: string | Buffer;
  /** Extended headers of PAX, as `SCHILY.xattr.user.note`. */
  pax?: Record<string, string>;
}

export type LayerEntries = Iterable<LayerEntry>;

const tar = (...args: string[]) => promisify(execFile)("tar", ["--sort=name", "--mtime=@0", "--owner=0", ...args]);

/** The time of all that does not say another one. */
const TIME = new Date(1_700_000_000_000);

export const file = (name: string, data: string | Buffer = "", more: Partial<LayerEntry> = {}): LayerEntry => ({
  ...{ name, data, mode: 0o644, type: "file", ...more },
});
export const directory = (name: string, more: Partial<LayerEntry> = {}): LayerEntry => ({
  ...{ name: `${name}/`, mode: 0o755, type: "directory", ...more },
});
export const symlink = (name: string, linkname: string): LayerEntry => ({
  ...{ name, linkname, mode: 0o777, type: "symlink" },
});
export const hardLink = (name: string, linkname: string): LayerEntry => ({ name, linkname, mode: 0o644, type: "link" });
/** What removes a name of the layers below. */
export const whiteout = (name: string): LayerEntry => file(name.replace(/[^/]*$/, ".wh.$&"));
/** What hides all that the layers below have in a directory. */
export const opaque = (name: string): LayerEntry => file(`${name}/.wh..wh..opq`);

/** A root file system with busybox and users: root, nobody, web (1001:1002, and in group extra). */
export function* base(): LayerEntries {
  for (const name of "bin dev etc proc sys tmp root home usr usr/bin var var/lib".split(" ")) {
    yield directory(name, { mode: name === "tmp" ? 0o1777 : 0o755 });
  }
  yield file("bin/busybox", readFileSync(busybox()), { mode: 0o755 });
  for (const name of applets()) yield symlink(`bin/${name}`, "busybox");
  const users = ["root:x:0:0:root:/root:/bin/sh", "nobody:x:65534:65534:nobody:/:/bin/false"];
  yield file("etc/passwd", [...users, "web:x:1001:1002::/home:/bin/sh", ""].join("\n"));
  yield file("etc/group", "root:x:0:\nweb:x:1002:\nextra:x:1003:web\n");
}

/** Many small files: `data/DIRECTORY/FILE.txt`, a hundred in each directory, up to 4 KB each. */
export function* smallFiles(count = 20_000): LayerEntries {
  yield directory("data");
  for (let number = 0; number < count; number++) {
    const [parent, name] = [Math.floor(number / 100), number % 100];
    if (name === 0) yield directory(`data/${parent}`);
    yield file(`data/${parent}/${name}.txt`, `${parent} ${name} `.repeat(1 + ((number * 7919) % 600)));
  }
}

/** Few large files, `bytes` in all: programs' bytes, which a compressor makes half as big. */
export function* largeFiles(bytes: number, count = 4): LayerEntries {
  const program = readFileSync(process.execPath);
  yield directory("big");
  for (let number = 0; number < count; number++) {
    const data = Buffer.alloc(Math.floor(bytes / count));
    for (let at = 0, turn = number * 4099; at < data.length; turn++) {
      at += program.copy(data, at, (turn * 65_536) % program.length);
    }
    yield file(`big/${number}`, data, { mode: 0o755 });
  }
}

/** Of each kind one, over {@link base} and {@link smallFiles}. */
export function* edges(): LayerEntries {
  yield whiteout("data/0/1.txt");
  yield whiteout("home");
  yield directory("data/1");
  yield opaque("data/1");
  yield file("data/1/new.txt", "new");
  yield file("data/2/hard.txt", "x");
  yield hardLink("data/2/hard2.txt", "data/2/hard.txt");
  yield file("bin/su2", readFileSync(busybox()), { mode: 0o4755 });
  yield file("bin/ping2", readFileSync(busybox()), { mode: 0o755, pax: { "SCHILY.xattr.user.note": "hello" } });
  yield { name: "dev/null2", type: "character-device", mode: 0o666, devmajor: 1, devminor: 3 };
  yield { name: "etc/fifo", type: "fifo", mode: 0o644 };
  yield file(`root/${"long/".repeat(30)}${"x".repeat(120)}`, "deep");
  yield file("home2/u", "u", { uid: 70_000, gid: 70_001 });
  yield whiteout("data/3");
  yield symlink("data/3", "/data/4");
  yield file("etc/\u00fcml\u00e4ut", "utf8");
}

/** What a layer's or a blob's name is made of. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: Platform;
  annotations?: Record<string, string>;
}

export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

export interface TestLayer {
  descriptor: Descriptor;
  diffId: string;
  /** Bytes of the archive, uncompressed. */
  bytes: number;
}

export interface TestImage {
  manifest: Descriptor;
  config: Descriptor;
  layers: TestLayer[];
  /** The chain id of each layer with those below it. */
  chainIds: string[];
}

export interface ImageOptions {
  layers: readonly TestLayer[];
  /** Of the image's configuration, `config`: Cmd, Env, User, WorkingDir, … */
  config?: Record<string, unknown>;
  platform?: Platform;
  /** Docker's media types instead of OCI's. */
  isDockers?: boolean;
}

const OCI = "application/vnd.oci.image";
const DOCKER = "application/vnd.docker";
const LAYER_TYPES = {
  gzip: { oci: `${OCI}.layer.v1.tar+gzip`, docker: `${DOCKER}.image.rootfs.diff.tar.gzip` },
  none: { oci: `${OCI}.layer.v1.tar`, docker: `${DOCKER}.image.rootfs.diff.tar` },
};
export type Compression = keyof typeof LAYER_TYPES;

const PATH = "PATH=/bin:/usr/bin";
const DEFAULT_CONFIG = { Cmd: ["sh"], Env: [PATH, "FOO=bar"], WorkingDir: "/" };
export const DEFAULT_PLATFORM: Platform = {
  os: "linux",
  architecture: { x64: "amd64" }[process.arch as "x64"] ?? process.arch,
};

export const digestOf = (data: string | Buffer) => `sha256:${createHash("sha256").update(data).digest("hex")}`;

/** An archive of these entries, piece by piece. */
export function tarOf(entries: LayerEntries): Pack {
  const archive = pack();
  const fill = async () => {
    for (const { data, ...header } of entries) {
      await new Promise<void>((resolve, reject) => {
        const done = (error?: Error | null) => (error ? reject(error) : resolve());
        archive.entry({ mtime: TIME, ...header }, data === undefined ? "" : data, done);
      });
    }
    archive.finalize();
  };
  fill().catch((error) => archive.destroy(error));
  return archive;
}

/** Lets everything through, into a digest and a count. */
class Meter extends Transform {
  readonly #hash: Hash = createHash("sha256");
  bytes = 0;

  override _transform(piece: Buffer, _encoding: string, done: (error: null, data: Buffer) => void): void {
    this.#hash.update(piece);
    this.bytes += piece.length;
    done(null, piece);
  }

  get digest(): string {
    return `sha256:${this.#hash.digest("hex")}`;
  }
}

/** An OCI layout: a directory with blobs, and an index that names images. */
export class ImageLayout {
  readonly #named: Descriptor[] = [];
  #temporary = 0;

  constructor(readonly dir: string) {
    mkdirSync(join(dir, "blobs/sha256"), { recursive: true });
    writeFileSync(join(dir, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`);
    this.#writeIndex();
  }

  /** The file of a blob. */
  path({ digest }: Pick<Descriptor, "digest">): string {
    return join(this.dir, "blobs", digest.replace(":", "/"));
  }

  blob(data: string | Buffer, mediaType: string): Descriptor {
    const descriptor = { mediaType, digest: digestOf(data), size: Buffer.byteLength(data) };
    writeFileSync(this.path(descriptor), data);
    return descriptor;
  }

  json(value: unknown, mediaType: string): Descriptor {
    return this.blob(JSON.stringify(value), mediaType);
  }

  /** Adds a layer of these entries. */
  async layer(entries: LayerEntries, compression: Compression = "gzip"): Promise<TestLayer> {
    const [raw, packed] = [new Meter(), new Meter()];
    const path = join(this.dir, `blobs/unfinished-${this.#temporary++}`);
    // Level 1: what a test waits for is the rest.
    const compress = compression === "gzip" ? createGzip({ level: 1 }) : new PassThrough();
    await pipeline(tarOf(entries), raw, compress, packed, createWriteStream(path));
    const descriptor = { mediaType: LAYER_TYPES[compression].oci, digest: packed.digest, size: packed.bytes };
    renameSync(path, this.path(descriptor));
    return { descriptor, diffId: raw.digest, bytes: raw.bytes };
  }

  image({ layers, config = DEFAULT_CONFIG, platform = DEFAULT_PLATFORM, isDockers = false }: ImageOptions): TestImage {
    const { os, architecture, variant } = platform;
    const diffIds = layers.map(({ diffId }) => diffId);
    const configuration = this.json(
      {
        ...{ architecture, os, ...(variant === undefined ? {} : { variant }), config },
        rootfs: { type: "layers", diff_ids: diffIds },
        history: layers.map((_, number) => ({ created: TIME.toISOString(), created_by: `layer ${number}` })),
      },
      isDockers ? `${DOCKER}.container.image.v1+json` : `${OCI}.config.v1+json`,
    );
    const typed = layers.map(({ descriptor }): Descriptor => {
      const types = Object.values(LAYER_TYPES).find(({ oci }) => oci === descriptor.mediaType);
      return isDockers && types !== undefined ? { ...descriptor, mediaType: types.docker } : descriptor;
    });
    const mediaType = isDockers ? `${DOCKER}.distribution.manifest.v2+json` : `${OCI}.manifest.v1+json`;
    const manifest = this.json({ schemaVersion: 2, mediaType, config: configuration, layers: typed }, mediaType);
    return {
      manifest: { ...manifest, platform },
      config: configuration,
      layers: layers.map((layer, number) => ({ ...layer, descriptor: typed[number]! })),
      chainIds: chainIdsOf(diffIds),
    };
  }

  /** Several images as one, each for its platform. */
  index(images: readonly TestImage[], { isDockers = false } = {}): Descriptor {
    const mediaType = isDockers ? `${DOCKER}.distribution.manifest.list.v2+json` : `${OCI}.index.v1+json`;
    return this.json({ schemaVersion: 2, mediaType, manifests: images.map(({ manifest }) => manifest) }, mediaType);
  }

  /** Names an image or an index, as `ctr images import` and skopeo read it. */
  name({ platform: _, ...descriptor }: Descriptor, name: string): void {
    const tag = /:([^:/]*)$/.exec(name)?.[1] ?? "latest";
    const annotations = { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag };
    this.#named.push({ ...descriptor, annotations });
    this.#writeIndex();
  }

  /** All of it in one file. */
  async archive(path: string): Promise<void> {
    await tar("-C", this.dir, "-cf", path, "oci-layout", "index.json", "blobs");
  }

  /** The archive that `docker save` makes of an image. */
  async dockerArchive(path: string, image: TestImage, names: readonly string[]): Promise<void> {
    const dir = `${path}.parts`;
    mkdirSync(dir, { recursive: true });
    const config = `${image.config.digest.replace("sha256:", "")}.json`;
    writeFileSync(join(dir, config), readFileSync(this.path(image.config)));
    const layers: string[] = [];
    for (const { descriptor, diffId } of image.layers) {
      const name = join(diffId.replace("sha256:", ""), "layer.tar");
      mkdirSync(join(dir, dirname(name)), { recursive: true });
      const unpack = descriptor.mediaType.endsWith("gzip") ? createGunzip() : new PassThrough();
      await pipeline(createReadStream(this.path(descriptor)), unpack, createWriteStream(join(dir, name)));
      layers.push(name);
    }
    writeFileSync(join(dir, "manifest.json"), JSON.stringify([{ Config: config, RepoTags: names, Layers: layers }]));
    await tar("-C", dir, "-cf", path, ".");
    rmSync(dir, { recursive: true });
  }

  #writeIndex(): void {
    const index = { schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests: this.#named };
    writeFileSync(join(this.dir, "index.json"), JSON.stringify(index));
  }
}

/** The chain id of each layer, the lowest first. */
export function chainIdsOf(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) chain.push(chain.length === 0 ? diffId : digestOf(`${chain.at(-1)} ${diffId}`));
  return chain;
}

/** The images that most tests need, each one more layer on the one before. */
const LAYERS = { base: [base], small: [base, smallFiles], edges: [base, smallFiles, edges] };

interface StandardImageOptions {
  name?: string;
  config?: Record<string, unknown>;
  /** How many small files there are. */
  files?: number;
}

export interface StandardImage {
  layout: ImageLayout;
  image: TestImage;
  name: string;
}

/** Makes one of the images that most tests need in an OCI layout of its own. */
export async function makeTestImage(
  dir: string,
  kind: keyof typeof LAYERS,
  { name = `registry.test/${kind}:latest`, config, files = 500 }: StandardImageOptions = {},
): Promise<StandardImage> {
  const layout = new ImageLayout(dir);
  const layers: TestLayer[] = [];
  for (const entries of LAYERS[kind]) layers.push(await layout.layer(entries(files)));
  const image = layout.image({ layers, ...(config && { config }) });
  layout.name(image.manifest, name);
  return { layout, image, name };
}

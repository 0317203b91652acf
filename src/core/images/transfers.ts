import type { Content } from "../content/content.js";
import type { Leases } from "../metadata/leases.js";
import type { Registry } from "../registry/registry.js";
import type { LayerFiles } from "../snapshots/layer-files.js";
import type { Snapshots } from "../snapshots/snapshots.js";
import type { ApplyRequest } from "./apply.js";
import type { CommitRequest } from "./commit.js";
import type { DiffRequest } from "./diff.js";
import type { Downloads } from "./downloads.js";
import type { ExportRequest } from "./export.js";
import type { Descriptor, ImageRecord, Images } from "./image-records.js";
import type { Destination } from "./image-store.js";
import type { ImportRequest } from "./import.js";
import type { ProgressListener } from "./progress.js";
import type { PullRequest } from "./pull.js";
import type { PushRequest } from "./push.js";
import type { TransferLeases } from "./transfer-leases.js";
import type { Unpacker } from "./unpack.js";
import type { UnpackRequest } from "./unpack-image.js";

export interface TransferParts {
  content: Content;
  images: Images;
  leases: Leases;
  snapshots: Snapshots;
  layers: LayerFiles;
  /** `--root` */
  root: string;
  /** Where directories of registries' hosts are. */
  hostsDirs: readonly string[];
  /** How many blobs a pull or a push moves at a time. */
  workers: number;
  /** Blobs of layers go once these are unpacked. */
  discardBlobs: boolean;
  /** Of this program, as registries see it. */
  version: string;
}

export interface TagRequest {
  namespace: string;
  /** Of the image that has it already. */
  name: string;
  destination: Destination;
  listener?: ProgressListener | undefined;
}

/** What the transfers of one daemon share: a blob that two want comes once, a layer is converted once. */
interface Shared {
  unpacker: Unpacker;
  downloads: Downloads;
  registry: Registry;
  leases: TransferLeases;
}

/** Images on their way: from and to registries, archives and other names. What that takes is loaded by the first that needs it. */
export class ImageTransfers {
  readonly #parts: TransferParts;
  #shared: Promise<Shared> | undefined;

  constructor(parts: TransferParts) {
    this.#parts = parts;
  }

  async pull(request: PullRequest): Promise<ImageRecord[]> {
    const { pullImage } = await import("./pull.js");
    return await pullImage({ ...this.#parts, ...(await this.#share()) }, request);
  }

  async push(request: PushRequest): Promise<void> {
    const { pushImage } = await import("./push.js");
    await pushImage({ ...this.#parts, ...(await this.#share()) }, request);
  }

  async import(request: ImportRequest): Promise<ImageRecord[]> {
    const { importImages } = await import("./import.js");
    return await importImages({ ...this.#parts, ...(await this.#share()) }, request);
  }

  async *export(request: ExportRequest): AsyncGenerator<Buffer> {
    const { exportImages } = await import("./export.js");
    yield* exportImages(this.#parts.content, this.#parts.images, request);
  }

  async apply(request: ApplyRequest): Promise<Descriptor> {
    const { applyLayer } = await import("./apply.js");
    return await applyLayer({ ...this.#parts, ...(await this.#share()) }, request);
  }

  async diff(request: DiffRequest): Promise<Descriptor> {
    const { diffSnapshots } = await import("./diff.js");
    return await diffSnapshots(this.#parts, request);
  }

  /** An image of another one and what a container has written: see commit.ts. */
  async commit(request: CommitRequest): Promise<ImageRecord> {
    const { commitImage } = await import("./commit.js");
    const { unpacker } = await this.#share();
    return await commitImage({ ...this.#parts, unpacker }, request);
  }

  /** Has snapshots of an image that is content: see unpack-image.ts. */
  async unpack(request: UnpackRequest): Promise<void> {
    const { unpackImage } = await import("./unpack-image.js");
    await unpackImage({ ...this.#parts, ...(await this.#share()) }, request);
  }

  async tag({ namespace, name, destination, listener }: TagRequest): Promise<ImageRecord[]> {
    const { tagImage } = await import("./image-store.js");
    return await tagImage(this.#parts.images, namespace, name, destination, listener);
  }

  #share(): Promise<Shared> {
    this.#shared ??= this.#make();
    return this.#shared;
  }

  async #make(): Promise<Shared> {
    const [{ Unpacker }, { Downloads }, { Registry }, { TransferLeases }] = await Promise.all([
      import("./unpack.js"),
      import("./downloads.js"),
      import("../registry/registry.js"),
      import("./transfer-leases.js"),
    ]);
    const { content, leases, version, hostsDirs } = this.#parts;
    return {
      unpacker: new Unpacker(this.#parts),
      downloads: new Downloads(content),
      registry: new Registry({ hostsDirs, userAgent: `containerd-ts/${version}`, environment: process.env }),
      leases: new TransferLeases(leases),
    };
  }
}

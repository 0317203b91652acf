import { createHash } from "node:crypto";
import { closeSync, constants, fdatasync, fstatSync, openSync, rmSync, statfsSync } from "node:fs";
import { promisify } from "node:util";
import { ArchiveError } from "../../../contract/tar/archive-error.js";
import { TarReader } from "../../../contract/tar/tar-reader.js";
import { decompress } from "../compression.js";
import type { ConvertedLayer } from "../convert.js";
import { writeDirectories } from "../erofs/directories.js";
import { ImageFile } from "../erofs/image-file.js";
import { LayerBuilder } from "../layer-builder.js";
import { IMPLICIT, LayerTree, ROOT } from "../layer-tree.js";
import { LayersBelow } from "../layers-below.js";
import type { Blob } from "./blob.js";
import type { ConvertTask } from "./messages.js";

const sync = promisify(fdatasync);

/** The kernel is told to write after each of so many bytes, so that little is left to be waited for at the end. */
const WRITE_BACK = 32 << 20;
/** Looked at each time that so many bytes have come out of the blob; so much is harmless in any case. */
const LOOK = 32 << 20;

export interface ConversionHost {
  blob: Blob;
  /** Throws when the conversion is called off. */
  checkpoint(): void;
  below(): Promise<string | undefined>;
  progress(unpacked: number): void;
}

/** Makes the layer file. Nothing of it is left when this rejects. */
export async function convert(task: ConvertTask, host: ConversionHost): Promise<ConvertedLayer> {
  const fd = openSync(task.output, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  const writeBack = new WriteBack(fd);
  try {
    const result = await write(task, host, fd, writeBack);
    await writeBack.finish();
    return { ...result, size: fstatSync(fd).blocks * 512 };
  } catch (error) {
    rmSync(task.output, { force: true });
    throw error;
  } finally {
    await writeBack.settle();
    closeSync(fd);
  }
}

async function write(
  task: ConvertTask,
  host: ConversionHost,
  fd: number,
  writeBack: WriteBack,
): Promise<Omit<ConvertedLayer, "size">> {
  const { limits } = task;
  const hash = createHash("sha256");
  const tree = new LayerTree(limits.entries);
  const image = new ImageFile(fd, (bytes) => writeBack.wrote(bytes));
  const builder = new LayerBuilder(tree, image);
  const reader = new TarReader(builder);
  const size = new SizeLimit(task, host.blob);
  let unpacked = 0;
  await decompress(host.blob.pieces(), task.mediaType, (bytes) => {
    host.checkpoint();
    hash.update(bytes);
    unpacked += bytes.length;
    size.check(unpacked);
    host.progress(unpacked);
    reader.push(bytes);
  });
  reader.end();
  builder.linkLate();
  const dependsOnBelow = LayersBelow.areNeeded(builder);
  if (dependsOnBelow) {
    const below = new LayersBelow(builder, await host.below());
    host.checkpoint();
    below.settle();
    below.link();
  }
  const namesRoot = !(tree.flags(ROOT) & IMPLICIT);
  const entries = writeDirectories(tree, image, builder, () => host.checkpoint());
  return { diffId: `sha256:${hash.digest("hex")}`, unpacked, entries, dependsOnBelow, namesRoot };
}

/** Refuses an archive that is out of all proportion to its blob, unless there is room for it. */
class SizeLimit {
  readonly #task: ConvertTask;
  readonly #blob: Blob;
  readonly #free: number;
  #next = LOOK;

  constructor(task: ConvertTask, blob: Blob) {
    this.#task = task;
    this.#blob = blob;
    const { bavail, bsize } = statfsSync(task.output);
    this.#free = bavail * bsize;
  }

  check(unpacked: number): void {
    if (unpacked < this.#next) return;
    this.#next = unpacked + LOOK;
    const { ratio, free } = this.#task.limits;
    if (unpacked <= ratio * this.#blob.read || this.#free - unpacked >= free) return;
    const much = `${unpacked} bytes have come out of ${this.#blob.read}, which is more than ${ratio} times as much`;
    throw new ArchiveError(`${much}, and less than ${free} bytes would stay free`);
  }
}

/** Has the kernel write what is in the file, while more of it is made. */
class WriteBack {
  readonly #fd: number;
  #waiting = 0;
  #running: Promise<void> | undefined;
  #error: unknown;

  constructor(fd: number) {
    this.#fd = fd;
  }

  wrote(bytes: number): void {
    this.#waiting += bytes;
    if (this.#waiting < WRITE_BACK || this.#running !== undefined) return;
    this.#waiting = 0;
    this.#running = sync(this.#fd)
      .catch((error) => {
        this.#error = error;
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** What was begun has ended. */
  async settle(): Promise<void> {
    await this.#running;
  }

  /** All of the file is on the disk. */
  async finish(): Promise<void> {
    await this.#running;
    // The kernel tells of a failure only once.
    if (this.#error !== undefined) throw this.#error;
    await sync(this.#fd);
  }
}

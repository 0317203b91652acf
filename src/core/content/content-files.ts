import { randomBytes } from "node:crypto";
import { chmod, link, mkdir, open, rm, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeTrustedDirectory } from "../../system/linux/closed-directory.js";
import { namesIn } from "../../system/linux/directory-names.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { Failure } from "../failure/failure.js";
import { NamedTurns } from "../scheduling/named-turns.js";
import { Slices } from "../scheduling/slices.js";
import { digestParts, faultOfDigest } from "./digest.js";

/** What the records say that there is. */
export interface Known {
  hasBlob(digest: string): boolean;
  hasIngest(id: string): boolean;
}

type Look = <T>(work: (known: Known) => T) => Promise<T>;

/**
 * The files of content: `blobs/ALGORITHM/HEX`, each whole, and `ingests/ID/data`, one for each blob that is being written. A file is there
 * before its record is, and a record goes before its file: so what has no record is of nobody, and the next daemon removes it.
 */
export class ContentFiles {
  readonly #directory: string;
  /** Makes and removes the file of one digest one after the other. */
  readonly #turns = new NamedTurns();

  constructor(directory: string) {
    this.#directory = directory;
  }

  blobPath(digest: string): string {
    const { algorithm, encoded } = digestParts(digest);
    return join(this.#directory, "blobs", algorithm, encoded);
  }

  ingestPath(id: string): string {
    return join(this.#directory, "ingests", id, "data");
  }

  /** A name for an ingest's directory. */
  newId(): string {
    return randomBytes(12).toString("hex");
  }

  /** Makes the directories. @throws Error that says which one is not as it should be */
  async prepare(): Promise<void> {
    await makeTrustedDirectory(this.#directory, 0o700);
    await chmod(this.#directory, 0o700);
    for (const name of ["blobs", "ingests"]) await mkdir(join(this.#directory, name), { recursive: true, mode: 0o700 });
  }

  /** Whether anything was ever kept. */
  async isMade(): Promise<boolean> {
    return (await namesIn(this.#directory)).length > 0;
  }

  /** Removes what no record knows of. @param look asks the records, within a look at the store */
  async removeUnknown(look: Look): Promise<void> {
    for await (const path of this.unknown(look)) await rm(path, { recursive: true, force: true });
  }

  /** The paths of what no record knows of. */
  async *unknown(look: Look): AsyncGenerator<string> {
    const slices = new Slices();
    const blobs = join(this.#directory, "blobs");
    for (const algorithm of await namesIn(blobs)) {
      for (const encoded of await namesIn(join(blobs, algorithm))) {
        const digest = `${algorithm}:${encoded}`;
        const isKnown = faultOfDigest(digest) === undefined && (await look((known) => known.hasBlob(digest)));
        if (!isKnown) yield join(blobs, algorithm, encoded);
        await slices.next();
      }
    }
    const ingests = join(this.#directory, "ingests");
    for (const id of await namesIn(ingests)) {
      if (!(await look((known) => known.hasIngest(id)))) yield join(ingests, id);
      await slices.next();
    }
  }

  /** One after the other for each digest. */
  exclusive<T>(digest: string, work: () => Promise<T>): Promise<T> {
    return this.#turns.run(digest, work);
  }

  /**
   * Gives the file of an ingest the name of its digest, which is on the disk when this resolves; the ingest keeps it until it is removed.
   * To be called within {@link exclusive}.
   * @param isKnown whether the file that has that name is one that the records know of: what else has it is replaced
   */
  async addBlob(id: string, digest: string, isKnown: boolean): Promise<void> {
    const path = this.blobPath(digest);
    const directory = dirname(path);
    if (isKnown && (await sizeOf(path)) === (await sizeOf(this.ingestPath(id)))) return;
    if ((await mkdir(directory, { recursive: true, mode: 0o700 })) !== undefined)
      await syncDirectory(dirname(directory));
    await rm(path, { recursive: true, force: true });
    await link(this.ingestPath(id), path);
    await syncDirectory(directory);
  }

  /** In bytes; undefined when there is none. */
  blobSize(digest: string): Promise<number | undefined> {
    return sizeOf(this.blobPath(digest));
  }

  /** To be called within {@link exclusive}, once no record knows of it. */
  async removeBlob(digest: string): Promise<void> {
    try {
      await unlink(this.blobPath(digest));
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
    }
  }

  async makeIngest(id: string): Promise<void> {
    await mkdir(dirname(this.ingestPath(id)), { recursive: true, mode: 0o700 });
  }

  /** @returns in bytes, what that freed at most */
  async removeIngest(id: string): Promise<number> {
    const path = this.ingestPath(id);
    const size = await sizeOf(path);
    await rm(dirname(path), { recursive: true, force: true });
    return size ?? 0;
  }

  /** How much of an ingest is there, and since when; undefined when nothing is. */
  async ingestState(id: string): Promise<{ size: number; modifiedAt: bigint } | undefined> {
    try {
      const { size, mtimeNs } = await stat(this.ingestPath(id), { bigint: true });
      return { size: Number(size), modifiedAt: mtimeNs };
    } catch (error) {
      if (hasCode(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}

/** A failed change of a file, as a caller gets to know it. */
export function fileFailure(path: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const isFull = hasCode(error, "ENOSPC") || hasCode(error, "EDQUOT");
  const why = isFull ? "no space left on device" : errorText(error);
  return new Failure(isFull ? "resource-exhausted" : "internal", "file-unwritten", { path, why }, { cause: error });
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** What is in it under a name is so after a loss of power, too. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

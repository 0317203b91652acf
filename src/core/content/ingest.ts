import { constants } from "node:fs";
import { copyFile, type FileHandle, open } from "node:fs/promises";
import { now } from "../../system/linux/clock.js";
import { Failure } from "../failure/failure.js";
import { checkLabels, type Labels } from "../metadata/labels.js";
import { CHUNK, fileChunks } from "./blob.js";
import type { ContentInfo, IngestStatus } from "./content.js";
import { fileFailure } from "./content-files.js";
import { CANONICAL, checkDigest, Digester, digestParts } from "./digest.js";

export interface CommitOptions {
  /** In bytes; 0 or undefined: whatever it is. */
  size?: number | undefined;
  /** The digest that it has to have. */
  expected?: string | undefined;
  labels?: Labels | undefined;
}

/** What has become of it. */
export interface Committed {
  digest: string;
  size: number;
  labels: Labels;
  /** The content of another namespace: there is no file of its own. */
  isShared: boolean;
}

/** What an ingest asks of the content that it is going to be a part of. */
export interface IngestOwner {
  /** Where it is written. */
  readonly path: string;
  /** Of the content that another namespace has, where it is that; its size. */
  readonly shared: { digest: string; path: string; size: number } | undefined;
  /** Makes sure that there is a directory for the file; it is none that is shared any more. */
  make(): Promise<void>;
  /** Makes content of it. */
  commit(made: Committed): Promise<ContentInfo>;
  /** It is written no more: the next writer may have it. */
  release(): void;
}

/** What an earlier writer has left, or a beginning. */
export interface IngestStart {
  ref: string;
  total: number;
  startedAt: bigint;
  updatedAt: bigint;
  /** The digest that it is to have, as far as is known. */
  expected: string;
}

/** A blob that is being written, by one writer, whose calls come one after the other. */
export class Ingest implements Readonly<IngestStatus> {
  readonly ref: string;
  readonly startedAt: bigint;
  /** In bytes, as who writes has said; 0: unknown. */
  total: number;
  updatedAt: bigint;
  /** In bytes. */
  offset = 0;
  readonly #owner: IngestOwner;
  #shared: IngestOwner["shared"];
  #file: FileHandle | undefined;
  #digester: Digester;
  #isClosed = false;
  /** Why it is written no more. */
  #ended: Failure | undefined;

  /** To be opened. */
  constructor(owner: IngestOwner, start: IngestStart) {
    this.#owner = owner;
    this.ref = start.ref;
    this.total = start.total;
    this.startedAt = start.startedAt;
    this.updatedAt = start.updatedAt;
    this.#shared = owner.shared;
    this.#digester = new Digester(start.expected === "" ? CANONICAL : digestParts(start.expected).algorithm);
  }

  /** Of the file that is written, or of the content that another namespace has; the commit gives it another name. */
  get path(): string {
    return this.#shared?.path ?? this.#owner.path;
  }

  /** The digest of content that another namespace has, as long as it is that; else empty. */
  get expected(): string {
    return this.#shared?.digest ?? "";
  }

  /**
   * Opens the file, and takes the digest of what is there already.
   * @param limit in bytes: more than that is no part of what is to be written, which begins anew; 0: unknown
   */
  async open(limit: number): Promise<void> {
    if (this.#shared !== undefined) {
      this.offset = this.#shared.size;
      return;
    }
    await this.#openFile();
    await this.#takeIn(this.#digester);
    if (limit > 0 && this.offset > limit) await this.truncate();
  }

  /**
   * Resolves once the data is with the kernel. A write that has failed has not changed anything.
   * @throws Failure (resource-exhausted) that names the file when the disk is full
   */
  async write(data: Buffer): Promise<void> {
    if (data.length === 0) return;
    if (this.#shared !== undefined) await this.#unshare(true);
    for (let start = 0; start < data.length; start += CHUNK) await this.#append(data.subarray(start, start + CHUNK));
  }

  /** Begins anew. */
  async truncate(): Promise<void> {
    if (this.#shared !== undefined) return await this.#unshare(false);
    await this.#opened().truncate(0);
    this.offset = 0;
    this.#digester = new Digester(this.#digester.algorithm);
  }

  /** Of what is written so far. */
  digest(): string {
    return this.#shared?.digest ?? this.#digester.digest();
  }

  /**
   * Makes it content: resolves once it is on the disk. Whatever comes of it, this writer is done; what it refuses, the next can go on with.
   * @throws Failure: failed-precondition for another size or digest; already-exists when the namespace has it, which the lease has then
   */
  async commit({ size = 0, expected = "", labels = {} }: CommitOptions = {}): Promise<ContentInfo> {
    try {
      this.#check();
      checkLabels(labels, "info.Labels: ");
      if (size !== 0 && size !== this.offset)
        throw mismatch(`${JSON.stringify(this.ref)} failed size validation: ${this.offset} != ${size}`);
      const digest = await this.#digestLike(expected);
      if (expected !== "" && expected !== digest)
        throw mismatch(`unexpected commit digest ${digest}, expected ${expected}`);
      if (this.#shared === undefined) {
        const file = this.#opened();
        await this.#changing(() => file.sync());
      }
      return await this.#owner.commit({ digest, size: this.offset, labels, isShared: this.#shared !== undefined });
    } finally {
      await this.close();
    }
  }

  /** Lets others go on with it; after a commit it does nothing. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#file?.close();
    } finally {
      this.#owner.release();
    }
  }

  /** Its writer gets the error from now on: somebody else has given it up. */
  async end(reason: Failure): Promise<void> {
    this.#ended = reason;
    await this.close();
  }

  #check(): void {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#isClosed) throw mismatch(`cannot write or commit ${JSON.stringify(this.ref)}: its writer is closed`);
  }

  #opened(): FileHandle {
    this.#check();
    return this.#file!;
  }

  async #openFile(): Promise<void> {
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    await this.#changing(async () => {
      await this.#owner.make();
      this.#file = await open(this.#owner.path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    });
  }

  /** From the file's beginning to its end. */
  async #takeIn(digester: Digester): Promise<void> {
    this.offset = 0;
    for await (const chunk of fileChunks(this.#opened(), 0, Number.POSITIVE_INFINITY)) {
      digester.update(chunk);
      this.offset += chunk.length;
    }
  }

  async #append(data: Buffer): Promise<void> {
    const file = this.#opened();
    const digester = this.#digester.copy();
    await this.#changing(async () => {
      const writing = writeAll(file, data, this.offset);
      // Beside the writing, which another thread does.
      digester.update(data);
      await writing;
    }).catch(async (error: unknown) => {
      // Nothing of it may be taken for a part of what is written in its place.
      await file.truncate(this.offset).catch(() => {});
      throw error;
    });
    this.#digester = digester;
    this.offset += data.length;
    this.updatedAt = now();
  }

  /** It becomes one of its own, empty or with what is shared. */
  async #unshare(isCopy: boolean): Promise<void> {
    this.#check();
    const { path } = this.#shared!;
    await this.#changing(async () => {
      await this.#owner.make();
      if (isCopy) await copyFile(path, this.#owner.path, constants.COPYFILE_FICLONE);
    });
    this.#shared = undefined;
    await this.#openFile();
    if (isCopy) await this.#takeIn(this.#digester);
    else await this.truncate();
  }

  /** By the algorithm of the expected one. @throws Failure (invalid-argument) for what is none */
  async #digestLike(expected: string): Promise<string> {
    if (expected === "") return this.digest();
    checkDigest(expected);
    const { algorithm } = digestParts(expected);
    if (this.#shared !== undefined || algorithm === this.#digester.algorithm) return this.digest();
    const digester = new Digester(algorithm);
    await this.#takeIn(digester);
    return digester.digest();
  }

  async #changing<T>(change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } catch (error) {
      throw this.#ended ?? fileFailure(this.#owner.path, error);
    }
  }
}

/** The kernel may take a part only. */
async function writeAll(file: FileHandle, data: Buffer, position: number): Promise<void> {
  for (let written = 0; written < data.length; ) {
    const { bytesWritten } = await file.write(data, written, data.length - written, position + written);
    written += bytesWritten;
  }
}

function mismatch(why: string): Failure {
  return new Failure("failed-precondition", "refused", { why });
}

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { makeTrustedDirectory } from "../../system/linux/closed-directory.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import type { Content, ContentInfo } from "../content/content.js";
import { fileFailure } from "../content/content-files.js";
import { writeBlob } from "../content/write-blob.js";
import { Failure } from "../failure/failure.js";
import { writeDiff } from "../layers/diff.js";
import type { Store } from "../metadata/store.js";
import { FirstUse } from "../scheduling/first-use.js";
import type { TaskName } from "../tasks/history.js";
import { checkpointContainer } from "../tasks/operations/checkpoint.js";
import { adoptCheckpoint, type Checkpoint, removeWork } from "../tasks/runtime/checkpoint.js";
import type { Tasks } from "../tasks/tasks.js";
import { unpack } from "./unpack.js";

export interface CheckpointBlobsParts {
  store: Store;
  content: Content;
  tasks: Tasks;
  log: Logger;
}

export interface SaveOptions {
  lease: string | undefined;
  signal: AbortSignal;
}

/** Where a checkpoint is that is there for a while. */
export interface CheckpointPlace {
  checkpointDir: string;
  checkpoint: string;
}

/** A CRIU whose daemon was killed may still write. */
const REMOVAL = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };

/** The one checkpoint in a directory. */
const NAME = "checkpoint";

/**
 * Checkpoints as content: an archive of CRIU's images. CRIU itself reads and writes files: they are in a directory that goes with the call,
 * or, after a kill, with the next daemon.
 */
export class CheckpointBlobs {
  readonly #directory: string;
  readonly #parts: CheckpointBlobsParts;
  readonly #prepared = new FirstUse(() => this.#prepare());

  /** @param directory is made when it is needed */
  constructor(directory: string, parts: CheckpointBlobsParts) {
    this.#directory = directory;
    this.#parts = parts;
  }

  /**
   * Saves a task; with `checkpoint.exit` it ends.
   * @throws Failure; the signal's reason
   */
  async save(
    task: TaskName,
    checkpoint: Omit<Checkpoint, "name">,
    { lease, signal }: SaveOptions,
  ): Promise<ContentInfo> {
    const { content, tasks } = this.#parts;
    const blob = { namespace: task.namespace, ref: "", kind: "checkpoint", lease };
    // Whatever may be wrong with the store is known before the task ends.
    return await writeBlob(content, blob, (ingest) =>
      this.#withDirectory(async (directory) => {
        await checkpointContainer(tasks, task, { ...checkpoint, name: NAME }, directory, signal);
        const upper = join(directory, NAME);
        await removeWork(upper);
        for await (const piece of writeDiff({ upper, signal })) await ingest.write(piece);
        return {};
      }),
    );
  }

  /**
   * Has the checkpoint of a blob in a directory while `work` goes on.
   * @throws Failure: not-found, invalid-argument for what is no archive of a checkpoint; what `work` does; the signal's reason
   */
  async withUnpacked<T>(
    namespace: string,
    digest: string,
    signal: AbortSignal,
    work: (place: CheckpointPlace) => Promise<T>,
  ): Promise<T> {
    const blob = await this.#parts.content.open(namespace, digest);
    try {
      return await this.#withDirectory(async (checkpointDir) => {
        await makeTrustedDirectory(join(checkpointDir, NAME), 0o700);
        await unpack(`checkpoint ${digest}`, blob.read(), join(checkpointDir, NAME), signal);
        await adoptCheckpoint(checkpointDir, NAME);
        return await work({ checkpointDir, checkpoint: NAME });
      });
    } finally {
      await blob.close();
    }
  }

  /** Removes what an earlier daemon has left. Never rejects: what can't be removed now goes another time. */
  async tidy(): Promise<void> {
    try {
      if ((await readdir(this.#directory)).length > 0) await this.#prepared.done();
    } catch (error) {
      if (hasCode(error, "ENOENT")) return;
      const { log } = this.#parts;
      log.warn({ directory: this.#directory, error: errorText(error) }, "containerd: remove left checkpoints");
    }
  }

  /** Whose the store is, his is the directory as well: no other daemon has it. */
  async #prepare(): Promise<void> {
    await this.#parts.store.read(() => {});
    await rm(this.#directory, REMOVAL);
    await makeTrustedDirectory(this.#directory, 0o700);
  }

  async #withDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
    let directory: string;
    try {
      await this.#prepared.done();
      directory = await mkdtemp(join(this.#directory, "checkpoint-"));
    } catch (error) {
      throw error instanceof Failure ? error : fileFailure(this.#directory, error);
    }
    try {
      return await work(directory);
    } finally {
      await rm(directory, REMOVAL).catch((error: unknown) => {
        this.#parts.log.warn({ directory, error: errorText(error) }, "containerd: remove a checkpoint's directory");
      });
    }
  }
}

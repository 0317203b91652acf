import { closeSync, constants, openSync } from "node:fs";
import { O_PATH } from "../../../system/linux/at-calls.js";
import { abortable } from "../../failure/abortable.js";
import { Failure, refusal } from "../../failure/failure.js";
import type { IdMaps } from "../../files/file-owners.js";
import type { Root } from "./root.js";
import type { Answer, Change, FileInfo, Task } from "./worker/messages.js";
import { Pool, type Run } from "./worker/pool.js";

export type { Change, FileInfo } from "./worker/messages.js";

export interface PutOptions {
  /** No directory is replaced by something else, nor the other way round. */
  keepKinds: boolean;
  /** Whether files belong to whom the archive says; else to the container's user. */
  keepOwners: boolean;
}

/** An upper directory of overlayfs, and what it is put on. */
export interface OwnLayer {
  /** As {@link Root.key}. */
  key: string;
  upper: string;
  /** As one directory, whose owners are those that the container sees; "": nothing. */
  lower: string;
  idMaps: IdMaps | undefined;
}

/** A directory that is copied, and whom its files belong to. */
export interface CopyEnd {
  directory: string;
  idMaps: IdMaps | undefined;
}

/** In bytes: so much of what comes in, or goes out, waits for a worker or a client. */
const AHEAD = 1 << 20;
/** Pieces of 256 KiB. */
const PIECES_AHEAD = 2;
/** More operations on one container wait. */
const MOST_OF_ONE = 8;
/** In bytes, as the kernel takes a path to be with the zero at its end. */
const LONGEST_PATH = 4095;

/**
 * Files into and out of root file systems which their containers may change meanwhile. All work is done in worker threads; one that a file
 * system of a container holds up is lost for that container alone.
 */
export class ContainerFiles {
  readonly #pool = new Pool();
  /** By the keys of roots. */
  readonly #runs = new Map<string, Set<Run>>();

  /**
   * Puts an archive (tar, in any of its forms) into a directory, which is made when it is not there. Each file is there as a whole or not
   * at all, also when the archive ends in the middle, which is an error.
   * @param path absolute, in the container
   * @throws Failure: invalid-argument (bad-archive names the entry), failed-precondition, resource-exhausted, …; what `archive` throws; the
   * signal's reason
   */
  async put(
    root: Root,
    path: string,
    archive: AsyncIterable<Uint8Array>,
    { keepKinds, keepOwners }: PutOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const { idMaps, user } = root;
    const fd = await root.open(true);
    const task: Task = {
      is: "put",
      root: fd,
      path: bytesOf(path),
      idMaps,
      owner: keepOwners ? undefined : user,
      keepKinds,
      devices: idMaps === undefined,
    };
    await this.#work(root.key, task, [fd], signal, async (work) => {
      const waiting: number[] = [];
      let size = 0;
      let isAll = false;
      work.onAnswer = (answer) => {
        if ("taken" in answer) size -= waiting.shift() ?? 0;
        if (waiting.length === 0 && !isAll) work.run.idle();
      };
      for await (const chunk of archive) {
        if (work.isOver) break;
        waiting.push(chunk.length);
        size += chunk.length;
        work.run.send({ data: chunk });
        while (size > AHEAD && !work.isOver) await work.news();
      }
      isAll = true;
      work.run.send({ data: undefined });
    });
  }

  /**
   * What is at a path as a tar archive, as fast as it is taken: entries begin with the last part of the path. The kernel's own files (of
   * /proc and /sys) and sockets are left out.
   * @param followLink whether it is of what a link at the path leads to
   * @throws Failure: not-found, invalid-argument, …; the signal's reason
   */
  async *get(root: Root, path: string, followLink: boolean, signal: AbortSignal): AsyncGenerator<Buffer> {
    const fd = await root.open(false);
    const task: Task = { is: "get", root: fd, path: bytesOf(path), idMaps: root.idMaps, followLink };
    yield* this.#stream(
      root.key,
      task,
      [fd],
      (answer) =>
        "piece" in answer ? [Buffer.from(answer.piece.buffer, answer.piece.byteOffset, answer.piece.length)] : [],
      signal,
    );
  }

  /** What is at a path; a link there is not followed. @throws as {@link get} */
  async stat(root: Root, path: string, signal: AbortSignal): Promise<FileInfo> {
    const fd = await root.open(false);
    const task: Task = { is: "stat", root: fd, path: bytesOf(path), idMaps: root.idMaps };
    let info: FileInfo | undefined;
    await this.#work(root.key, task, [fd], signal, async (work) => {
      work.onAnswer = (answer) => {
        if ("info" in answer) info = answer.info;
      };
    });
    return info!;
  }

  /** What a container has changed, as `docker diff` tells it. @throws Failure; the signal's reason */
  async *changes({ key, upper, lower, idMaps }: OwnLayer, signal: AbortSignal): AsyncGenerator<Change[]> {
    const task: Task = { is: "changes", upper, lower, idMaps };
    yield* this.#stream(key, task, [], (answer) => ("changes" in answer ? [answer.changes] : []), signal);
  }

  /**
   * Copies an upper directory of overlayfs with all that overlayfs has to know of it; the data is shared where the file system can.
   * When it has failed nothing is written any more.
   * @param key as {@link Root.key}
   * @throws Failure; the signal's reason
   */
  async copy(key: string, from: CopyEnd, to: CopyEnd, signal: AbortSignal): Promise<void> {
    const task: Task = {
      is: "copy",
      from: from.directory,
      to: to.directory,
      fromMaps: from.idMaps,
      toMaps: to.idMaps,
    };
    await this.#untilOver(key, task, [], signal);
  }

  /** Has a task done that has come to its end when this has. */
  async #untilOver(key: string, task: Task, fds: readonly number[], signal: AbortSignal): Promise<void> {
    let ended: Promise<void> | undefined;
    try {
      await this.#work(key, task, fds, signal, async (work) => {
        ended = work.done;
      });
    } catch (error) {
      await ended?.catch(() => {});
      throw error;
    }
  }

  /**
   * Fills an empty directory with what an image has at a path: files, owners, modes, attributes, links; nothing where it has nothing. When
   * it has failed nothing is written any more.
   * @param key what else is done with this directory has the same
   * @param root of the image, which stays the caller's
   * @param path absolute, in the image
   * @param isLasting whether all of it is on the disk once this is done
   * @throws Failure: invalid-argument where the image has something else than a directory, …; the signal's reason
   */
  async populate(
    key: string,
    root: number,
    path: string,
    { to, isLasting }: { to: string; isLasting: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const own = openSync(`/proc/self/fd/${root}`, O_PATH | constants.O_DIRECTORY);
    await this.#untilOver(key, { is: "populate", root: own, path: bytesOf(path), to, isLasting }, [own], signal);
  }

  /** Has a task give what it makes of its answers, one after the other. */
  async *#stream<T>(
    key: string,
    task: Task,
    fds: readonly number[],
    read: (answer: Answer) => T[],
    signal: AbortSignal,
  ): AsyncGenerator<T> {
    const ready: T[] = [];
    const work = await this.#begin(key, task, fds, signal);
    work.onAnswer = (answer) => {
      const found = read(answer);
      if (found.length === 0) return;
      ready.push(...found);
      if (ready.length >= PIECES_AHEAD) work.run.idle();
    };
    try {
      for (let i = 0; i < PIECES_AHEAD; i++) work.run.send({ more: true });
      for (;;) {
        const piece = ready.shift();
        if (piece !== undefined) {
          work.run.send({ more: true });
          yield piece;
        } else if (work.isOver) break;
        else await abortable(work.news(), signal);
      }
      await work.done;
    } finally {
      work.run.cancel(new Failure("cancelled", "call-cancelled", {}));
    }
  }

  /** Has a task done while `feed` goes on, which ends with it. */
  async #work(
    key: string,
    task: Task,
    fds: readonly number[],
    signal: AbortSignal,
    feed: (work: Work) => Promise<void>,
  ): Promise<void> {
    const work = await this.#begin(key, task, fds, signal);
    const fed = feed(work).catch((error: unknown) => work.run.cancel(error as Error));
    try {
      await abortable(work.done, signal);
    } catch (error) {
      work.run.cancel(error as Error);
      throw error;
    }
    void fed;
  }

  async #begin(key: string, task: Task, fds: readonly number[], signal: AbortSignal): Promise<Work> {
    const close = () => {
      for (const fd of fds) closeSync(fd);
    };
    try {
      const runs = this.#runsOf(key);
      const work = new Work();
      work.onReleased = () => {
        close();
        runs.delete(work.run);
        if (runs.size === 0) this.#runs.delete(key);
      };
      work.run = await this.#pool.run(task, work, signal);
      runs.add(work.run);
      this.#runs.set(key, runs);
      return work;
    } catch (error) {
      close();
      throw error;
    }
  }

  #runsOf(key: string): Set<Run> {
    const runs = this.#runs.get(key) ?? new Set<Run>();
    if (runs.size >= MOST_OF_ONE && [...runs].every(({ isStuck }) => isStuck)) {
      const why = `${runs.size} operations on files of this container wait for a file system that does not answer`;
      throw new Failure("unavailable", "container-files", { path: "/", why });
    }
    return runs;
  }
}

/** A task that is under way. */
class Work {
  run!: Run;
  isOver = false;
  onAnswer: (answer: Answer) => void = () => {};
  onReleased: () => void = () => {};
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};
  #wake: () => void = () => {};
  /** Rejects with what it has failed with. */
  readonly done: Promise<void>;

  constructor() {
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {});
  }

  /** Resolves at the next answer, or its end. */
  news(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  answer(answer: Answer): void {
    this.onAnswer(answer);
    this.#wake();
  }

  ended(error: Error | undefined): void {
    this.isOver = true;
    if (error === undefined) this.#resolve();
    else this.#reject(error);
    this.#wake();
  }

  released(): void {
    this.onReleased();
  }
}

/** @throws Failure (invalid-argument) for what is no path */
function bytesOf(path: string): string {
  const bytes = Buffer.from(path).toString("latin1");
  const refuse = (why: string) => refusal(`path ${JSON.stringify(path.slice(0, SHOWN))}: ${why}`);
  if (!bytes.startsWith("/")) throw refuse("has to be absolute, as the container sees it");
  if (bytes.includes("\0")) throw refuse("has a zero byte");
  if (bytes.length > LONGEST_PATH) throw refuse(`is of ${bytes.length} bytes: at most ${LONGEST_PATH}`);
  return bytes;
}

/** In characters: how much of a path an error quotes. */
const SHOWN = 200;

import { constants } from "node:fs";
import { lstat, mkdir, open, rename, rm, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { namesIn } from "../../system/linux/directory-names.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { Failure } from "../failure/failure.js";
import { BLOCK, lengthByItself } from "../layers/erofs/format.js";
import type { LayerFile, MadeLayer } from "../layers/layer-file.js";
import type { Store } from "../metadata/store.js";
import { FirstUse } from "../scheduling/first-use.js";
import { NamedTurns } from "../scheduling/named-turns.js";
import { Slices } from "../scheduling/slices.js";
import type { SnapshotRecords } from "./snapshot-records.js";

const SUFFIX = ".erofs";
const KEY = /^(?:chain-)?[a-z0-9]+:[a-f0-9]{32,}$/;
/** So many records are looked at before others get their turn. */
const PAGE = 200;

/** The layer files below `--root`, each stored once, whichever namespaces and snapshots use it. */
export class LayerFiles {
  readonly #store: Store;
  readonly #records: SnapshotRecords;
  readonly #directory: string;
  /** What concerns the same file goes one after the other. */
  readonly #turns = new NamedTurns();
  readonly #opened = new FirstUse(() => this.#openNow());
  #count = 0;

  /** @param directory is made when it is needed */
  constructor(directory: string, store: Store, records: SnapshotRecords) {
    this.#directory = directory;
    this.#store = store;
    this.#records = records;
  }

  /** A path for a file that is being made; what is left there goes with the next daemon. Nobody else gets it. */
  async temporary(): Promise<string> {
    await this.open();
    return join(this.#temporary, `${this.#count++}`);
  }

  /** Undefined for one that can't be used (any more): also when only its file is gone, as a disk that lost its power may have lost it. */
  async get(key: string): Promise<LayerFile | undefined> {
    if (!KEY.test(key)) return undefined;
    await this.open();
    const record = await this.#store.read(() => this.#records.layer(key));
    if (record === undefined || !(await isThere(this.path(key)))) return undefined;
    return this.#file(key, record);
  }

  /**
   * Keeps a file that is whole and on the disk: under its name once this resolves. One that is there with that key stays, and the other
   * goes.
   * @param path of {@link temporary}
   * @throws Failure
   */
  async add(key: string, path: string, layer: MadeLayer): Promise<LayerFile> {
    if (!KEY.test(key)) throw new Error(`no key of a layer file: ${key}`);
    await this.open();
    return await this.#turns.run(key, () => this.#addNow(key, path, layer));
  }

  async #addNow(key: string, path: string, layer: MadeLayer): Promise<LayerFile> {
    const known = await this.get(key);
    if (known !== undefined) {
      await rm(path, { force: true });
      return known;
    }
    try {
      await rename(path, this.path(key));
      await sync(this.#directory);
    } catch (error) {
      throw fileFailure(error);
    }
    await this.#store.write(() => this.#records.addLayer(key, layer));
    return { key, ...layer, path: this.path(key) };
  }

  /** By their keys. */
  async list(): Promise<LayerFile[]> {
    await this.open();
    const layers: LayerFile[] = [];
    for await (const { key, record } of this.#all()) layers.push(this.#file(key, record));
    return layers;
  }

  /** Removes one unless a snapshot uses it; resolves to how many bytes that has freed. */
  async remove(key: string): Promise<number> {
    await this.open();
    const isGone = KEY.test(key) && (await this.#store.write(() => this.#records.removeLayer(key)));
    return isGone ? await this.forget(key) : 0;
  }

  /** The file of a record that is gone; resolves to how many bytes that has freed. */
  forget(key: string): Promise<number> {
    return this.#turns.run(key, () => this.#forgetNow(key));
  }

  async #forgetNow(key: string): Promise<number> {
    const path = this.path(key);
    try {
      // Another conversion may have made it again meanwhile.
      if ((await this.#store.read(() => this.#records.layer(key))) !== undefined) return 0;
      const { blocks } = await lstat(path);
      await unlink(path);
      return blocks * 512;
    } catch (error) {
      if (hasCode(error, "ENOENT")) return 0;
      throw error;
    }
  }

  #file(key: string, { diffId, size, unpacked }: MadeLayer): LayerFile {
    return { key, diffId, size, unpacked, path: this.path(key) };
  }

  /** Where a layer file is, or would be. */
  path(key: string): string {
    return join(this.#directory, `${key.replace(":", "-")}${SUFFIX}`);
  }

  isPath(path: string): boolean {
    return dirname(path) === this.#directory && path.endsWith(SUFFIX);
  }

  get #temporary(): string {
    return join(this.#directory, "tmp");
  }

  /** At the first use: what the last daemon has left half made goes. */
  open(): Promise<void> {
    return this.#opened.done();
  }

  async #openNow(): Promise<void> {
    // It locks the directories to this daemon.
    await this.#store.read(() => {});
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await rm(this.#temporary, { recursive: true, force: true });
      await mkdir(this.#temporary, { mode: 0o700 });
      const files = new Set(await this.#files());
      for await (const { key } of this.#all()) files.delete(this.path(key));
      // Of no record: the last daemon was killed before there was one, or when it was just gone.
      for (const path of files) await unlink(path);
    } catch (error) {
      throw fileFailure(error);
    }
  }

  /**
   * Tells what is wrong, a sentence each: records whose file is not there or is another one, files that no record knows of. What is made or
   * removed meanwhile may be told of as well.
   */
  async *check(): AsyncGenerator<string> {
    const strangers = new Set(await this.#files());
    for await (const { key } of this.#all()) {
      const path = this.path(key);
      strangers.delete(path);
      const fault = await faultOfImage(path);
      if (fault !== undefined) yield `layer ${key}: ${fault}`;
    }
    for (const name of await namesIn(this.#temporary)) strangers.add(join(this.#temporary, name));
    for (const path of strangers) yield `${path}: a file that no record knows of`;
  }

  /** The paths of all that have the name of a layer file. */
  async #files(): Promise<string[]> {
    const names = await namesIn(this.#directory);
    return names.filter((name) => name.endsWith(SUFFIX)).map((name) => join(this.#directory, name));
  }

  async *#all() {
    const slices = new Slices();
    for (let after: string | undefined; ; ) {
      const page = await this.#store.read(() => this.#records.layersPage(after, PAGE));
      yield* page;
      after = page.at(-1)?.key;
      if (after === undefined) return;
      await slices.next();
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw fileFailure(error);
  }
}

async function faultOfImage(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, 0);
    const length = lengthByItself(buffer.subarray(0, bytesRead));
    if (length === undefined) return `${path} is no EROFS image`;
    return length === size ? undefined : `${path} has ${size} bytes, not ${length}`;
  } catch (error) {
    return hasCode(error, "ENOENT") ? `no file ${path}` : `${path}: ${errorText(error)}`;
  }
}

async function sync(path: string): Promise<void> {
  await using file = await open(path, constants.O_RDONLY);
  await file.sync();
}

function fileFailure(error: unknown): Failure {
  const isFull = hasCode(error, "ENOSPC") || hasCode(error, "EDQUOT");
  return new Failure(isFull ? "resource-exhausted" : "internal", "system", { why: errorText(error) }, { cause: error });
}

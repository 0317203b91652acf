import { chmodSync, closeSync, lstatSync, renameSync, rmSync, statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Database, RootDatabase } from "lmdb";
import { makeTrustedDirectory } from "../../system/linux/closed-directory.js";
import { lockDirectory } from "../../system/linux/flock.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { Failure } from "../failure/failure.js";
import { FirstUse } from "../scheduling/first-use.js";
import { checkLmdbFile } from "./lmdb-file.js";
import { MIGRATIONS, type Migration } from "./migrations.js";

/** In bytes: the address space that the file's map may take; none of it is memory before it is used. It grows beyond this by itself. */
const MAP_SIZE = 2 ** 30;
const MAX_TABLES = 32;
const MAX_READERS = 8;
const FILE = "meta.db";
/** The key of a number in the table `store`; without it, the version is 1. */
const VERSION = "version";
/** Less room than this in a file system, in bytes, is none: LMDB does not say why a write has failed. */
const NO_ROOM = 1 << 20;

/** A change is on the disk before the next begins, and before it is answered: a file is whole after a loss of power, too. */
const ONE_BY_ONE = { overlappingSync: false };

/** Plain MessagePack; by default lmdb makes code out of the names of an object's fields, and some of those are a client's. */
const PLAIN_MAPS = { useRecords: false };

/** What a record is found by: a namespace, then names; no part is empty. */
export type Key = readonly string[];

/** Records of one kind. To be used within {@link Store.read} and {@link Store.write} only. */
export interface Table<Value> {
  get(key: Key): Value | undefined;
  /** Those whose keys begin with `prefix`, in the order of their keys. */
  list(prefix: Key): Value[];
  keys(prefix: Key): Key[];
  /** The next records in the order of their keys, of the whole table: a long one is gone through in parts. */
  page(after: Key | undefined, limit: number): { key: Key; value: Value }[];
  has(prefix: Key): boolean;
  put(key: Key, value: Value): void;
  remove(key: Key): void;
}

type Records = Database<unknown, string[]>;

/**
 * What the daemon knows beyond the tasks' own files: one LMDB file, which is opened at the first use. What a call has been told to be done
 * is on the disk by then; a kill at any instruction leaves all of a change, or nothing of it.
 */
export class Store {
  readonly #directory: string;
  readonly #migrations: readonly Migration[];
  readonly #tables: TableOfStore<unknown>[] = [];
  readonly #opening = new FirstUse(() => this.#openNow());
  #lock: number | undefined;

  /**
   * @param directory is made when it is needed
   * @param migrations see {@link MIGRATIONS}
   */
  constructor(directory: string, migrations: readonly Migration[] = MIGRATIONS) {
    this.#directory = directory;
    this.#migrations = migrations;
  }

  /** @param name never another one for the same records: it is in the file */
  table<Value>(name: string): Table<Value> {
    const table = new TableOfStore<Value>(name);
    this.#tables.push(table as TableOfStore<unknown>);
    return table;
  }

  /**
   * Looks into the tables; `work` sees them as they are between two changes.
   * @throws Failure (failed-precondition) that says why the store can't be used; what `work` does
   */
  async read<T>(work: () => T): Promise<T> {
    await this.#open();
    return work();
  }

  /**
   * Changes the tables: one at a time, and as a whole or, when `work` throws, not at all. Resolves once that is on the disk.
   * @param work is called once, maybe later; it sees what changes before it have done
   * @throws as {@link read}; Failure (resource-exhausted, unavailable) when it can't be written
   */
  async write<T>(work: () => T): Promise<T> {
    const root = await this.#open();
    let refused: unknown;
    try {
      return await root.childTransaction(() => {
        try {
          return work();
        } catch (error) {
          refused = error;
          throw error;
        }
      });
    } catch (error) {
      throw refused ?? (await this.#unwritten(error));
    }
  }

  /** Lets others have it. */
  async close(): Promise<void> {
    await (await this.#opening.begun)?.close();
    this.#unlock();
  }

  #unlock(): void {
    if (this.#lock !== undefined) closeSync(this.#lock);
    this.#lock = undefined;
  }

  #open(): Promise<RootDatabase> {
    return this.#opening.done();
  }

  async #openNow(): Promise<RootDatabase> {
    const directory = this.#directory;
    try {
      await makeTrustedDirectory(directory, 0o700);
      chmodSync(directory, 0o700);
      this.#lock ??= await lockDirectory(directory);
      if (this.#lock === undefined)
        throw new Error("in use by another daemon: name another directory with --root, or end it");
      return await this.#openFile();
    } catch (error) {
      // Another daemon may be able to use it.
      this.#unlock();
      throw new Failure(
        "failed-precondition",
        "metadata-unusable",
        { directory, why: errorText(error) },
        { cause: error },
      );
    }
  }

  /** A new file gets its name when it is one: what has the name and is none is damaged, even if it is empty. */
  async #openFile(): Promise<RootDatabase> {
    // Loaded at first use. An import() that has failed once, as was seen once, fails for as long as the process lives.
    const { open } = createRequire(import.meta.url)("lmdb") as typeof import("lmdb");
    const path = join(this.#directory, FILE);
    const openAt = (path: string) => {
      // Of a process that is gone, as the lock of the directory says.
      rmSync(`${path}-lock`, { force: true });
      return open({ path, mapSize: MAP_SIZE, maxDbs: MAX_TABLES, maxReaders: MAX_READERS, ...ONE_BY_ONE });
    };
    const info = lstatSync(path, { throwIfNoEntry: false });
    if (info === undefined) {
      const temporary = join(this.#directory, `new-${FILE}`);
      rmSync(temporary, { force: true });
      await openAt(temporary).close();
      rmSync(`${temporary}-lock`, { force: true });
      renameSync(temporary, path);
    } else {
      try {
        if (!info.isFile()) throw new Error("not a file");
        await checkLmdbFile(path);
      } catch (error) {
        const mend = `put a copy of it in its place, or move it away: what runs goes on, records of containers are lost`;
        throw new Error(`${FILE}: ${errorText(error)}: ${mend}`);
      }
    }
    const root = openAt(path);
    try {
      await this.#migrate(root);
      // In one transaction: a table that is made waits for the disk, and with it all else.
      root.transactionSync(() => {
        for (const table of this.#tables) table.open(root);
      });
    } catch (error) {
      await root.close();
      throw error;
    }
    return root;
  }

  /** Makes a store of an earlier version one of this daemon's. @throws Error for one of a later version, which stays as it is */
  async #migrate(root: RootDatabase): Promise<void> {
    const versions = new TableOfStore<number>("store");
    versions.open(root);
    const newest = this.#migrations.length + 1;
    const version = versions.get([VERSION]) ?? 1;
    if (version === newest) return;
    if (version > newest) {
      throw new Error(
        `${FILE}: of version ${version}, and this daemon knows none after ${newest}: start the newer one that has made it, ` +
          "or name another directory with --root",
      );
    }
    await root.childTransaction(() => {
      const tableOf = <Value>(name: string) => {
        const table = new TableOfStore<Value>(name);
        table.open(root);
        return table;
      };
      for (const migrate of this.#migrations.slice(version - 1)) migrate(tableOf);
      versions.put([VERSION], newest);
    });
  }

  /** A change that could not be written. */
  async #unwritten(error: unknown): Promise<Failure> {
    const directory = this.#directory;
    const cause = await (error as { commitError?: Promise<unknown> }).commitError?.catch((reason: unknown) => reason);
    const { bavail, bsize } = statfsSync(directory);
    if (hasCode(cause, "ENOSPC") || bavail * bsize < NO_ROOM)
      return new Failure("resource-exhausted", "metadata-unwritten", { directory, why: "no space left on device" });
    return new Failure("unavailable", "metadata-unwritten", { directory, why: errorText(cause ?? error) });
  }
}

class TableOfStore<Value> implements Table<Value> {
  readonly #name: string;
  #records!: Records;

  constructor(name: string) {
    this.#name = name;
  }

  open(root: RootDatabase): void {
    this.#records = root.openDB({ name: this.#name, ...PLAIN_MAPS });
  }

  get(key: Key): Value | undefined {
    return this.#records.get([...key]) as Value | undefined;
  }

  list(prefix: Key): Value[] {
    return [...this.#records.getRange(range(prefix)).map(({ value }) => value as Value)];
  }

  keys(prefix: Key): Key[] {
    return [...this.#records.getKeys(range(prefix)).map(keyOf)];
  }

  page(after: Key | undefined, limit: number): { key: Key; value: Value }[] {
    const start = after === undefined ? {} : { start: [...after], exclusiveStart: true };
    return [...this.#records.getRange({ ...start, limit })].map(({ key, value }) => ({
      key: keyOf(key),
      value: value as Value,
    }));
  }

  has(prefix: Key): boolean {
    // The first that does not come before it. To have LMDB compare with an end, or count, takes twice as long.
    for (const key of this.#records.getKeys({ start: [...prefix], limit: 1 })) {
      const parts = keyOf(key);
      return prefix.every((part, index) => part === parts[index]);
    }
    return false;
  }

  put(key: Key, value: Value): void {
    settled(this.#records.put([...key], value));
  }

  remove(key: Key): void {
    settled(this.#records.remove([...key]));
  }
}

/** LMDB's one does not tell a key of one part from that part. */
function keyOf(key: string[] | string): Key {
  return typeof key === "string" ? [key] : key;
}

/** From the prefix up to what comes after all that begin with it: in the order of keys any text is before this array's second part. */
function range(prefix: Key) {
  return { start: [...prefix], end: [...prefix, AFTER_ALL] };
}

/** The last code point, which is no character: this comes after all names. */
const AFTER_ALL = "\u{10ffff}";

/** The transaction tells how it went. */
function settled(promise: Promise<unknown>): void {
  promise.catch(() => {});
}

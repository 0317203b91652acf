import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import { now } from "../../system/linux/clock.js";
import { diskUsage } from "../../system/linux/disk-usage.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { Failure } from "../failure/failure.js";
import { logText } from "../failure/log-text.js";
import { checkLabels, type Labels, presentLabels } from "../metadata/labels.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Store, Table } from "../metadata/store.js";
import { NamedTurns } from "../scheduling/named-turns.js";
import { VolumeDirectories, type VolumePlace } from "./volume-directories.js";
import { checkVolumeName, isVolumeName, noVolume, type Volume, type VolumeRecord } from "./volume-record.js";

interface User {
  namespace: string;
  /** Of a container. */
  id: string;
}

/** A volume that a container has. */
interface Use {
  name: string;
  /** It goes with the container. */
  isOwn: boolean;
  /** It was made for the container just now: it goes if that comes to nothing. */
  isMade: boolean;
}

export interface HoldRequest {
  /** "" is one that goes with the container. */
  name: string;
  /** Puts into an empty directory what a volume begins with; undefined: it begins empty. */
  fill: ((directory: string) => Promise<void>) | undefined;
}

export interface VolumesParts {
  store: Store;
  namespaces: Namespaces;
  /** Where their directories are; it is made with the first one. */
  path: string;
  /** Is told what was made, and what was removed. */
  onChange: (action: "create" | "remove", namespace: string, volume: VolumeRecord) => void;
  log: Logger;
}

/**
 * Volumes: directories below `--root` that outlive containers, each with a record. A record says that there is a volume; a directory
 * without one is what a kill has left, of which only what cannot be a user's is removed. What is done with one volume is done one after the
 * other.
 */
export class Volumes {
  readonly #store: Store;
  readonly #namespaces: Namespaces;
  readonly #records: Table<VolumeRecord>;
  readonly #directories: VolumeDirectories;
  readonly #onChange: VolumesParts["onChange"];
  readonly #log: Logger;
  readonly #turns = new NamedTurns();
  /** Ids of containers, by {@link keyOf} the volume. */
  readonly #users = new Map<string, Set<string>>();
  /** What each container has, by its namespace and id. */
  readonly #uses = new Map<string, Use[]>();

  constructor({ store, namespaces, path, onChange, log }: VolumesParts) {
    this.#store = store;
    this.#namespaces = namespaces;
    this.#directories = new VolumeDirectories(path);
    this.#onChange = onChange;
    this.#log = log;
    this.#records = store.table("volumes");
    namespaces.contain({ name: "volumes", isIn: (namespace) => this.#records.has([namespace]) });
  }

  /** Where the files of a volume are. */
  pathOf(place: VolumePlace): string {
    return this.#directories.files(place);
  }

  /** The directory that {@link pathOf} is in, and nothing else that is a container's. */
  directoryOf(place: VolumePlace): string {
    return this.#directories.of(place);
  }

  /**
   * Makes a volume; answers with the one that is there, if it has these labels.
   * @param name "" has one made
   * @throws Failure: invalid-argument; already-exists with other labels; resource-exhausted
   */
  async create(namespace: string, { name, labels }: { name: string; labels: Labels }): Promise<Volume> {
    if (name !== "") checkVolumeName(name);
    checkLabels(labels, "labels: ");
    const place = { namespace, name: name || newName() };
    const wanted = presentLabels(labels);
    return await this.#inTurn(place, async () => {
      const before = await this.#recordOf(place);
      if (before !== undefined) {
        if (!areSame(before.labels, wanted)) {
          const why = `there is a volume ${JSON.stringify(name)}, with other labels`;
          throw new Failure("already-exists", "refused", { why });
        }
        return this.#volumeOf(namespace, before);
      }
      return await this.#undone(place, async () => {
        const isNew = !(await this.#directories.hasFiles(place));
        await this.#directories.makeFiles(place);
        const record = await this.#put(namespace, {
          ...{ name: place.name, labels: wanted, createdAt: now(), isAnonymous: name === "", isNew },
        });
        this.#onChange("create", namespace, record);
        return this.#volumeOf(namespace, record);
      });
    });
  }

  /**
   * @param withSize all of it is looked at for that
   * @throws Failure (not-found)
   */
  async get(place: VolumePlace, withSize: boolean): Promise<Volume> {
    const record = await this.#recordOf(place);
    if (record === undefined) throw noVolume(place.name);
    const volume = this.#volumeOf(place.namespace, record);
    return withSize ? { ...volume, size: await this.#sizeOf(place) } : volume;
  }

  /**
   * Those of a namespace, by their names.
   * @param labels `NAME` or `NAME=value`; all of them hold
   * @param isUsed undefined: both
   */
  async list(
    namespace: string,
    { labels, isUsed }: { labels: readonly string[]; isUsed?: boolean | undefined },
  ): Promise<Volume[]> {
    const records = await this.#store.read(() => this.#records.list([namespace]));
    return records
      .filter((record) => hasLabels(record.labels, labels))
      .map((record) => this.#volumeOf(namespace, record))
      .filter(({ containers }) => isUsed === undefined || isUsed === containers.length > 0);
  }

  /** @throws Failure: not-found; failed-precondition while a container has it, or something is mounted there */
  async remove(place: VolumePlace): Promise<void> {
    await this.#inTurn(place, async () => {
      const record = await this.#recordOf(place);
      if (record === undefined) throw noVolume(place.name);
      const users = [...(this.#users.get(keyOf(place)) ?? [])];
      if (users.length > 0) {
        const why = `volume ${JSON.stringify(place.name)} is in use by ${nameAll(users)}: remove that first`;
        throw new Failure("failed-precondition", "refused", { why });
      }
      await this.#removeNow(place, record);
    });
  }

  /**
   * Removes those that no container has.
   * @param all whether those that have a name, too
   * @returns their names, and how many bytes they had on the disk
   */
  async prune(
    namespace: string,
    { labels, all }: { labels: readonly string[]; all: boolean },
    signal: AbortSignal,
  ): Promise<{ names: string[]; freed: number }> {
    const names: string[] = [];
    let freed = 0;
    for (const { name, isAnonymous } of await this.list(namespace, { labels, isUsed: false })) {
      if (!all && !isAnonymous) continue;
      signal.throwIfAborted();
      try {
        const size = await this.#sizeOf({ namespace, name });
        await this.remove({ namespace, name });
        names.push(name);
        freed += size;
      } catch (error) {
        // It has gone, or a container has it by now.
        if (!(error instanceof Failure && ["not-found", "failed-precondition"].includes(error.kind))) throw error;
      }
    }
    return { names, freed };
  }

  /**
   * Has a container have a volume, which is made when it is not there. Nobody removes it from here on, until the container is gone.
   * @returns its name
   * @throws Failure; what `fill` throws
   */
  async hold(user: User, { name, fill }: HoldRequest): Promise<string> {
    if (name !== "") checkVolumeName(name);
    const { namespace, id } = user;
    const isOwn = name === "";
    const place = { namespace, name: name || newName() };
    const use = { name: place.name, isOwn, isMade: false };
    this.#take(user, use);
    await this.#inTurn(place, async () => {
      const before = await this.#recordOf(place);
      if (before !== undefined) {
        if (before.isNew) await this.#beginUse(place, before, fill);
        return;
      }
      use.isMade = true;
      await this.#undone(place, async () => {
        // Whose record is lost: it is found again by its name.
        const hadFiles = await this.#directories.hasFiles(place);
        const directory = await this.#directories.beginFilling(place);
        if (!hadFiles) await fill?.(directory);
        const record = await this.#put(namespace, {
          ...{ name: place.name, labels: {}, createdAt: now(), isAnonymous: isOwn, isNew: false },
          ...(isOwn && { container: id }),
        });
        this.#onChange("create", namespace, record);
        await this.#directories.endFilling(place, !isOwn);
      });
    });
    return place.name;
  }

  /** Takes note of the volumes that a container of an earlier daemon has. */
  keep(user: User, volumes: readonly { name: string; isOwn: boolean }[]): void {
    for (const { name, isOwn } of volumes) this.#take(user, { name, isOwn, isMade: false });
  }

  /**
   * A container is gone, and with it the volumes that are its own.
   * @param cameToNothing whether its creation has failed: what was made for it goes, too, unless others have it by now
   * @throws Failure: what could not be removed the next daemon removes
   */
  async letGo(user: User, cameToNothing = false): Promise<void> {
    const { namespace, id } = user;
    const uses = this.#uses.get(containerKey(user));
    if (uses === undefined) return;
    this.#uses.delete(containerKey(user));
    await Promise.all(
      uses.map(async ({ name, isOwn, isMade }) => {
        const place = { namespace, name };
        this.#drop(place, id);
        if (!isOwn && !(cameToNothing && isMade)) return;
        await this.#inTurn(place, async () => {
          const record = await this.#recordOf(place);
          if (record === undefined) return;
          if (this.#users.get(keyOf(place)) === undefined) await this.#removeNow(place, record);
          // Another container has taken it by its name.
          else if (isOwn) await this.#put(namespace, { ...record, container: undefined });
        });
      }),
    );
  }

  /**
   * Brings to its end what an earlier daemon has begun.
   * @param isContainer whether there is such a container; those that are there are known by {@link keep}
   * @throws Failure when the store can't be used
   */
  async restore(isContainer: (namespace: string, id: string) => boolean): Promise<void> {
    const known = new Set<string>();
    for (const { key, value } of await this.#all()) {
      const place = { namespace: key[0]!, name: value.name };
      known.add(keyOf(place));
      await this.#attempt(place, async () => {
        const isThere = await this.#directories.restore(place);
        const isLeftOver = value.container !== undefined && !isContainer(place.namespace, value.container);
        if (isLeftOver && !this.#users.has(keyOf(place))) {
          await this.#removeNow(place, value);
          return;
        }
        if (isThere) return;
        this.#log.error(fieldsOf(place), "containerd: the files of a volume are gone: it begins anew, empty");
        await this.#directories.makeFiles(place);
      });
    }
    for (const place of await this.#directories.all()) {
      if (known.has(keyOf(place))) continue;
      await this.#attempt(place, async () => {
        if (await this.#directories.removeUnknown(place))
          this.#log.warn(
            { ...fieldsOf(place), path: this.#directories.of(place) },
            "containerd: files of a volume that no record knows of stay: a volume of this name has them",
          );
      });
    }
  }

  async #all(): Promise<{ key: readonly string[]; value: VolumeRecord }[]> {
    return await this.#store.read(() => this.#records.keys([]).map((key) => ({ key, value: this.#records.get(key)! })));
  }

  async #attempt(place: VolumePlace, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#log.error({ ...fieldsOf(place), error: logText(error) }, "containerd: take over a volume");
    }
  }

  /** The first container comes to a volume that somebody has made before. */
  async #beginUse(place: VolumePlace, record: VolumeRecord, fill: HoldRequest["fill"]): Promise<void> {
    await this.#undone(place, async () => {
      if (fill !== undefined && !(await this.#directories.hasFiles(place))) {
        await fill(await this.#directories.beginFilling(place));
        await this.#directories.endFilling(place, true);
      }
    });
    await this.#put(place.namespace, { ...record, isNew: false });
  }

  /** Has nothing left of what fails, but what was there before. */
  async #undone<T>(place: VolumePlace, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if ((await this.#recordOf(place).catch(() => undefined)) === undefined)
        await this.#directories.undo(place).catch(() => {});
      throw explained(place, error);
    }
  }

  async #removeNow(place: VolumePlace, record: VolumeRecord): Promise<void> {
    try {
      await this.#directories.beginRemoval(place);
    } catch (error) {
      throw explained(place, error);
    }
    try {
      await this.#store.write(() => this.#records.remove([place.namespace, place.name]));
    } catch (error) {
      await this.#directories.undoRemoval(place).catch(() => {});
      throw error;
    }
    this.#onChange("remove", place.namespace, record);
    await this.#directories.endRemoval(place).catch((error) => {
      throw explained(place, error);
    });
  }

  async #sizeOf(place: VolumePlace): Promise<number> {
    try {
      return (await diskUsage(this.#directories.files(place))).size;
    } catch (error) {
      if (hasCode(error, "ENOENT")) throw noVolume(place.name);
      throw explained(place, error);
    }
  }

  #recordOf({ namespace, name }: VolumePlace): Promise<VolumeRecord | undefined> {
    // What is no name may be longer than a key can be.
    return this.#store.read(() => (isVolumeName(name) ? this.#records.get([namespace, name]) : undefined));
  }

  async #put(namespace: string, record: VolumeRecord): Promise<VolumeRecord> {
    await this.#store.write(() => {
      this.#namespaces.use(namespace);
      this.#records.put([namespace, record.name], record);
    });
    return record;
  }

  #volumeOf(namespace: string, record: VolumeRecord): Volume {
    const place = { namespace, name: record.name };
    const containers = [...(this.#users.get(keyOf(place)) ?? [])];
    return { ...record, path: this.#directories.files(place), containers };
  }

  #take(user: User, use: Use): void {
    const { namespace, id } = user;
    const key = keyOf({ namespace, name: use.name });
    const users = this.#users.get(key) ?? new Set();
    this.#users.set(key, users.add(id));
    const uses = this.#uses.get(containerKey(user)) ?? [];
    uses.push(use);
    this.#uses.set(containerKey(user), uses);
  }

  #drop(place: VolumePlace, id: string): void {
    const users = this.#users.get(keyOf(place));
    users?.delete(id);
    if (users?.size === 0) this.#users.delete(keyOf(place));
  }

  #inTurn<T>(place: VolumePlace, work: () => Promise<T>): Promise<T> {
    return this.#turns.run(keyOf(place), work);
  }
}

/** As Docker's are. */
function newName(): string {
  return randomBytes(32).toString("hex");
}

function keyOf({ namespace, name }: VolumePlace): string {
  return `${namespace}/${name}`;
}

function containerKey({ namespace, id }: User): string {
  return `${namespace}/${id}`;
}

function fieldsOf({ namespace, name }: VolumePlace) {
  return { namespace, volume: name };
}

/** How many ids an error lists. */
const MAX_SHOWN = 5;

function nameAll(ids: readonly string[]): string {
  const more = ids.length > MAX_SHOWN ? `, and ${ids.length - MAX_SHOWN} more` : "";
  return `container ${ids.slice(0, MAX_SHOWN).join(", ")}${more}`;
}

function areSame(one: Labels, other: Labels): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}

function hasLabels(labels: Labels, wanted: readonly string[]): boolean {
  return wanted.every((label) => {
    const end = label.indexOf("=");
    return end < 0 ? Object.hasOwn(labels, label) : labels[label.slice(0, end)] === label.slice(end + 1);
  });
}

/** A system error as one of a volume. */
function explained({ name }: VolumePlace, error: unknown): unknown {
  if (error instanceof Failure || typeof (error as NodeJS.ErrnoException).code !== "string") return error;
  const isFull = hasCode(error, "ENOSPC") || hasCode(error, "EDQUOT");
  const kind = isFull ? "resource-exhausted" : hasCode(error, "EBUSY") ? "failed-precondition" : "internal";
  return new Failure(kind, "refused", { why: `volume ${JSON.stringify(name)}: ${errorText(error)}` }, { cause: error });
}

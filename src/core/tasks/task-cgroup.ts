import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { CGROUP_JSON } from "../../contract/shim/process-directory.js";
import { type Cgroup, cgroupAt, cgroupIn, cgroupOf } from "../../system/cgroup/cgroup.js";
import { endProcesses, removeCgroups } from "../../system/cgroup/end.js";
import { expectedDirectories } from "../../system/cgroup/expected.js";
import { type CgroupPlace, placeOf } from "../../system/cgroup/place.js";
import { moveIn, moveOut, sharesOneOf } from "../../system/cgroup/residents.js";
import { bootId } from "../../system/linux/boot-id.js";
import { writeAtomically } from "../files/write-atomically.js";
import { readStateFile } from "./state-directory/state-file.js";

/** What cgroup.json holds. */
interface CgroupRecord {
  /** Inode numbers begin anew with each boot. */
  boot: string;
  /** `linux.cgroupsPath`, or the container's id. */
  path: string;
  /** Directories that were not there before the runtime was called. */
  made: readonly string[];
  /** Where the container's first process was before it ran; not there while it is being made. */
  place?: CgroupPlace;
}

/** In ms: how long killed processes and their cgroups may take to go. */
const END_TIMEOUT = 10_000;

/**
 * A container's cgroup, written down before the container has run: its processes may move elsewhere later. What was there before the
 * container, or is another's too, is never killed and never removed.
 */
export class TaskCgroup {
  readonly #file: string;
  #record: CgroupRecord | undefined;
  #cgroup: Cgroup | undefined;

  /** @param directory the container's */
  constructor(directory: string) {
    this.#file = join(directory, CGROUP_JSON);
  }

  /**
   * To be called before the runtime makes it.
   * @param path as {@link expectedDirectories} takes it
   * @throws a system error
   */
  expect(path: string): void {
    const expected = expectedDirectories(path);
    moveIn(this, expected);
    // What is there after the runtime's call, and is not yet, was made by it.
    this.#record = { boot: bootId(), path, made: expected.filter((directory) => !existsSync(directory)) };
    this.#write();
  }

  /**
   * The cgroup; undefined when it is gone or not on this host.
   * @param pid of the container's first process: where nothing is written down (by another daemon), it tells
   */
  find(pid: number): Cgroup | undefined {
    if (this.#cgroup === undefined) {
      this.#cgroup = this.#written() ?? derived(pid);
      if (this.#cgroup !== undefined) this.#settle(this.#cgroup);
    }
    return this.#cgroup;
  }

  /** Whether it was written down, by whatever daemon. */
  get isWritten(): boolean {
    this.#record ??= read(this.#file);
    return this.#record !== undefined;
  }

  #written(): Cgroup | undefined {
    this.#record ??= read(this.#file);
    return this.#record?.place && cgroupAt(this.#record.place);
  }

  /** Writes down where it is. */
  #settle(cgroup: Cgroup): void {
    moveIn(this, [...cgroup.directories.values()]);
    if (this.#record?.place !== undefined) return;
    try {
      const { path = "", made = [] } = this.#record ?? {};
      this.#record = { boot: bootId(), path, made, place: placeOf(cgroup.directories) };
      this.#write();
    } catch {
      // The process is exiting, or the disk is full: a later daemon reads it from the first process.
    }
  }

  #write(): void {
    writeAtomically(this.#file, JSON.stringify(this.#record));
  }

  /** The cgroup, if it was made for this container and no other container uses it. */
  own(): Cgroup | undefined {
    const written = this.#cgroup ?? this.#written();
    const { path = "", made = [] } = this.#record ?? {};
    if (written !== undefined) {
      const directories = [...written.directories.values()];
      const isOwn = directories.every((directory) => made.includes(directory) || isScope(directory, path));
      return isOwn && !sharesOneOf(this, directories) ? written : undefined;
    }
    // The runtime has not reported a process yet.
    const there = this.#left();
    return there.length > 0 && !sharesOneOf(this, there) ? cgroupIn(there) : undefined;
  }

  /** What was made for the container, and is there; a later cgroup of the same name is not. */
  #left(): string[] {
    this.#record ??= read(this.#file);
    const { path = "", made = [], place } = this.#record ?? {};
    const expected = new Set(expectedDirectories(path));
    const inodes = place && new Map(Object.values(place).map((entry) => [entry.path, entry.inode]));
    return made.filter((directory) => {
      const inode = expected.has(directory) ? statSync(directory, { throwIfNoEntry: false })?.ino : undefined;
      return inode !== undefined && (inodes === undefined || inodes.get(directory) === inode);
    });
  }

  /** Whether there is anything that was made for the container. */
  isLeft(): boolean {
    return this.#left().length > 0;
  }

  /**
   * Kills what is in it, if it is the container's alone.
   * @returns whether nothing of that is left
   */
  async endProcesses(): Promise<boolean> {
    if (this.#cgroup?.pids().length === 0) return true;
    const own = this.own();
    return own === undefined || (await endProcesses(own, END_TIMEOUT));
  }

  /**
   * Removes what was made for the container and is empty.
   * @returns whether nothing of that is left
   */
  async remove(): Promise<boolean> {
    const left = this.#left();
    return left.length === 0 || sharesOneOf(this, left) || (await removeCgroups(left, REMOVAL_TIMEOUT));
  }

  /** The container is gone: its directories may be used by another. */
  forget(): void {
    moveOut(this);
  }
}

/** In ms: as {@link END_TIMEOUT}, for cgroups without a process. */
const REMOVAL_TIMEOUT = 500;

/** systemd makes a scope for each of its containers, and refuses one that is there. */
function isScope(directory: string, path: string): boolean {
  return path.includes(":") && directory.endsWith(".scope");
}

function derived(pid: number): Cgroup | undefined {
  try {
    return cgroupOf(pid);
  } catch {
    return undefined;
  }
}

/** Undefined when there is none, or it is another boot's, or damaged. */
function read(file: string): CgroupRecord | undefined {
  try {
    const { boot, path, made, place } = JSON.parse(readStateFile(file)) as Partial<CgroupRecord>;
    if (boot !== bootId() || typeof path !== "string" || !Array.isArray(made)) return undefined;
    return {
      boot,
      path,
      made: made.filter((path) => typeof path === "string"),
      ...(place === undefined ? {} : { place }),
    };
  } catch {
    return undefined;
  }
}

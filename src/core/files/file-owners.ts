import type { IdRange } from "../../system/mount/user-namespace.js";

/** Who a number is within a user namespace, and who outside of it. */
export interface IdMaps {
  uids: readonly IdRange[];
  gids: readonly IdRange[];
}

/** Whom a file belongs to for whoever its owner means nothing to, as the kernel has it. */
const NOBODY = 65534;

/** The owners of files, as a container has them ("inside") and as they are on the disk ("outside"). */
export class FileOwners {
  readonly #maps: IdMaps | undefined;

  /** @param maps undefined: both are the same */
  constructor(maps: IdMaps | undefined) {
    this.#maps = maps;
  }

  /** Whether there is a difference between inside and outside. */
  get areMapped(): boolean {
    return this.#maps !== undefined;
  }

  /** Undefined for one that the container does not have. */
  uidOutside(uid: number): number | undefined {
    return this.#maps === undefined ? uid : outsideOf(uid, this.#maps.uids);
  }

  gidOutside(gid: number): number | undefined {
    return this.#maps === undefined ? gid : outsideOf(gid, this.#maps.gids);
  }

  /** "nobody" for one that means nothing to the container. */
  uidInside(uid: number): number {
    return this.#maps === undefined ? uid : (insideOf(uid, this.#maps.uids) ?? NOBODY);
  }

  gidInside(gid: number): number {
    return this.#maps === undefined ? gid : (insideOf(gid, this.#maps.gids) ?? NOBODY);
  }

  /** The value of `security.capability` for a file outside of which this is the value inside, in the form that names the owner of root. */
  capabilityOutside(value: Buffer): Buffer {
    const root = this.uidOutside(0);
    if (!this.areMapped || root === undefined || value.length < PLAIN_LENGTH) return value;
    const mapped = Buffer.alloc(OWNED_LENGTH);
    value.copy(mapped, 0, 0, PLAIN_LENGTH);
    mapped[3] = OWNED_REVISION;
    mapped.writeUInt32LE(root, PLAIN_LENGTH);
    return mapped;
  }

  /** The other way round. */
  capabilityInside(value: Buffer): Buffer {
    if (!this.areMapped || value.length !== OWNED_LENGTH) return value;
    if (value.readUInt32LE(PLAIN_LENGTH) !== this.uidOutside(0)) return value;
    const plain = Buffer.from(value.subarray(0, PLAIN_LENGTH));
    plain[3] = PLAIN_REVISION;
    return plain;
  }
}

/** Of capabilities.h, in bytes: of a set for all, and of one of a user namespace. */
const PLAIN_LENGTH = 20;
const PLAIN_REVISION = 2;
const OWNED_LENGTH = 24;
const OWNED_REVISION = 3;

/** Who an id is outside of the namespace; undefined: nobody. */
export function outsideOf(id: number, ranges: readonly IdRange[]): number | undefined {
  const range = ranges.find(({ inside, length }) => id >= inside && id < inside + length);
  return range && range.outside + id - range.inside;
}

function insideOf(id: number, ranges: readonly IdRange[]): number | undefined {
  const range = ranges.find(({ outside, length }) => id >= outside && id < outside + length);
  return range && range.inside + id - range.outside;
}

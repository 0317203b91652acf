import { readFileSync, statSync } from "node:fs";
import { Failure } from "../failure/failure.js";
import type { IdMaps } from "../files/file-owners.js";
import { isAtLeast, type KernelVersion } from "./spec/host-facts.js";
import { invalidOption } from "./spec/invalid-option.js";

/** As many as a container has: every id that images usually know. */
export const RANGE = 65_536;

/**
 * Where the ranges are taken from: above what directory services give to people (SSSD up to 2,000,200,000), below what systemd keeps for
 * files of others (0x7FFE0000), all of it numbers that a signed integer holds.
 */
const POOL: Span = { first: 0x7800_0000, length: 0x7ffe_0000 - 0x7800_0000 };

/** Where users' own ranges are kept, as `useradd` and administrators write them. */
const FOREIGN_FILES = ["/etc/subuid", "/etc/subgid"];

/** Ids in a row. */
export interface Span {
  first: number;
  length: number;
}

/**
 * Ranges of ids for containers with a user namespace of their own: none has an id of another, of a user of the host, or of what users of
 * the host may take for their containers. Which are taken is known from the containers' records alone: the lowest free one is the next.
 */
export class IdRanges {
  readonly #pool: Span;
  readonly #files: readonly string[];
  /** How many have each of them: uids and gids count by themselves. */
  readonly #taken = new Map<string, Span & { count: number }>();
  #foreign: { changed: string; spans: Span[] } | undefined;

  constructor({ pool = POOL, files = FOREIGN_FILES }: { pool?: Span; files?: readonly string[] } = {}) {
    this.#pool = pool;
    this.#files = files;
  }

  /** Takes note of what a container has that is there already, whoever has chosen it. */
  keep({ uids, gids }: IdMaps): void {
    for (const { outside, length } of [...uids, ...gids]) this.#change(outside, length, 1);
  }

  /** As many as it was kept or taken: those of a container that is gone. */
  release({ uids, gids }: IdMaps): void {
    for (const { outside, length } of [...uids, ...gids]) this.#change(outside, length, -1);
  }

  /** @throws Failure (resource-exhausted) when each range of the pool is taken */
  take(): IdMaps {
    const { first: begin, length: all } = this.#pool;
    let first = begin;
    const used = [...this.#taken.values(), ...this.#foreignSpans()].sort((a, b) => a.first - b.first);
    for (const span of used) {
      if (span.first >= first + RANGE) break;
      const end = span.first + span.length;
      // The next that begins as those of the pool do.
      if (end > first) first = begin + Math.ceil((end - begin) / RANGE) * RANGE;
    }
    if (first + RANGE > begin + all) {
      const why =
        `no range of ${RANGE} ids is free for userns "auto": ${this.#taken.size} are taken by containers, and others belong to users ` +
        `(${this.#files.join(", ")}); remove containers, or choose userns "map" or "host"`;
      throw new Failure("resource-exhausted", "refused", { why });
    }
    const maps = () => [{ inside: 0, outside: first, length: RANGE }];
    const taken = { uids: maps(), gids: maps() };
    this.keep(taken);
    return taken;
  }

  #change(first: number, length: number, by: number): void {
    const key = `${first}:${length}`;
    const count = (this.#taken.get(key)?.count ?? 0) + by;
    if (count > 0) this.#taken.set(key, { first, length, count });
    else this.#taken.delete(key);
  }

  #foreignSpans(): Span[] {
    const changed = this.#files.map(changeOf).join();
    if (this.#foreign?.changed !== changed)
      this.#foreign = { changed, spans: this.#files.flatMap((path) => parseSubIds(textOf(path))) };
    return this.#foreign.spans;
  }
}

/** So that a file is read again only when it may be another. */
function changeOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.ino}:${stat.size}:${stat.mtimeNs}`;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** `USER:FIRST:LENGTH` (subuid(5)); other lines mean nothing to anybody. */
function parseSubIds(text: string): Span[] {
  return text.split("\n").flatMap((line) => {
    const [, first, length] = /^[^:#]+:(\d{1,10}):(\d{1,10})\s*$/.exec(line) ?? [];
    return first === undefined ? [] : [{ first: Number(first), length: Number(length) }];
  });
}

/** The first whose layers can have their files belong to the ids of a user namespace (idmapped mounts below overlayfs). */
const FIRST_KERNEL: KernelVersion = [5, 19];

/** @throws Failure (invalid-argument) where a container of an image can't have a user namespace of its own */
export function checkIdMappedLayers(mode: string, kernel: KernelVersion): void {
  if (mode === "host" || isAtLeast(kernel, FIRST_KERNEL)) return;
  const why = `it needs Linux ${FIRST_KERNEL.join(".")} for an image's files, and this is ${kernel.join(".")}: choose userns "host"`;
  throw invalidOption("userns", mode, why);
}

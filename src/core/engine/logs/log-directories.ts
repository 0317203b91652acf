import { type Dirent, mkdirSync, readdirSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { LOG_SUFFIX, POSITION_DIGITS } from "../../../contract/shim/log-format.js";
import { hasCode } from "../../../system/linux/libc.js";

interface Place {
  namespace: string;
  id: string;
}

const NAME = new RegExp(`^\\d{${POSITION_DIGITS}}\\${LOG_SUFFIX}$`);

/** Where the files of containers' logs are: a directory for each container below one for its namespace. */
export class LogDirectories {
  readonly #path: string;

  /** @param path it is made when the first container has a log */
  constructor(path: string) {
    this.#path = path;
  }

  of({ namespace, id }: Place): string {
    return join(this.#path, namespace, id);
  }

  /**
   * Makes a container's, if it is not there.
   * @returns where the newest of its files begins; 0 when there is none
   * @throws a system error
   */
  make(place: Place): number {
    const path = this.of(place);
    try {
      mkdirSync(path, { mode: 0o700 });
      return 0;
    } catch (error) {
      if (hasCode(error, "EEXIST")) return positionsIn(readdirSync(path)).at(-1) ?? 0;
      if (!hasCode(error, "ENOENT")) return withoutRoom(error);
    }
    try {
      mkdirSync(path, { mode: 0o700, recursive: true });
    } catch (error) {
      return withoutRoom(error);
    }
    return 0;
  }

  /** @throws a system error */
  async remove(place: Place): Promise<void> {
    await rm(this.of(place), { recursive: true, force: true });
  }

  /** Whose there are. @throws a system error */
  async all(): Promise<Place[]> {
    const namespaces = await directoriesIn(this.#path);
    const places = namespaces.map(async (namespace) =>
      (await directoriesIn(join(this.#path, namespace))).map((id) => ({ namespace, id })),
    );
    return (await Promise.all(places)).flat();
  }
}

/** A full disk keeps no container from its start: the shim tries again, and drops what there is no room for. */
function withoutRoom(error: unknown): 0 {
  if (hasCode(error, "ENOSPC") || hasCode(error, "EDQUOT")) return 0;
  throw error;
}

/** Where files begin that are called so, in order; other names are left out. */
export function positionsIn(names: readonly string[]): number[] {
  return names
    .filter((name) => NAME.test(name))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b);
}

/** The name of the file that begins there. */
export function fileAt(position: number): string {
  return `${String(position).padStart(POSITION_DIGITS, "0")}${LOG_SUFFIX}`;
}

async function directoriesIn(path: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

import { type Dirent, existsSync, mkdirSync, readdirSync } from "node:fs";
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
  /** Those of namespaces, which stay. */
  readonly #made = new Set<string>();

  /** @param path it is made when the first container has a log */
  constructor(path: string) {
    this.#path = path;
  }

  of({ namespace, id }: Place): string {
    return join(this.#path, namespace, id);
  }

  /**
   * Has room for a container's, which its shim makes with the first line.
   * @returns where the newest of its files begins; 0 when there is none
   * @throws a system error
   */
  prepare(place: Place): number {
    const parent = join(this.#path, place.namespace);
    try {
      if (!this.#made.has(parent)) mkdirSync(parent, { mode: 0o700, recursive: true });
      this.#made.add(parent);
      return positionsIn(readdirSync(this.of(place))).at(-1) ?? 0;
    } catch (error) {
      // A full disk keeps no container from its start: the shim tries again, and drops what there is no room for.
      if (["ENOENT", "ENOSPC", "EDQUOT"].some((code) => hasCode(error, code))) return 0;
      throw error;
    }
  }

  /** Makes a container's, if it is not there. @throws a system error */
  make(place: Place): void {
    mkdirSync(this.of(place), { mode: 0o700, recursive: true });
  }

  /** @throws a system error */
  async remove(place: Place): Promise<void> {
    if (existsSync(this.of(place))) await rm(this.of(place), { recursive: true, force: true });
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

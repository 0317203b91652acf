import { readFile, rename, writeFile } from "node:fs/promises";
import { formatTimestamp, parseTimestamp, type Timestamp } from "../../timestamp.js";

/**
 * The file that remembers, over the end of this process, up to where the events have been seen: one RFC 3339 time, as dockerd's `event.ts`.
 */
export class LastEvent {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Undefined when there is none, or none that can be read. @throws a system error */
  async read(): Promise<Timestamp | undefined> {
    try {
      return parseTimestamp((await readFile(this.#path, "utf8")).trim());
    } catch (error) {
      if (error instanceof RangeError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Replaces it at once: a kill leaves the old or the new one. @throws a system error */
  async write(timestamp: Timestamp): Promise<void> {
    const temporary = `${this.#path}.tmp`;
    await writeFile(temporary, formatTimestamp(timestamp), { mode: 0o600 });
    await rename(temporary, this.#path);
  }
}

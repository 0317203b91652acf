import { closeSync, openSync, readSync } from "node:fs";
import { hasCode } from "../linux/libc.js";
import { watchNotifiedFile } from "../linux/notified-file.js";
import type { OomWatch, OomWatchOptions } from "./cgroup.js";
import { parseFlatKeyed } from "./control-file.js";

/**
 * Watches `oom_kill` of memory.events, which counts the kills in the cgroups below too. The kernel announces every change of the
 * file, most of them something else.
 *
 * By poll and not by inotify: a user may have 128 inotify instances only (fs.inotify.max_user_instances), and an open file belongs
 * to this cgroup for good, whatever gets its name later.
 *
 * Throws ENOENT when the memory controller is not on for this cgroup.
 */
export function watchOomV2(directory: string, options: OomWatchOptions = {}): OomWatch {
  return new CounterWatch(`${directory}/memory.events`, "oom_kill", options);
}

/** A watch for the growth of one number in a file of names and numbers that notifies. */
export class CounterWatch implements OomWatch {
  readonly fd: number;
  readonly #file: number;
  readonly #name: string;
  #seen: bigint;

  constructor(path: string, name: string, { ignorePast = false, past = 0n }: OomWatchOptions) {
    this.#name = name;
    this.#file = openSync(path, "r");
    try {
      // Before the first reading, which is what the kernel counts changes from.
      this.fd = watchNotifiedFile(this.#file);
      this.#seen = ignorePast ? (this.#count() ?? 0n) : past;
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  get told(): bigint {
    return this.#seen;
  }

  read(): "oom" | "removed" | "nothing" {
    const count = this.#count();
    if (count === undefined) return "removed";
    const grown = count > this.#seen;
    this.#seen = count;
    return grown ? "oom" : "nothing";
  }

  close(): void {
    closeSync(this.fd);
    closeSync(this.#file);
  }

  /** Undefined once the cgroup is gone. */
  #count(): bigint | undefined {
    const text = Buffer.alloc(1024);
    try {
      const length = readSync(this.#file, text, 0, text.length, 0);
      return parseFlatKeyed(text.toString("latin1", 0, length)).get(this.#name) ?? 0n;
    } catch (error) {
      if (hasCode(error, "ENODEV")) return undefined;
      throw error;
    }
  }
}

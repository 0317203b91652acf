import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { drainEventFd, makeEventFd, signalEventFd } from "../linux/eventfd.js";
import { hasCode } from "../linux/libc.js";
import type { OomWatch, OomWatchOptions } from "./cgroup.js";
import { parseFlatKeyed } from "./control-file.js";

/**
 * Has the kernel signal an eventfd for every OOM of a v1 memory cgroup (Documentation/admin-guide/cgroup-v1/memory.rst, section 10).
 * It does so before it kills; also with memory.oom_control's oom_kill_disable, which stops the processes instead; and for an OOM of
 * a cgroup above. It does so once more when the cgroup is removed.
 *
 * Throws ENOENT when the cgroup is gone.
 */
export function watchOomV1(directory: string, options: OomWatchOptions = {}): OomWatch {
  return new EventfdWatch(directory, options);
}

class EventfdWatch implements OomWatch {
  readonly fd: number;
  /** memory.oom_control: an open file belongs to this cgroup for good, whatever gets its name later. */
  readonly #oomControl: number;
  /** Signals since the cgroup was removed: one of them is the removal's own, which may come late. */
  #sinceRemoval = 0n;

  constructor(directory: string, { ignorePast = false }: OomWatchOptions) {
    this.#oomControl = openSync(`${directory}/memory.oom_control`, "r");
    try {
      this.fd = makeEventFd();
    } catch (error) {
      closeSync(this.#oomControl);
      throw error;
    }
    try {
      const eventControl = openSync(`${directory}/cgroup.event_control`, "r+");
      try {
        writeSync(eventControl, `${this.fd} ${this.#oomControl}`);
      } finally {
        closeSync(eventControl);
      }
      // What was over before is in the counter (since 4.13); an OOM under way has been signalled by the registration.
      if (!ignorePast && this.#kills() > 0n) signalEventFd(this.fd);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  read(): "oom" | "removed" | "nothing" {
    const signals = drainEventFd(this.fd);
    if (this.#kills() !== GONE) return signals > 0n ? "oom" : "nothing";
    // The cgroup may be gone before the kernel says so: the first signal is taken for that one, and if another follows, one of the two
    // was an OOM.
    this.#sinceRemoval += signals;
    if (this.#sinceRemoval <= 1n) return "removed";
    this.#sinceRemoval = 1n;
    return "oom";
  }

  close(): void {
    closeSync(this.fd);
    closeSync(this.#oomControl);
  }

  /** How many of the cgroup's processes the OOM killer has killed; {@link GONE} once the cgroup is removed. */
  #kills(): bigint {
    const text = Buffer.alloc(256);
    try {
      const length = readSync(this.#oomControl, text, 0, text.length, 0);
      return parseFlatKeyed(text.toString("latin1", 0, length)).get("oom_kill") ?? 0n;
    } catch (error) {
      if (hasCode(error, "ENODEV")) return GONE;
      throw error;
    }
  }
}

const GONE = -1n;

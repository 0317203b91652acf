import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { drainEventFd, makeEventFd, signalEventFd } from "../linux/eventfd.js";
import { hasCode } from "../linux/libc.js";
import type { OomWatch, OomWatchOptions } from "./cgroup.js";
import { parseFlatKeyed, readControlFile } from "./control-file.js";
import { directoriesBelow } from "./directory.js";

/** In ms: when the counter of kills is looked at after a signal; the kernel signals first, and may need a while to find whom to kill. */
const LOOKS = [5, 25, 100, 400];

/** How many cgroups below are looked at: a container can make as many as it likes. */
const MOST_BELOW = 1000;

/**
 * Has the kernel signal an eventfd for every OOM of a v1 memory cgroup (Documentation/admin-guide/cgroup-v1/memory.rst, section 10).
 * It does so before it kills; once more when a process that is being killed still wants memory; also with memory.oom_control's
 * oom_kill_disable, which stops the processes instead; for an OOM of a cgroup above; and when the cgroup is removed. So the kills are told
 * by the counter in memory.oom_control, and the signals only say when to look. Where nothing is killed or counted (before 4.13), each
 * signal is told.
 *
 * Throws ENOENT when the cgroup is gone.
 */
export function watchOomV1(directory: string, options: OomWatchOptions = {}): OomWatch {
  return new EventfdWatch(directory, options);
}

class EventfdWatch implements OomWatch {
  readonly fd: number;
  readonly #directory: string;
  /** Of the cgroups below, by path: what was last counted in each. */
  readonly #below = new Map<string, bigint>();
  /** Kills in cgroups below that are gone, their names having been used again. */
  #belowBefore = 0n;
  /** memory.oom_control: an open file belongs to this cgroup for good, whatever gets its name later. */
  readonly #oomControl: number;
  /** Kills that have been told. */
  #told = 0n;
  /** After a signal whose kill has not been counted yet: how often the counter has been looked at since, and the next look. */
  #looks = 0;
  #nextLook: NodeJS.Timeout | undefined;
  /** Signals of our own, to be read once more. */
  #own = 0n;
  /** Signals since the cgroup was removed: one of them is the removal's own, which may come late. */
  #sinceRemoval = 0n;

  constructor(directory: string, { ignorePast = false, past: told = 0n }: OomWatchOptions) {
    this.#directory = directory;
    this.#oomControl = openSync(`${directory}/memory.oom_control`, "r");
    try {
      this.fd = makeEventFd();
    } catch (error) {
      closeSync(this.#oomControl);
      throw error;
    }
    try {
      this.#register(directory, this.#oomControl);
      // What was over before is in the counter; an OOM under way has been signalled by the registration.
      const past = this.#kills();
      if (typeof past === "bigint") {
        // Fewer than were told: cgroups below have gone with theirs.
        this.#told = ignorePast || past < told ? past : told;
        if (past > this.#told) this.#signal();
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get told(): bigint {
    return this.#told;
  }

  /** Has the kernel signal each OOM of a cgroup. */
  #register(directory: string, oomControl: number): void {
    const eventControl = openSync(`${directory}/cgroup.event_control`, "r+");
    try {
      writeSync(eventControl, `${this.fd} ${oomControl}`);
    } finally {
      closeSync(eventControl);
    }
  }

  read(): "oom" | "removed" | "nothing" {
    const signals = drainEventFd(this.fd) - this.#own;
    this.#own = 0n;
    const kills = this.#kills();
    if (kills === "gone") return this.#readRemoved(signals);
    if (kills === "uncounted") {
      if (signals === 0n) return "nothing";
      this.#told++;
      return "oom";
    }
    if (kills > this.#told) {
      this.#told = kills;
      this.#stopLooking();
      return "oom";
    }
    if (signals > 0n) this.#stopLooking();
    if (signals > 0n || this.#looks > 0) this.#lookAgain();
    return "nothing";
  }

  /**
   * The kernel's signal for the removal of a cgroup can come late: so the first signal after it was removed counts as that one, and if
   * another follows, one of the two was an OOM.
   */
  #readRemoved(signals: bigint): "oom" | "removed" {
    const unresolved = this.#looks > 0 && this.#told === 0n;
    this.#stopLooking();
    this.#sinceRemoval += signals;
    if (this.#sinceRemoval > 1n) this.#sinceRemoval = 1n;
    else if (!unresolved) return "removed";
    this.#told++;
    return "oom";
  }

  close(): void {
    this.#stopLooking();
    closeSync(this.fd);
    closeSync(this.#oomControl);
  }

  #signal(): void {
    this.#own++;
    signalEventFd(this.fd);
  }

  #lookAgain(): void {
    if (this.#nextLook !== undefined) return;
    const delay = LOOKS[this.#looks++];
    if (delay === undefined) {
      this.#stopLooking();
      return;
    }
    this.#nextLook = setTimeout(() => {
      this.#nextLook = undefined;
      this.#signal();
    }, delay).unref();
  }

  #stopLooking(): void {
    clearTimeout(this.#nextLook);
    this.#nextLook = undefined;
    this.#looks = 0;
  }

  /**
   * v1 counts a kill where the process was, and signals an OOM where the limit is, and below: so each cgroup below is looked at, and
   * listened to.
   */
  #killsBelow(): bigint {
    for (const directory of directoriesBelow(this.#directory, MOST_BELOW)) {
      const text = readControlFile(directory, "memory.oom_control");
      if (text === undefined) continue;
      const kills = parseFlatKeyed(text).get("oom_kill") ?? 0n;
      const before = this.#below.get(directory);
      if (before === undefined) this.#listen(directory);
      else if (kills < before) this.#belowBefore += before;
      this.#below.set(directory, kills);
    }
    let sum = this.#belowBefore;
    for (const kills of this.#below.values()) sum += kills;
    return sum;
  }

  #listen(directory: string): void {
    try {
      const oomControl = openSync(`${directory}/memory.oom_control`, "r");
      try {
        this.#register(directory, oomControl);
      } finally {
        closeSync(oomControl);
      }
    } catch {
      // It is just going.
    }
  }

  /** How many of the cgroup's processes the OOM killer has killed. */
  #kills(): bigint | "uncounted" | "gone" {
    const text = Buffer.alloc(256);
    try {
      const length = readSync(this.#oomControl, text, 0, text.length, 0);
      const control = parseFlatKeyed(text.toString("latin1", 0, length));
      const own = control.get("oom_kill");
      if (own === undefined || control.get("oom_kill_disable") === 1n) return "uncounted";
      return own + this.#killsBelow();
    } catch (error) {
      if (hasCode(error, "ENODEV")) return "gone";
      throw error;
    }
  }
}

import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { errorText } from "../../system/linux/libc.js";
import type { Collection } from "./collection.js";

export interface ScheduleOptions {
  /** In ms: how often there is a collection when nothing else brings one about; 0: never. */
  interval: number;
  /** In percent of the file system: from there on it collects more, and more often; 100: never. */
  highWater: number;
  /** What is collected is below it. */
  root: string;
  log: Logger;
}

/** The directories of what is collected. */
const KEPT = ["content", "snapshots"];

/** In ms: how often it looks at the clock and the disk. */
const LOOK = 60_000;
/** In ms: how often it collects while the disk stays nearly full. */
const PRESSED = 10 * 60_000;

/** Has what nothing needs collected from time to time, and when the disk is nearly full. A daemon that keeps nothing has no timer. */
export class CollectionSchedule {
  readonly #collection: Collection;
  readonly #options: ScheduleOptions;
  #timer: NodeJS.Timeout | undefined;
  #last = performance.now();
  #lastPressed = Number.NEGATIVE_INFINITY;
  #isStopped = false;

  constructor(collection: Collection, options: ScheduleOptions) {
    this.#collection = collection;
    this.#options = options;
  }

  start(): void {
    // What an earlier daemon has kept may have become old meanwhile.
    if (KEPT.some((name) => existsSync(join(this.#options.root, name)))) this.#begin();
    else void this.#collection.used.then(() => this.#begin());
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  #begin(): void {
    const { interval, highWater } = this.#options;
    if (this.#isStopped || (interval === 0 && highWater >= 100)) return;
    this.#timer = setInterval(() => void this.look(), LOOK).unref();
  }

  /** Collects when it is time. */
  async look(): Promise<void> {
    const { interval, log } = this.#options;
    try {
      const time = performance.now();
      if ((await this.#isNearlyFull()) && time - this.#lastPressed >= PRESSED) {
        this.#lastPressed = time;
        this.#last = time;
        await this.#collection.runUnasked({ isPressed: true });
      } else if (interval > 0 && time - this.#last >= interval) {
        this.#last = time;
        await this.#collection.runUnasked();
      }
    } catch (error) {
      log.warn({ error: errorText(error) }, "containerd: look how full the disk is");
    }
  }

  async #isNearlyFull(): Promise<boolean> {
    const { root, highWater } = this.#options;
    if (highWater >= 100) return false;
    const { blocks, bavail, bfree } = await statfs(root);
    // As df counts: what is kept for root is neither used nor free.
    const used = blocks - bfree;
    return used > 0 && used / (used + bavail) >= highWater / 100;
  }
}

import { type FSWatcher, watch } from "node:fs";
import { abortable } from "../../failure/abortable.js";

/** How often is looked, in ms, where the kernel watches no more directories (fs.inotify.max_user_watches). */
const INTERVAL = 500;

/**
 * Tells that something in a directory has changed. All of them are one inotify instance, libuv's; one that nothing happens in costs
 * nothing.
 */
export class DirectoryWatch implements Disposable {
  readonly #watcher: FSWatcher | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #changed = false;
  #wake: (() => void) | undefined;

  constructor(path: string) {
    try {
      this.#watcher = watch(path, { persistent: false }, () => this.tell());
      this.#watcher.on("error", () => this.tell());
    } catch {
      this.#timer = setInterval(() => this.tell(), INTERVAL).unref();
    }
  }

  /** As if something had changed. */
  tell(): void {
    this.#changed = true;
    this.#wake?.();
  }

  /** What has changed until now does not count. */
  reset(): void {
    this.#changed = false;
  }

  /** Resolves at once when something has changed since the last reset. @throws the signal's reason */
  async changed(signal: AbortSignal): Promise<void> {
    if (this.#changed) return;
    await abortable(
      new Promise<void>((resolve) => {
        this.#wake = resolve;
      }),
      signal,
    );
    this.#wake = undefined;
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    clearInterval(this.#timer);
  }
}

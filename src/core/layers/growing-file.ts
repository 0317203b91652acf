/** A file that somebody still writes, from the beginning to the end: whoever writes it tells how far it is, and one may read that far. */
export class GrowingFile {
  #size: number;
  #state: "grows" | "whole" | "failed" = "grows";
  #error: unknown;
  readonly #listeners = new Set<() => void>();

  /** @param size what is there already, in bytes */
  constructor(size = 0) {
    this.#size = size;
  }

  /** Bytes that may be read: they are in the file, and stay what they are. */
  get size(): number {
    return this.#size;
  }

  /** More may come. */
  get grows(): boolean {
    return this.#state === "grows";
  }

  get isWhole(): boolean {
    return this.#state === "whole";
  }

  get hasFailed(): boolean {
    return this.#state === "failed";
  }

  /** What it has failed with. */
  get error(): unknown {
    return this.#error;
  }

  /** @param size of the file by now, in bytes */
  grow(size: number): void {
    if (this.#state !== "grows" || size <= this.#size) return;
    this.#size = size;
    this.#tell();
  }

  /** Nothing more comes. */
  end(): void {
    this.#become("whole");
  }

  /** It will not become whole: `error` is what its readers fail with. */
  fail(error: unknown): void {
    this.#error = error;
    this.#become("failed");
  }

  /** Calls `listener` after each change, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #become(state: "whole" | "failed"): void {
    if (this.#state !== "grows") return;
    this.#state = state;
    this.#tell();
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

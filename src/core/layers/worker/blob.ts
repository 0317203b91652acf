import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

/** In bytes. */
const PIECE = 1 << 17;

/** Reads a blob from its begin to its end, waiting where it has not come yet. */
export class Blob {
  readonly #fd: number;
  #size: number;
  #isWhole: boolean;
  #wake: (() => void) | undefined;
  /** In bytes. */
  read = 0;
  readonly #onWait: (size: number) => void;

  /** @param onWait is told when more than so many bytes are wanted */
  constructor(path: string, onWait: (size: number) => void) {
    this.#fd = openSync(path, constants.O_RDONLY);
    this.#size = 0;
    this.#isWhole = false;
    this.#onWait = onWait;
  }

  /** @param whole the file has all that comes: then its size is what it has */
  grow(size: number, whole: boolean): void {
    this.#size = whole ? fstatSync(this.#fd).size : size;
    this.#isWhole = whole;
    this.#wake?.();
  }

  /** Each piece is written over when the next one is asked for. */
  async *pieces(): AsyncGenerator<Buffer> {
    const buffer = Buffer.allocUnsafe(PIECE);
    for (;;) {
      if (this.read >= this.#size) {
        if (this.#isWhole) return;
        this.#onWait(this.#size);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
        continue;
      }
      const length = readSync(this.#fd, buffer, 0, Math.min(PIECE, this.#size - this.read), this.read);
      if (length === 0) throw new Error("the blob's file is shorter than it was said to be");
      this.read += length;
      yield buffer.subarray(0, length);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

import { getTermios, rawTermios, setTermios, windowSize } from "./termios.js";

/**
 * The user's terminal in raw mode. It is put back by `restore()`, and in any case when the process ends by itself, by an
 * exception or by `process.exit`: signals must be turned into one of these.
 */
export class RawTerminal {
  readonly #fd: number;
  readonly #saved: Buffer;
  readonly #raw: Buffer;
  readonly #restore = () => this.restore();
  readonly #continued = () => setTermios(this.#fd, this.#raw);

  /** @throws Error when the descriptor is no terminal. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#saved = getTermios(fd);
    this.#raw = rawTermios(this.#saved);
    process.on("exit", this.#restore);
    // A shell that stopped us has taken the terminal for itself in the meantime.
    process.on("SIGCONT", this.#continued);
    setTermios(fd, this.#raw);
  }

  restore(): void {
    process.off("exit", this.#restore);
    process.off("SIGCONT", this.#continued);
    try {
      setTermios(this.#fd, this.#saved);
    } catch {
      // Hung up: there is nothing to put back.
    }
  }

  /** In characters. */
  get size(): { columns: number; rows: number } | undefined {
    return windowSize(this.#fd);
  }
}

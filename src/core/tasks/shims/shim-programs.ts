import { realpathSync } from "node:fs";
import { findProgram } from "../../../system/linux/spawn.js";
import type { ShimProgram } from "./shim.js";
import { ShimSpawner } from "./shim-spawner.js";

/** What the daemon starts as a shim: its own, or another one that the administrator or a state.json names. */
export class ShimPrograms {
  readonly #own: string;
  readonly #chosen: string;
  readonly #spawner: ShimSpawner;

  /**
   * @param own where this project's own shim is
   * @param chosen name or path; undefined: our own
   */
  constructor(own: string, chosen: string | undefined) {
    this.#own = own;
    this.#chosen = chosen ?? own;
    this.#spawner = new ShimSpawner(own);
  }

  /** For new tasks. */
  program(): ShimProgram {
    return this.#program(this.#chosen);
  }

  /**
   * What the shim in a state.json stands for; "" is the daemon's. One that is gone (after an upgrade into another directory) is our own.
   */
  programOf(name: string): ShimProgram {
    if (name === "") return this.program();
    if (name === this.#own) return this.#program(name);
    return { ...this.#program(name), substitute: this.#program(this.#own) };
  }

  #program(name: string): ShimProgram {
    const path = findProgram(name);
    const isOwn = path !== undefined && isSameFile(path, this.#own);
    return { name, spawner: isOwn ? this.#spawner : undefined };
  }

  /** Does beforehand what the first start would have to wait for. Never rejects. */
  async prepare(runtime: string): Promise<void> {
    await this.program().spawner?.prepare(runtime);
  }

  /** Shims go on. */
  close(): void {
    this.#spawner.close();
  }
}

function isSameFile(path: string, other: string): boolean {
  try {
    return path === other || realpathSync(path) === realpathSync(other);
  } catch {
    // Just taken away.
    return false;
  }
}

import { abortable } from "../failure/abortable.js";
import type { ResolvedUser } from "./spec/user.js";

/** How many are kept in mind. */
const MAX_KNOWN = 256;

/** Who users are in images, kept in mind: what layers hold never changes. */
export class KnownUsers {
  /** That which was used last at the end. */
  readonly #known = new Map<string, Promise<ResolvedUser>>();

  /**
   * @param key says the namespace, the layers, the user, and the groups
   * @param signal of who waits: others may wait for the same
   * @param look finds out, once for all who ask at the same time; what it throws is not kept
   */
  async get(key: string, signal: AbortSignal, look: () => Promise<ResolvedUser>): Promise<ResolvedUser> {
    const user = this.#known.get(key) ?? look();
    this.#known.delete(key);
    this.#known.set(key, user);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(oldest);
    }
    user.catch(() => {
      if (this.#known.get(key) === user) this.#known.delete(key);
    });
    return await abortable(user, signal);
  }
}

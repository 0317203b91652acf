import type { ResolvedUser } from "./spec/user.js";

/** How many are kept in mind. */
const MAX_KNOWN = 256;

/** Who users are in images, kept in mind: what layers hold never changes. */
export class KnownUsers {
  /** That which was used last at the end. */
  readonly #known = new Map<string, ResolvedUser>();

  /**
   * @param key says the namespace, the layers, the user, and the groups
   * @param look finds out; what it throws is not kept
   */
  async get(key: string, look: () => Promise<ResolvedUser>): Promise<ResolvedUser> {
    const user = this.#known.get(key) ?? (await look());
    this.#known.delete(key);
    this.#known.set(key, user);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(oldest);
    }
    return user;
  }
}

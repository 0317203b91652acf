import { closeSync } from "node:fs";
import { errorText } from "../../system/linux/libc.js";
import { makeUserNamespace } from "../../system/mount/user-namespace.js";
import { Failure } from "../failure/failure.js";
import { type IdMapping, idMappingLabels } from "./id-mapping.js";

/** How many are kept, a descriptor each. */
const KEPT = 64;

interface Namespace {
  made: Promise<number>;
  users: number;
}

/**
 * User namespaces that say whose the files of a mount are. No process is in one, so the next container with the same ids can have the same:
 * making one takes a process, and the ids of a container that has ended are the next one's.
 */
export class UserNamespaces {
  /** By their ids, those that were used last at the end. */
  readonly #namespaces = new Map<string, Namespace>();
  readonly #kept: number;

  constructor(kept = KEPT) {
    this.#kept = kept;
  }

  /**
   * @param work gets a descriptor, which is not its to close, and must not be used later
   * @throws Failure (failed-precondition) when it can't be made; what `work` throws
   */
  async use<T>(mapping: IdMapping, work: (namespace: number) => Promise<T>): Promise<T> {
    const key = JSON.stringify(idMappingLabels(mapping));
    const namespace = this.#namespaces.get(key) ?? { made: make(mapping), users: 0 };
    this.#namespaces.delete(key);
    this.#namespaces.set(key, namespace);
    namespace.users++;
    try {
      let descriptor: number;
      try {
        descriptor = await namespace.made;
      } catch (error) {
        // The next one tries again.
        if (this.#namespaces.get(key) === namespace) this.#namespaces.delete(key);
        throw error;
      }
      return await work(descriptor);
    } finally {
      namespace.users--;
      await this.#trim();
    }
  }

  async #trim(): Promise<void> {
    for (const [key, namespace] of this.#namespaces) {
      if (this.#namespaces.size <= this.#kept) return;
      if (namespace.users > 0) continue;
      this.#namespaces.delete(key);
      closeSync(await namespace.made);
    }
  }
}

async function make({ uids, gids }: IdMapping): Promise<number> {
  try {
    return await makeUserNamespace(uids, gids);
  } catch (error) {
    const why = `a user namespace for the owners of files: ${errorText(error)}`;
    throw new Failure("failed-precondition", "refused", { why }, { cause: error });
  }
}

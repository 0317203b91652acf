import { mkdirSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import { join } from "node:path";
import { namesIn } from "../../system/linux/directory-names.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { mountIdmapped } from "../../system/mount/idmapped.js";
import { unmountAside } from "../../system/mount/kernel-mount.js";
import { Failure } from "../failure/failure.js";
import type { IdMaps } from "../files/file-owners.js";
import type { UserNamespaces } from "../snapshots/user-namespaces.js";

interface User {
  namespace: string;
  /** Of a container. */
  id: string;
}

/**
 * Volumes as containers with ids of their own see them: each is mounted once more, so that whoever is 0 in the container is 0 in the
 * volume, whichever ids of the host the container has. That is there while a runtime makes a container, which has a mount of its own then.
 *
 * What is mounted is the directory above the files: where nothing is mounted there are no files to be taken for a volume's.
 */
export class MappedVolumes {
  readonly #path: string;
  readonly #userNamespaces: UserNamespaces;

  /** @param path it is made with the first one, and holds nothing but places where something is mounted */
  constructor(path: string, userNamespaces: UserNamespaces) {
    this.#path = path;
    this.#userNamespaces = userNamespaces;
  }

  /** Where the directory of a container's volume is mounted. */
  placeOf({ namespace, id }: User, index: number): string {
    return join(this.#path, namespace, id, `${index}`);
  }

  /**
   * Has the directories of a container's volumes mounted.
   * @throws Failure (failed-precondition); nothing is mounted then
   */
  async mount(user: User, directories: readonly string[], idMaps: IdMaps): Promise<void> {
    await this.unmount(user);
    const mapping = { uids: [...idMaps.uids], gids: [...idMaps.gids] };
    try {
      await this.#userNamespaces.use(mapping, async (userNamespace) => {
        for (const [index, directory] of directories.entries()) {
          const place = this.placeOf(user, index);
          mkdirSync(place, { recursive: true, mode: 0o700 });
          mountIdmapped(directory, place, userNamespace, false);
        }
      });
    } catch (error) {
      await this.unmount(user).catch(() => {});
      if (error instanceof Failure) throw error;
      const why =
        "a volume of a container with ids of its own (userns) needs a file system below --root that can map them (Linux 5.12, " +
        `of tmpfs 6.3): ${errorText(error)}`;
      throw new Failure("failed-precondition", "refused", { why }, { cause: error });
    }
  }

  /** Takes away what is mounted for a container: what it has goes on. @throws a system error */
  async unmount({ namespace, id }: User): Promise<void> {
    const directory = join(this.#path, namespace, id);
    for (const name of await namesIn(directory)) await takeAway(join(directory, name));
    await removeEmpty(directory);
  }

  /** As {@link unmount}, what an earlier daemon has left. @throws a system error */
  async clear(): Promise<void> {
    for (const namespace of await namesIn(this.#path)) {
      for (const id of await namesIn(join(this.#path, namespace))) await this.unmount({ namespace, id });
      await removeEmpty(join(this.#path, namespace));
    }
  }
}

async function takeAway(place: string): Promise<void> {
  for (;;)
    try {
      await unmountAside(place);
    } catch (error) {
      // Nothing is mounted there any more.
      if (!hasCode(error, "EINVAL")) throw error;
      break;
    }
  await removeEmpty(place);
}

async function removeEmpty(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

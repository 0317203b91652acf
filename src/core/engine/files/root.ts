import type { IdMaps } from "../../files/file-owners.js";

/** The root file system of a container, as the host sees it. */
export interface Root {
  /** What operations on it have in common: one that a file system in it holds up holds up no others. */
  readonly key: string;
  /** Whom its files belong to, where the container has a user namespace. */
  readonly idMaps: IdMaps | undefined;
  /** Whom it runs as, in its own numbers. */
  readonly user: { uid: number; gid: number };
  /**
   * A descriptor of its root directory, which is whoever's calls.
   * @param forWriting whether something is to be changed
   * @throws Failure
   */
  open(forWriting: boolean): Promise<number>;
}

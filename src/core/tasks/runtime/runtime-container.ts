import { existsSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { onForeignFiles } from "../../files/foreign-files.js";
import { INIT } from "../process.js";
import type { TaskCgroup } from "../task-cgroup.js";
import type { OciRuntime, RuntimeState } from "./oci-runtime.js";

/** In ms: how long a runtime may take to remove a container. */
const DELETE_TIMEOUT = 30_000;

/** The container that a task is for its runtime, and the cgroup that the runtime has made for it: how both are got rid of. */
export class RuntimeContainer {
  readonly #runtime: OciRuntime;
  readonly #cgroup: TaskCgroup;
  readonly #id: string;
  readonly #bundle: string;
  readonly #directory: string;
  /** The runtime may still hold it: it could not be asked, or could not let go. */
  isHeld = false;

  /**
   * @param bundle "" when nobody knows it
   * @param directory the task's
   */
  constructor(runtime: OciRuntime, cgroup: TaskCgroup, id: string, bundle: string, directory: string) {
    this.#runtime = runtime;
    this.#cgroup = cgroup;
    this.#id = id;
    this.#bundle = bundle;
    this.#directory = directory;
  }

  /**
   * Ends what there is of it, in its cgroup and in the runtime, unless that is somebody else's container; {@link isHeld} tells whether that
   * did not succeed. Logs are the caller's: never throws.
   */
  async delete(): Promise<void> {
    const signal = AbortSignal.timeout(DELETE_TIMEOUT);
    const state = await this.#runtime.state(this.#id, { signal });
    // Of a container whose files are all lost the runtime is unknown: only its shim can delete it.
    if (this.#bundle === "" || (state?.bundle !== undefined && !(await this.isOurs(state)))) {
      this.isHeld = false;
      return;
    }
    const ended = await this.endProcesses();
    try {
      await this.#runtime.forceDelete(this.#id, { signal });
      this.isHeld = false;
    } catch {
      // If it failed halfway the runtime may not know the container any more: then the next attempt succeeds.
      this.isHeld = true;
    }
    this.isHeld ||= !(await this.#cgroup.remove()) || !ended;
  }

  /** As {@link delete}, for a container whose shim has most likely done so. */
  async deleteRest(): Promise<void> {
    const isGone = await this.#runtime.knowsNone(this.#id, { signal: AbortSignal.timeout(DELETE_TIMEOUT) });
    // Who was killed while it removed the runtime's directory may have left that, empty: the id is taken then.
    const directory = this.#runtime.directory(this.#id);
    const isDirectoryLeft = directory !== undefined && existsSync(directory);
    if (!isGone || isDirectoryLeft || this.#cgroup.isLeft()) await this.delete();
  }

  /** Whether what the runtime knows under this id is this container, and not somebody else's. */
  async isOurs(state: RuntimeState | undefined): Promise<boolean> {
    if (state?.bundle === undefined || this.#bundle === "") return false;
    const [theirs, ...ours] = await Promise.all(
      [state.bundle, this.#bundle, join(this.#directory, INIT)].map(resolveLinks),
    );
    return ours.includes(theirs!);
  }

  /** Kills what is left in its cgroup, if that is its alone; false when something does not end. Never throws. */
  async endProcesses(): Promise<boolean> {
    try {
      return await this.#cgroup.endProcesses();
    } catch {
      return false;
    }
  }
}

async function resolveLinks(path: string): Promise<string> {
  try {
    return await onForeignFiles(path, () => realpath(path));
  } catch {
    return resolve(path);
  }
}

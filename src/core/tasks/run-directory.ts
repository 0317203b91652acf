import { existsSync, mkdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { makeTrustedDirectory } from "../../system/linux/closed-directory.js";
import { LOCK_TIMEOUT, lockDirectory } from "../../system/linux/flock.js";
import { errorText } from "../../system/linux/libc.js";
import { EventLog } from "../events/event-log.js";
import { Failure } from "../failure/failure.js";
import { checkIdentifier } from "../metadata/identifier.js";
import type { TaskName } from "./history.js";
import { directoryOfContainerd1 } from "./state-directory/containerd1.js";
import { namespacedEventLines } from "./state-directory/namespaced-event-line.js";
import type { TaskEvent } from "./task-event.js";

/** May be gone through, not looked into: a container's root, who is somebody else on the host, gets to its root file system that way. */
const PASSABLE = 0o711;

/**
 * Where the tasks of namespaces are, with the log of what happens to them. It is made when it is needed for the first time, and is this
 * daemon's from then on.
 */
export class RunDirectory {
  /** Once it is open, as the kernel shows it: shims work elsewhere than this process, and are looked for by it. */
  path: string;
  readonly #retainCount: number;
  readonly #log: Logger;
  readonly #restore: () => Promise<void>;
  #eventLog: EventLog<TaskEvent> | undefined;
  #opening: Promise<void> | undefined;
  #isOpen = false;
  #patience = LOCK_TIMEOUT;

  /** @param restore takes over the tasks that are there */
  constructor(path: string, retainCount: number, log: Logger, restore: () => Promise<void>) {
    this.path = path;
    this.#retainCount = retainCount;
    this.#log = log;
    this.#restore = restore;
  }

  /** Where the directories of namespaces are, with those of their tasks. */
  get tasks(): string {
    return join(this.path, "tasks");
  }

  taskDirectory({ namespace, id }: TaskName): string {
    return join(this.tasks, namespace, id);
  }

  /** What a runtime keeps of the tasks of a namespace. */
  runtimeRoot(namespace: string): string {
    return join(this.path, "runc", namespace);
  }

  /** Throws when it is not open. */
  get eventLog(): EventLog<TaskEvent> {
    if (this.#eventLog === undefined) throw new Error("the run directory is not open");
    return this.#eventLog;
  }

  /** Takes over what an earlier daemon has left there, if there is anything. Never rejects: those who need it are told. */
  async takeOver(): Promise<void> {
    await this.open().catch((error: unknown) => {
      this.#log.warn(
        { runDir: this.path, error: errorText(error) },
        "containerd: the tasks of namespaces are not available",
      );
    });
  }

  /**
   * To be awaited before anything is said of, or done with, the tasks of namespaces: makes it this daemon's, unless it is not there.
   * @throws Failure (failed-precondition) when another daemon has it, or somebody else than root could have put something there
   */
  async open(): Promise<void> {
    if (!this.#isOpen && existsSync(this.path)) await this.#open();
  }

  /** As {@link open}, and makes it; with the directory of a namespace. */
  async make(namespace: string): Promise<void> {
    checkIdentifier(namespace);
    if (!this.#isOpen) await this.#open();
    mkdirSync(join(this.tasks, namespace), { recursive: true, mode: PASSABLE });
  }

  async #open(): Promise<void> {
    this.#opening ??= this.#take().finally(() => {
      this.#opening = undefined;
    });
    await this.#opening;
  }

  async #take(): Promise<void> {
    if (this.#eventLog === undefined) await this.#lock();
    await this.#restore();
    this.#isOpen = true;
  }

  async #lock(): Promise<void> {
    try {
      await makeTrustedDirectory(this.path, PASSABLE);
    } catch (error) {
      throw this.#refusal(`can't be used (${errorText(error)})`, error);
    }
    const theirs = directoryOfContainerd1(this.path);
    if (theirs !== undefined) throw this.#refusal(`is containerd 1.x's (it has ${theirs})`);
    const patience = this.#patience;
    // Who asks later need not wait for a daemon that has just been killed.
    this.#patience = 0;
    if ((await lockDirectory(this.path, patience)) === undefined) throw this.#refusal("is in use by another daemon");
    this.path = realpathSync(this.path);
    mkdirSync(this.tasks, { recursive: true, mode: PASSABLE });
    this.#eventLog = new EventLog(join(this.path, "events.log"), namespacedEventLines, this.#retainCount);
  }

  #refusal(why: string, cause?: unknown): Failure {
    return new Failure("failed-precondition", "run-directory-taken", { directory: this.path, why }, { cause });
  }

  close(): void {
    this.#eventLog?.close();
  }
}

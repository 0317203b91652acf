import type { Owner } from "../tasks/owner.js";
import type { IdMap, RestartPolicy } from "./container-config.js";
import type { Health } from "./health/health.js";
import type { ResolvedCheck } from "./health/health-check.js";
import type { ContainerExit } from "./kept-container.js";
import { noRestarts, type Restarts } from "./restarts.js";

/** A container of the engine as it is kept in memory: what is asked for often. All else is in its record. */
export class EngineContainer {
  readonly namespace: string;
  readonly id: string;
  /** "" is none. */
  name = "";
  labels: Readonly<Record<string, string>> = {};
  /** The image's full name; "" of a root file system. */
  image = "";
  /** Of the request that has made it. */
  request = "";
  owner: Owner | undefined;
  autoRemove = false;
  /** Whether it has a snapshot of its own. */
  hasLayer = false;
  /** Whether it may have a log. */
  hasLog = false;
  /** Whether its last start was its creation: the next daemon removes it then, if it has no task. */
  isOfRun = false;
  /** The range of ids that it was given. */
  idMaps: { uids: IdMap[]; gids: IdMap[] } | undefined;
  /** Settled when it is known whether its creation has succeeded. */
  made: Promise<void> = Promise.resolve();
  /** Its creation is over, and has succeeded. */
  isMade = false;
  /** That it is there was told. */
  isTold = false;
  /** It is on its way out. */
  isRemoving = false;
  /** It was removed. */
  isGone = false;
  /** Of its last run; undefined before the first, and while it runs. */
  exit: ContainerExit | undefined;
  /** How many read its layer now, and have it paused until they are done. */
  holders = 0;
  /** In ms since the machine has booted: when its time to live is over; undefined: never. */
  expiresAt: number | undefined;
  /** Its time to live is over. */
  isExpired = false;
  /** Ends the wait for that. */
  stopClock: () => void = () => {};
  /** What starts it again when it has ended; undefined: nothing does. */
  policy: RestartPolicy | undefined;
  restarts: Restarts = noRestarts();
  /** How its health is checked; undefined: it is not. */
  check: ResolvedCheck | undefined;
  /** Of its last run. */
  health: Health | undefined;
  /** The last signal, other than those that stop it, that somebody has sent to its own process in this run. */
  lastSignal = 0;
  /** Ends the wait for its next start by its policy, and the attempt that is under way. */
  stopRestart: () => void = () => {};
  /** Ends a health check that is under way, and has none begin until what it resolves with is called. */
  holdChecks: () => Promise<() => void> = async () => () => {};
  readonly #watchers = new Set<() => void>();

  constructor(namespace: string, id: string) {
    this.namespace = namespace;
    this.id = id;
  }

  /** Its run has ended, or it is gone. */
  tell(): void {
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of watchers) watcher();
  }

  /**
   * Calls back, once, when its run has ended or it is gone.
   * @returns what takes that back
   */
  onceTold(then: () => void): () => void {
    this.#watchers.add(then);
    return () => this.#watchers.delete(then);
  }
}

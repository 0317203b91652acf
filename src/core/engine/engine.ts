import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Containers } from "../containers/containers.js";
import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import { logText } from "../failure/log-text.js";
import type { ImageTransfers } from "../images/transfers.js";
import type { Identity } from "../metadata/identity.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Store } from "../metadata/store.js";
import type { Networks } from "../network/networks.js";
import { NamedTurns } from "../scheduling/named-turns.js";
import { Workers } from "../scheduling/workers.js";
import type { Snapshots } from "../snapshots/snapshots.js";
import type { Task } from "../tasks/task.js";
import type { Tasks } from "../tasks/tasks.js";
import { MappedVolumes } from "../volumes/mapped-volumes.js";
import { Volumes } from "../volumes/volumes.js";
import { ContainerIndex } from "./container-index.js";
import { type CniFlags, ContainerNetworks } from "./container-networks.js";
import type { EngineContainer } from "./engine-container.js";
import { EngineEvents } from "./engine-events.js";
import { ContainerFiles } from "./files/container-files.js";
import { GoneContainers } from "./gone-containers.js";
import { IdRanges } from "./id-ranges.js";
import type { ContainerExit } from "./kept-container.js";
import { KnownUsers } from "./known-users.js";
import { LogDirectories } from "./logs/log-directories.js";
import { OpenStdins } from "./open-stdins.js";
import { removeNow } from "./operations/remove.js";
import { restoreContainers } from "./operations/restore.js";
import { startByPolicy } from "./operations/start-by-policy.js";
import { tellTasks } from "./operations/tell-tasks.js";
import { Owners } from "./owners.js";
import { type ImageParts, ResolvedImages } from "./resolved-images.js";
import { expired } from "./time-to-live.js";

/** In ms: how long the end of the daemon waits for what goes on behind answers. */
const CLOSE_TIMEOUT = 5_000;

/** How many health checks begin at the same time. */
const HEALTH_STARTS = 4;

export interface EngineParts extends ImageParts {
  tasks: Tasks;
  containers: Containers;
  snapshots: Snapshots;
  networks: Networks;
  identity: Identity;
  /** The path of containerd-netd. */
  netd: string;
  cni: CniFlags;
  store: Store;
  namespaces: Namespaces;
  /** `--root` */
  root: string;
  /** Whether systemd makes the cgroups of containers. */
  systemdCgroup: boolean;
  log: Logger;
}

/**
 * Containers as people mean them: an image, or a root file system, and wishes become a record, a snapshot and tasks. What is done with one
 * is in operations/, a file each. Only what is asked for often is kept in memory.
 */
export class Engine {
  readonly tasks: Tasks;
  readonly containers: Containers;
  readonly snapshots: Snapshots;
  readonly images: ResolvedImages;
  readonly index = new ContainerIndex();
  readonly owners: Owners;
  readonly files = new ContainerFiles();
  readonly transfers: ImageTransfers;
  readonly idRanges = new IdRanges();
  readonly users = new KnownUsers();
  readonly logs: LogDirectories;
  readonly volumes: Volumes;
  readonly mappedVolumes: MappedVolumes;
  /** How those ended whose time to live was over, for who waits, or asks, after they are gone. */
  readonly expired = new GoneContainers<ContainerExit>();
  readonly networks: ContainerNetworks;
  readonly stdins = new OpenStdins();
  readonly systemdCgroup: boolean;
  readonly log: Logger;
  readonly events: EngineEvents;
  /** For who pauses or resumes a container while its layer is read. */
  readonly holds = new NamedTurns();
  readonly #turns = new NamedTurns();
  /** Of health checks: so many begin at a time. */
  readonly healthStarts = new Workers(HEALTH_STARTS);
  /** Leaves workers to those who wait for an answer. */
  readonly #restarts: Workers;
  /** Is there when there may be containers: without it no store is opened at the daemon's start. */
  readonly #marker: string;
  #isMarked = false;
  #restored: Promise<void> | undefined;
  #tellRestored = () => {};
  readonly #isRestored = new Promise<void>((resolve) => {
    this.#tellRestored = resolve;
  });

  constructor(parts: EngineParts) {
    this.tasks = parts.tasks;
    this.containers = parts.containers;
    this.snapshots = parts.snapshots;
    this.log = parts.log;
    this.transfers = parts.transfers;
    this.systemdCgroup = parts.systemdCgroup;
    this.#restarts = new Workers(Math.max(1, Math.floor(parts.tasks.startWorkers.limit / 2)));
    this.#marker = join(parts.root, "engine");
    this.images = new ResolvedImages(parts, this.#marker);
    const { networks: records, identity, log, netd, cni } = parts;
    const { runDirectory, metrics } = parts.tasks;
    const attachTime = metrics.networkAttach;
    const marker = join(this.#marker, "networks-in-use");
    this.networks = new ContainerNetworks({ records, identity, marker, runDirectory, attachTime, netd, cni, log });
    this.events = new EngineEvents({
      path: join(this.#marker, "events.log"),
      prepare: () => this.mark(),
      log: this.log,
    });
    tellTasks(this, this.#isRestored);
    this.logs = new LogDirectories(join(this.#marker, "logs"));
    records.onChange = (action, { namespace, id, name, labels }) =>
      this.events.tell(namespace, id, { type: "network", action, name, labels });
    this.volumes = new Volumes({
      ...{ store: parts.store, namespaces: parts.namespaces, log: parts.log, path: join(this.#marker, "volumes") },
      onChange: (action, namespace, { name, labels }) =>
        this.events.tell(namespace, name, { type: "volume", action, name, labels }),
    });
    this.mappedVolumes = new MappedVolumes(join(this.#marker, "mapped-volumes"), parts.snapshots.userNamespaces);
    this.owners = new Owners(parts.log, (container) => {
      const { id } = container;
      this.log.info(
        { id, owner: container.owner?.pid },
        "containerd: the program that a container belongs to has gone",
      );
      this.removeUnasked(container);
    });
  }

  /** Takes over what an earlier daemon has left, at its first call. Rejects as the store does, and tries again when it is called again. */
  restore(): Promise<void> {
    this.#restored ??= this.#restoreNow().catch((error) => {
      this.#restored = undefined;
      throw error;
    });
    return this.#restored;
  }

  async #restoreNow(): Promise<void> {
    if (existsSync(this.#marker)) await restoreContainers(this);
    this.#tellRestored();
  }

  /** A directory for what a kernel before 6.5 mounts for a moment; it need not be there. */
  get place(): string {
    return join(this.#marker, "place");
  }

  /** Where checkpoints are that have names: a directory for each namespace, and in it for each container. */
  get checkpoints(): string {
    return join(this.#marker, "checkpoints");
  }

  /** To be called before the first container is written down: daemons to come look for them then. Throws a system error. */
  mark(): void {
    if (this.#isMarked) return;
    mkdirSync(this.#marker, { recursive: true, mode: 0o700 });
    this.#isMarked = true;
  }

  /** By its id, its name, or the beginning of its id; one that is being made is waited for. @throws Failure: not-found, invalid-argument */
  async find(namespace: string, text: string, signal: AbortSignal): Promise<EngineContainer> {
    if (this.endOfExpired(namespace, text) !== undefined) throw expired(text);
    const container = this.index.find(namespace, text);
    await abortable(
      container.made.catch(() => {}),
      signal,
    );
    if (!container.isMade) throw new Failure("not-found", "container-not-found", { id: text });
    await this.tasks.restored(container, { signal });
    return container;
  }

  /** How one has ended that is gone, as its time to live was over. */
  endOfExpired(namespace: string, id: string): ContainerExit | undefined {
    return this.index.get(namespace, id) === undefined ? this.expired.get(namespace, id) : undefined;
  }

  /** What changes a container is done one after the other. */
  inTurn<T>({ namespace, id }: EngineContainer, work: () => Promise<T>): Promise<T> {
    return this.#turns.run(`${namespace}/${id}`, work);
  }

  /** The task that a container has now, whatever has become of it. */
  taskOf({ namespace, id }: EngineContainer): Task | undefined {
    try {
      return this.tasks.get({ namespace, id });
    } catch (error) {
      if (error instanceof Failure && error.kind === "not-found") return undefined;
      throw error;
    }
  }

  /** As a container's owner has gone, or it is removed after its exit: nobody waits for that. */
  removeUnasked(container: EngineContainer): void {
    removeNow(this, container, true).catch((error) => {
      if (error instanceof Failure && error.kind === "not-found") return;
      this.log.error({ id: container.id, error: logText(error) }, "containerd: remove a container");
    });
  }

  /** Starts a container as its policy has it: not all at once. @throws what {@link startByPolicy} does; the signal's reason */
  startAgain(container: EngineContainer, signal: AbortSignal): Promise<void> {
    return this.#restarts.run(signal, () => this.inTurn(container, () => startByPolicy(this, container, signal)));
  }

  /** Whether policies are to start containers that do not run. */
  get startsMore(): boolean {
    return [...this.index.all()].some(({ restarts }) => restarts.at !== undefined);
  }

  /**
   * Nothing of an image is mounted any more but what containers use. What removals have left to do behind their answers is waited for, for
   * a while: otherwise it would stay mounted until the next daemon comes.
   */
  async close(): Promise<void> {
    const behind = (async () => {
      await this.tasks.removals.allReady();
      await this.snapshots.settled();
      await this.networks.close();
    })();
    await abortable(behind, AbortSignal.timeout(CLOSE_TIMEOUT)).catch(() => {});
    await this.images.close();
    this.events.close();
  }
}

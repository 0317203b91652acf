import { EngineService } from "../../proto/containerdts/engine/v1/engine.js";
import { NetworksService } from "../../proto/containerdts/engine/v1/networks.js";
import { VolumesService } from "../../proto/containerdts/engine/v1/volumes.js";
import { withTimeout } from "../abortable.js";
import type { CallOptions } from "./call-options.js";
import { type Connection, timeoutError } from "./connection.js";
import { whileLost } from "./lost-daemon.js";
import { Services, type V1Service } from "./services.js";

/** Milliseconds at most for what a call that has failed does before it tells so. */
const CLEANING_TIME = 10_000;

/** The engine's calls in one namespace, and what becomes of them while the daemon is away. */
export class EngineApi {
  readonly namespace: string;
  /** The RPCs one by one. */
  readonly calls: V1Service<typeof EngineService>;
  readonly networks: V1Service<typeof NetworksService>;
  readonly volumes: V1Service<typeof VolumesService>;
  readonly patience: number | undefined;
  readonly #connection: Connection;

  constructor(connection: Connection, namespace: string, patience: number | undefined) {
    this.#connection = connection;
    this.namespace = namespace;
    this.patience = patience;
    const services = new Services(connection, namespace);
    this.calls = services.of(EngineService);
    this.networks = services.of(NetworksService);
    this.volumes = services.of(VolumesService);
  }

  /** Whether the daemon can tell which program calls it: only then can a container belong to this one. */
  get knowsCaller(): boolean {
    return this.#connection.address.kind === "unix";
  }

  /** The host of the daemon's address; undefined: it is this machine. */
  get daemonHost(): string | undefined {
    const { address } = this.#connection;
    return address.kind === "unix" ? undefined : address.host;
  }

  in(namespace: string): EngineApi {
    return new EngineApi(this.#connection, namespace, this.patience);
  }

  /**
   * Makes a call, and makes it again for as long as a daemon that was there is away: only for calls that may arrive twice.
   *
   * @param patience milliseconds; default: the client's
   * @throws ContainerdError DEADLINE_EXCEEDED after `timeout`, unreachable when there never was a daemon or it stays away
   */
  again<T>(
    call: (signal: AbortSignal | undefined) => Promise<T>,
    { signal, timeout }: CallOptions = {},
    patience = this.patience,
  ): Promise<T> {
    return withTimeout(
      async (signal) => {
        if (!this.#connection.reached) await this.#connection.ready(signal);
        return await whileLost(() => call(signal), patience, signal);
      },
      { signal, timeout },
      () => timeoutError(timeout),
    );
  }

  /** Does what a failed call leaves to do, for as long as the client is patient, and 10 s at most: a daemon may be away, or stand still. */
  cleaningUp(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const timeout = Math.min(this.patience ?? CLEANING_TIME, CLEANING_TIME);
    return withTimeout(
      (signal) => work(signal!),
      { timeout },
      () => timeoutError(timeout),
    );
  }
}

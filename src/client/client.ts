import { parseAddress } from "../contract/address.js";
import type { CallOptions } from "./api/call-options.js";
import { Connection, type ConnectionOptions, closedError, connectionChecks } from "./api/connection.js";
import { EngineApi } from "./api/engine.js";
import { V1 } from "./api/v1.js";
import { Containers } from "./containers/containers.js";
import { type RunBufferOptions, type RunOptions, type RunResult, runContainer } from "./containers/run.js";
import { type EngineEvent, type EngineEventsOptions, followEvents } from "./events/events.js";
import { Images } from "./images/images.js";
import { Networks } from "./networks/networks.js";
import { Publish } from "./networks/publish.js";
import { duration } from "./options/duration.js";
import { anyText, type Checks, checkOptions, nameText } from "./options/option-checks.js";
import { Sandboxes } from "./sandboxes/sandboxes.js";
import { V0 } from "./v0/v0.js";
import { Volumes } from "./volumes/volumes.js";

export interface ClientOptions extends ConnectionOptions {
  /**
   * Milliseconds that waits, events and the closing of a stdin outlast a daemon that is away (being restarted, say)
   * before they fail. Default: for ever.
   */
  patience?: number | undefined;
  /**
   * The namespace in which images and containers are. Default: that of the environment variable CONTAINERD_NAMESPACE, else
   * "default".
   */
  namespace?: string | undefined;
}

/** As clients of containerd 1.x have it. */
const DEFAULT_NAMESPACE = "default";

export const clientChecks: Checks<ClientOptions> = { ...connectionChecks, patience: duration, namespace: nameText };

/** A daemon, reached over one connection that is made when it is first needed. Make one with {@link connect}. */
export class Client implements AsyncDisposable {
  /** As given, in full: `unix:///run/containerd/containerd.sock`. */
  readonly address: string;
  /** The containers of the client's namespace that were made of images or root file systems. */
  readonly containers: Containers;
  /** Containers for code that nobody trusts, with a time to live, also kept ready in a pool. */
  readonly sandboxes: Sandboxes;
  /** The networks of the client's namespace. */
  readonly networks: Networks;
  /** The directories of the client's namespace that outlive containers. */
  readonly volumes: Volumes;
  /** Published ports of its containers. */
  readonly publish: Publish;
  /** The images of the client's namespace. */
  readonly images: Images;
  /** Containers of bundles, as containerd 0.2 has them. */
  readonly v0: V0;
  /** containerd 1.x's services one by one, in the client's namespace. */
  readonly v1: V1;
  readonly #connection: Connection;
  readonly #engine: EngineApi;

  constructor(address: string, options: ClientOptions = {}) {
    anyText(address, "address");
    checkOptions(options, clientChecks);
    this.#connection = new Connection(parseAddress(address), options);
    this.address = this.#connection.address.text;
    this.v0 = new V0(this.#connection, options.patience);
    const namespace = options.namespace ?? (process.env.CONTAINERD_NAMESPACE || DEFAULT_NAMESPACE);
    this.v1 = new V1(this.#connection, namespace);
    this.images = new Images(this.v1);
    this.#engine = new EngineApi(this.#connection, namespace, options.patience);
    const parts = { api: this.#engine, images: this.images };
    this.containers = new Containers(parts);
    this.sandboxes = new Sandboxes(parts);
    this.networks = new Networks(this.#engine);
    this.volumes = new Volumes(this.#engine);
    this.publish = new Publish(this.#engine);
  }

  /** The daemon's version: "0.2.9", and the commit it was built from, where it says so. */
  async version(options?: CallOptions): Promise<{ version: string; revision: string }> {
    const { major, minor, patch, revision } = await this.v0.api.getServerVersion(options);
    return { version: `${major}.${minor}.${patch}`, revision };
  }

  /**
   * Runs a command in a container of its own, of an image or over a root file system, and resolves when it has ended and nothing of it is
   * left: the call for sandboxes and CI runners. A status other than 0 is a result, no error. What is not asked for is not given: no
   * network, nothing that can be written to, no ids of the host.
   *
   * A daemon that is killed and started again meanwhile changes nothing: its containers go on.
   *
   * @throws RunError after `timeout` or too much output, with what was printed; the signal's reason; ContainerdError whose `kind` and
   *   message say why the command can't be run. Nothing of the container is left then either; of a daemon that is away for more than 10 s
   *   then, the next one removes it.
   * @example
   * const { stdout, status, oomKilled } = await client.run({
   *   image: "alpine:3.20",
   *   args: ["wc", "-c"],
   *   input: "hello",
   *   timeout: 5000,
   *   limits: { memory: 64 << 20, cpus: 0.5, pids: 20 },
   * });
   */
  run(options: RunOptions): Promise<RunResult>;
  run(options: RunBufferOptions): Promise<RunResult<Buffer>>;
  run(options: RunOptions | RunBufferOptions): Promise<RunResult | RunResult<Buffer>>;
  run(options: RunOptions | RunBufferOptions): Promise<RunResult | RunResult<Buffer>> {
    return runContainer({ api: this.#engine, images: this.images }, options);
  }

  /**
   * What happens to the containers, networks and volumes of the client's namespace, in order, across lost connections and restarts of the
   * daemon. With `since` what has happened before comes first, as far as it is kept.
   *
   * @throws TypeError, RangeError for wrong options; the iterator: the signal's reason, ContainerdError when the daemon stays away
   * @example
   * for await (const { action, name, attributes } of client.events({ types: ["container"], labels: ["app=web"] }))
   *   console.log(action, name, attributes);
   */
  events(options: EngineEventsOptions = {}): AsyncGenerator<EngineEvent, void, undefined> {
    return followEvents(this.#engine, options);
  }

  /**
   * Ends everything that is under way with an error; containers go on running. Pools of sandboxes should be closed before; what they have
   * ready goes with this program.
   */
  close(): void {
    this.v0.close(closedError());
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandboxes.close().catch(() => {});
    this.close();
  }
}

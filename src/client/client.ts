import { parseAddress } from "../contract/address.js";
import type { CallOptions } from "./api/call-options.js";
import { Connection, type ConnectionOptions, closedError, connectionChecks } from "./api/connection.js";
import { Api } from "./api/v0.js";
import { V1 } from "./api/v1.js";
import { Containers } from "./containers/containers.js";
import { type RunBufferOptions, type RunOptions, type RunResult, runContainer } from "./containers/run.js";
import { Events, type EventsOptions, eventsChecks } from "./events/events.js";
import { ExitWatch } from "./events/exit-watch.js";
import { Images } from "./images/images.js";
import { duration } from "./options/duration.js";
import { anyText, type Checks, checkOptions, nameText } from "./options/option-checks.js";

export interface ClientOptions extends ConnectionOptions {
  /**
   * Milliseconds that waits, events and the closing of a stdin outlast a daemon that is away (being restarted, say)
   * before they fail. Default: for ever.
   */
  patience?: number | undefined;
  /**
   * The namespace of containerd 1.x's API in which images are. Default: that of the environment variable CONTAINERD_NAMESPACE, else
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
  /** The RPCs one by one. */
  readonly api: Api;
  readonly containers: Containers;
  /** The images of the client's namespace. */
  readonly images: Images;
  /** containerd 1.x's services one by one, in the client's namespace. */
  readonly v1: V1;
  readonly #connection: Connection;
  readonly #exits: ExitWatch;
  readonly #patience: number | undefined;

  constructor(address: string, options: ClientOptions = {}) {
    anyText(address, "address");
    checkOptions(options, clientChecks);
    this.#connection = new Connection(parseAddress(address), options);
    this.#patience = options.patience;
    this.address = this.#connection.address.text;
    this.api = new Api(this.#connection);
    this.#exits = new ExitWatch(this.api, options.patience);
    this.containers = new Containers({ api: this.api, exits: this.#exits, patience: options.patience });
    this.v1 = new V1(this.#connection, options.namespace ?? (process.env.CONTAINERD_NAMESPACE || DEFAULT_NAMESPACE));
    this.images = new Images(this.v1);
  }

  /** The daemon's version: "0.2.9", and the commit it was built from, where it says so. */
  async version(options?: CallOptions): Promise<{ version: string; revision: string }> {
    const { major, minor, patch, revision } = await this.api.getServerVersion(options);
    return { version: `${major}.${minor}.${patch}`, revision };
  }

  /**
   * Runs a command in a container of its own and resolves when it has ended and nothing of it is left: the call for
   * sandboxes and CI runners. A status other than 0 is a result, no error.
   *
   * @throws RunError after `timeout` or too much output, with what was printed; the signal's reason; ContainerdError with
   *   the runtime's words when the command cannot be run. Nothing of the container is left then either, unless the daemon
   *   is away for so long (10 s) that the container cannot be killed.
   * @example
   * const { stdout, status, oomKilled } = await client.run({
   *   rootfs: "/srv/rootfs",
   *   args: ["wc", "-c"],
   *   input: "hello",
   *   timeout: 5000,
   *   limits: { memory: 64 << 20, cpu: 0.5, pids: 20 },
   * });
   */
  run(options: RunOptions): Promise<RunResult>;
  run(options: RunBufferOptions): Promise<RunResult<Buffer>>;
  run(options: RunOptions | RunBufferOptions): Promise<RunResult | RunResult<Buffer>>;
  run(options: RunOptions | RunBufferOptions): Promise<RunResult | RunResult<Buffer>> {
    return runContainer(this.containers, options);
  }

  /**
   * The daemon's events, in order, across lost connections and restarts of the daemon: none is lost and none comes twice.
   *
   * @example
   * for await (const event of client.events({ id: "web" })) {
   *   console.log(event.type, event.pid, event.status);
   *   if (event.type === "exit" && event.pid === "init") break;
   * }
   */
  events(options: EventsOptions = {}): Events {
    checkOptions(options, eventsChecks);
    return new Events(this.api, { ...options, patience: options.patience ?? this.#patience });
  }

  /** Ends everything that is under way with an error; containers go on running. */
  close(): void {
    this.#exits.close(closedError());
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

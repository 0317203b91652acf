import type { Connection } from "../api/connection.js";
import { Api } from "../api/v0.js";
import { checkOptions } from "../options/option-checks.js";
import { Containers } from "./containers/containers.js";
import { type RunBufferOptions, type RunOptions, type RunResult, runContainer } from "./containers/run.js";
import { Events, type EventsOptions, eventsChecks } from "./events/events.js";
import { ExitWatch } from "./events/exit-watch.js";

/** What containerd 0.2 has: containers of bundles, with no namespaces and no images, and the events of these. `client.v0` is one. */
export class V0 {
  /** The RPCs one by one. */
  readonly api: Api;
  readonly containers: Containers;
  readonly #exits: ExitWatch;
  readonly #patience: number | undefined;

  /** @internal */
  constructor(connection: Connection, patience: number | undefined) {
    this.#patience = patience;
    this.api = new Api(connection);
    this.#exits = new ExitWatch(this.api, patience);
    this.containers = new Containers({ api: this.api, exits: this.#exits, patience });
  }

  /**
   * Runs a command over a root file system in a container of its own and resolves when it has ended and nothing of it is left. A status
   * other than 0 is a result, no error.
   *
   * @throws RunError after `timeout` or too much output, with what was printed; the signal's reason; ContainerdError with
   *   the runtime's words when the command cannot be run. Nothing of the container is left then either, unless the daemon
   *   is away for so long (10 s) that the container cannot be killed.
   * @example
   * const { stdout, status, oomKilled } = await client.v0.run({
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
   * for await (const event of client.v0.events({ id: "web" })) {
   *   console.log(event.type, event.pid, event.status);
   *   if (event.type === "exit" && event.pid === "init") break;
   * }
   */
  events(options: EventsOptions = {}): Events {
    checkOptions(options, eventsChecks);
    return new Events(this.api, { ...options, patience: options.patience ?? this.#patience });
  }

  /** @internal */
  close(reason: Error): void {
    this.#exits.close(reason);
  }
}

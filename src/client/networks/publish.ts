import type { PortBinding } from "../../proto/containerdts/engine/v1/engine.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { checkOptions } from "../options/option-checks.js";
import { type ContainerRef, idOf } from "./networks.js";

export type { PortBinding };

/** Published ports of the containers of a namespace. */
export class Publish {
  readonly #api: EngineApi;

  /** @internal */
  constructor(api: EngineApi) {
    this.#api = api;
  }

  /**
   * Hands a container's published ports to another one, in one step: no connection finds nobody. Connections that are there stay where they
   * are. From then on they are the new one's, also when it is started again.
   *
   * @returns the ports, as the new one publishes them
   * @throws ContainerdError: "wrong-state" when one of them does not run, or the new one publishes some of its own
   * @example
   * const next = await client.containers.start({ image: "shop:2", network: "shop", waitFor: { port: 80 } });
   * await client.publish.move("web", next);
   */
  async move(from: ContainerRef, to: ContainerRef, options: CallOptions = {}): Promise<PortBinding[]> {
    checkOptions(options, callChecks);
    const request = { from: idOf(from, "from"), to: idOf(to, "to") };
    return (await this.#api.networks.movePorts(request, options)).ports;
  }
}

/** Debian's plugins of CNI by hand, as podman and Kubernetes call them: what a bridge network by them can't be faster than. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { NetworkNamespace } from "../test/harness/network-namespace.js";

const PLUGINS = "/usr/lib/cni";
const NETWORK = { cniVersion: "0.4.0", name: "bench" };

export class CniPlugins implements Disposable {
  readonly #host: NetworkNamespace;
  readonly #container: NetworkNamespace;
  readonly #leases: string;
  readonly #plugins: readonly ({ type: string } & Record<string, unknown>)[];

  /** @param directory a path at which it may make one: for the addresses that are taken */
  constructor(host: NetworkNamespace, container: NetworkNamespace, directory: string) {
    this.#host = host;
    this.#container = container;
    this.#leases = directory;
    mkdirSync(directory);
    const ipam = {
      ...{ type: "host-local", dataDir: directory, ranges: [[{ subnet: "10.88.0.0/16" }]] },
      routes: [{ dst: "0.0.0.0/0" }],
    };
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
    this.#plugins = [
      { type: "bridge", bridge: "cni-bench", isGateway: true, ipMasq: true, ipam },
      { type: "portmap", capabilities: { portMappings: true }, runtimeConfig: { portMappings } },
      { type: "firewall" },
    ];
  }

  /** Connects the container's namespace with the network and publishes a port, then undoes it. */
  async addAndDelete(): Promise<void> {
    let prevResult: unknown;
    for (const plugin of this.#plugins) prevResult = JSON.parse(await this.#call("ADD", plugin, prevResult));
    for (const plugin of this.#plugins.toReversed()) await this.#call("DEL", plugin, prevResult);
  }

  async #call(command: string, plugin: { type: string }, prevResult: unknown): Promise<string> {
    const variables = {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: "bench", CNI_IFNAME: "eth0", CNI_ARGS: "", CNI_PATH: PLUGINS },
      CNI_NETNS: this.#container.path,
    };
    const environment = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const input = JSON.stringify({ ...NETWORK, ...plugin, prevResult });
    const { code, stdout, stderr } = await this.#host.attempt(
      ["env", ...environment, join(PLUGINS, plugin.type)],
      input,
    );
    if (code !== 0) throw new Error(`${command} of ${plugin.type}: ${code}: ${stdout}${stderr}`);
    return stdout;
  }

  [Symbol.dispose](): void {
    rmSync(this.#leases, { recursive: true, force: true });
  }
}

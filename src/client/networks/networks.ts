import { isIP } from "node:net";
import type { Endpoint } from "../../proto/containerdts/engine/v1/engine.js";
import type { Network as NetworkMessage } from "../../proto/containerdts/engine/v1/networks.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { labelsCheck, labelsOf, type WantedLabels } from "../containers/labels.js";
import {
  anyText,
  type Check,
  type Checks,
  checkOptions,
  flag,
  listOf,
  nameText,
  required,
  text,
  whole,
  wrong,
} from "../options/option-checks.js";
import { toDate } from "../timestamp.js";
import { attachmentChecks, attachmentMessage, type NetworkAttachment } from "./network-options.js";

export type { Endpoint };

/** A network of containers on the daemon's host. */
export interface NetworkInfo {
  /** 64 hexadecimal digits. */
  id: string;
  name: string;
  /** "bridge": one of ours; "cni": one that the system has configured. */
  driver: "bridge" | "cni";
  /** `172.18.0.0/16` */
  subnet: string;
  gateway: string;
  /** "" without IPv6. */
  subnet6: string;
  gateway6: string;
  /** Whether it has no way out of the host. */
  internal: boolean;
  /** Whether its containers can't reach each other. */
  isolated: boolean;
  labels: Record<string, string>;
  mtu: number;
  /** The bridge on the host, while something runs on it; "" of cni. */
  device: string;
  createdAt: Date | undefined;
  /** Those that are attached to it. Addresses are of those that run, "" otherwise. */
  containers: { id: string; name: string; address: string; address6: string; mac: string }[];
}

/** One that this program has made: `await using` removes it. */
export type CreatedNetwork = NetworkInfo & AsyncDisposable;

export interface CreateNetworkOptions extends CallOptions {
  name: string;
  /** `10.1.0.0/16`. Default: one that the host does not use. */
  subnet?: string | undefined;
  /** Default: the first address of the subnet. */
  gateway?: string | undefined;
  /** Whether its containers have IPv6, too. Default: false, unless `subnet6` is given. */
  ipv6?: boolean | undefined;
  /** `fd00:1::/64`. Default: one of fd00::/8. */
  subnet6?: string | undefined;
  gateway6?: string | undefined;
  /** Whether it has no way out of the host. Default: false. */
  internal?: boolean | undefined;
  /** Whether its containers can't reach each other. Default: false. */
  isolated?: boolean | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  /** Of its devices. Default: 1500. */
  mtu?: number | undefined;
}

export interface ListNetworksOptions extends CallOptions {
  /** All of them hold: `{ tier: "web" }`, where `true` is any value; or `NAME`, `NAME=value`. */
  labels?: WantedLabels | undefined;
  /** One of them holds. */
  names?: readonly string[] | undefined;
}

export interface PruneNetworksOptions extends CallOptions {
  labels?: WantedLabels | undefined;
}

/** What a container is on a network; what is not given is chosen. */
export interface ConnectOptions extends Omit<NetworkAttachment, "name">, CallOptions {}

/** A container by its id, the beginning of one, or its name; or as an object. */
export type ContainerRef = string | { readonly id: string };

const subnet = (version: 4 | 6): Check =>
  text(version === 4 ? 'a subnet like "10.1.0.0/16"' : 'a subnet like "fd00:1::/64"', (value) => {
    const [address = "", length = "", ...more] = value.split("/");
    return (
      more.length === 0 &&
      isIP(address) === version &&
      /^\d{1,3}$/.test(length) &&
      Number(length) <= (version === 4 ? 32 : 128)
    );
  });
const address = (version: 4 | 6): Check => text(`an IPv${version} address`, (value) => isIP(value) === version);

const createChecks: Checks<CreateNetworkOptions> = {
  ...callChecks,
  name: required(nameText),
  subnet: subnet(4),
  gateway: address(4),
  ipv6: flag,
  subnet6: subnet(6),
  gateway6: address(6),
  internal: flag,
  isolated: flag,
  labels: (value, name) => {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw wrong(name, "an object of texts", value);
    for (const [label, content] of Object.entries(value)) anyText(content, `${name}.${label}`);
  },
  mtu: whole("a number of bytes from 68 to 65535", 68, 65_535),
};
const listChecks: Checks<ListNetworksOptions> = { ...callChecks, labels: labelsCheck, names: listOf(nameText) };
const pruneChecks: Checks<PruneNetworksOptions> = { ...callChecks, labels: labelsCheck };
const connectChecks: Checks<ConnectOptions> = { ...callChecks, ...attachmentChecks };

const refCheck: Check = (value, name) => {
  if (typeof value === "object" && value !== null) nameText((value as { id?: unknown }).id, `${name}.id`);
  else nameText(value, name);
};

export function idOf(container: ContainerRef, name = "container"): string {
  refCheck(container, name);
  return typeof container === "string" ? container : container.id;
}

/**
 * The networks of a namespace; "bridge" is there once it was used. Each is named by its name, its id, or the beginning of that. Methods
 * throw ContainerdError, `isNotFound` for what there is not, and TypeError or RangeError for options that make no sense.
 */
export class Networks {
  readonly #api: EngineApi;

  /** @internal */
  constructor(api: EngineApi) {
    this.#api = api;
  }

  /** The networks of another namespace. */
  in(namespace: string): Networks {
    nameText(namespace, "namespace");
    return new Networks(this.#api.in(namespace));
  }

  /**
   * Makes a network. Its containers reach each other by name; no other network reaches them but through published ports.
   *
   * @throws ContainerdError: "id-in-use" when there is one of that name, "refused" for a subnet that something else has
   * @example
   * await using network = await client.networks.create({ name: "shop" });
   * await client.containers.start({ image: "redis", name: "cache", network: "shop" });
   */
  async create(options: CreateNetworkOptions): Promise<CreatedNetwork> {
    checkOptions(options, createChecks);
    const { name, subnet = "", gateway = "", subnet6 = "", gateway6 = "", labels, mtu = 0, signal, timeout } = options;
    const { ipv6 = subnet6 !== "", internal = false, isolated = false } = options;
    if (!ipv6 && subnet6 !== "") throw new TypeError("subnet6 needs ipv6: true");
    const request = { name, subnet, gateway, ipv6, subnet6, gateway6, internal, isolated, labels: { ...labels }, mtu };
    const made = infoOf(await this.#api.networks.create(request, { signal, timeout }));
    return Object.defineProperty(made, Symbol.asyncDispose, { value: () => this.remove(made.id) }) as CreatedNetwork;
  }

  async get(network: string, options: CallOptions = {}): Promise<NetworkInfo> {
    nameText(network, "network");
    checkOptions(options, callChecks);
    return infoOf(await this.#api.networks.get({ network }, options));
  }

  async list(options: ListNetworksOptions = {}): Promise<NetworkInfo[]> {
    checkOptions(options, listChecks);
    const { labels, names = [], ...call } = options;
    const { networks } = await this.#api.networks.list({ labels: labelsOf(labels), names: [...names] }, call);
    return networks.map(infoOf);
  }

  /** @throws ContainerdError: "wrong-state" while a container is attached to it */
  async remove(network: string, options: CallOptions = {}): Promise<void> {
    nameText(network, "network");
    checkOptions(options, callChecks);
    await this.#api.networks.remove({ network }, options);
  }

  /** Removes those that no container is attached to, but "bridge". @returns the names of those that were removed */
  async prune(options: PruneNetworksOptions = {}): Promise<string[]> {
    checkOptions(options, pruneChecks);
    const { labels, ...call } = options;
    return (await this.#api.networks.prune({ labels: labelsOf(labels) }, call)).names;
  }

  /**
   * Attaches a container to one more network, also while it runs.
   *
   * @example
   * await client.networks.connect("backend", container, { aliases: ["db"] });
   */
  async connect(network: string, container: ContainerRef, options: ConnectOptions = {}): Promise<Endpoint> {
    nameText(network, "network");
    checkOptions(options, connectChecks);
    const { signal, timeout, ...wanted } = options;
    const attachment = attachmentMessage({ name: network, ...wanted });
    return await this.#api.networks.connect({ container: idOf(container), attachment }, { signal, timeout });
  }

  async disconnect(network: string, container: ContainerRef, options: CallOptions = {}): Promise<void> {
    nameText(network, "network");
    checkOptions(options, callChecks);
    await this.#api.networks.disconnect({ container: idOf(container), network }, options);
  }

  /**
   * Has the host's devices and rules of all networks as they are to be, after somebody has changed them.
   *
   * @returns what was not so
   */
  async repair(options: CallOptions = {}): Promise<string[]> {
    checkOptions(options, callChecks);
    return (await this.#api.networks.repair({}, options)).repaired;
  }
}

function infoOf({ createdAt, driver, ...same }: NetworkMessage): NetworkInfo {
  return { ...same, driver: driver as NetworkInfo["driver"], createdAt: createdAt && toDate(createdAt) };
}

import { randomBytes } from "node:crypto";
import { now } from "../../system/linux/clock.js";
import { Failure, refusal } from "../failure/failure.js";
import { isPrintable } from "../metadata/identifier.js";
import { checkLabels, presentLabels } from "../metadata/labels.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Store, Table } from "../metadata/store.js";
import { FirstUse } from "../scheduling/first-use.js";
import { checkAddress } from "./addresses.js";
import { bridgeName } from "./device-names.js";
import {
  addressText,
  firstOf,
  overlap,
  parseSubnet,
  requireAddress,
  requireSubnet,
  type Subnet,
  subnetText,
} from "./ip-address.js";
import type { Network } from "./network.js";
import { chooseSubnet, chooseSubnet6, type HostSubnets, hostSubnets } from "./subnets.js";

/** What is wanted of a new network; "" of subnets and gateways has them chosen. */
export interface NewNetwork {
  name: string;
  subnet: string;
  gateway: string;
  /** Whether it has IPv6, too; a `subnet6` says so by itself. */
  ipv6: boolean;
  subnet6: string;
  gateway6: string;
  internal: boolean;
  isolated: boolean;
  labels: Record<string, string>;
  /** 0 is 1500. */
  mtu: number;
}

/** The network that is made at its first use. */
export const BRIDGE = "bridge";

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
/** What a container's `network` means without being a network of ours. */
const OTHER_MODES = new Set(["none", "host", "container", "default"]);

const MTU = 1500;
/** IPv4's least, IPv6's least, and the most that the kernel takes of a bridge. */
const LEAST_MTU = 68;
const LEAST_MTU6 = 1280;
const MOST_MTU = 65_535;
/** A gateway and a container have to have room. */
const LONGEST_PREFIX = { 4: 30, 6: 126 } as const;
/** The least digits of an id by which a network is found. */
const MIN_PREFIX = 4;

/** The records of networks. All of them are in memory from their first use on. */
export class Networks {
  readonly #store: Store;
  readonly #namespaces: Namespaces;
  readonly #records: Table<Network>;
  readonly #hostSubnets: () => HostSubnets;
  readonly #known = new Map<string, Network>();
  readonly #load = new FirstUse(async () => {
    for (const network of await this.#store.read(() => this.#records.list([]))) this.#known.set(network.id, network);
  });
  /** Is told of each that was made, or removed. */
  onChange: (action: "create" | "remove", network: Network) => void = () => {};

  /** @param host tells what the host uses of addresses */
  constructor(store: Store, namespaces: Namespaces, host: () => HostSubnets = hostSubnets) {
    this.#store = store;
    this.#namespaces = namespaces;
    this.#hostSubnets = host;
    this.#records = store.table("networks");
    namespaces.onDelete((namespace) => {
      for (const { id } of this.#records.list([namespace])) {
        this.#records.remove([namespace, id]);
        this.#known.delete(id);
      }
    });
  }

  /** Those of a namespace, by their names. */
  async list(namespace: string): Promise<Network[]> {
    await this.#load.done();
    return this.#of(namespace).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * By its name, its id, or the beginning of its id. "bridge" is made when it is not there.
   * @throws Failure: not-found, invalid-argument for the beginning of several
   */
  async get(namespace: string, text: string): Promise<Network> {
    const found = await this.find(namespace, text);
    if (found !== undefined) return found;
    if (text === BRIDGE) return await this.#bridge(namespace);
    throw noNetwork({ namespace, name: text });
  }

  /** As {@link get}, of what is there. @throws Failure (invalid-argument) for the beginning of several */
  async find(namespace: string, text: string): Promise<Network | undefined> {
    await this.#load.done();
    const all = this.#of(namespace);
    const one = all.find(({ id }) => id === text) ?? all.find(({ name }) => name === text);
    if (one !== undefined || text.length < MIN_PREFIX) return one;
    const some = all.filter(({ id }) => id.startsWith(text));
    if (some.length > 1)
      throw refusal(
        `network ${JSON.stringify(text)}: the beginning of the ids of ${some.map(({ name }) => name).join(", ")}`,
      );
    return some[0];
  }

  /** By its whole id, of what is in memory: for who has had it before. */
  byId(id: string): Network | undefined {
    return this.#known.get(id);
  }

  /** To be awaited before {@link byId}. */
  async loaded(): Promise<void> {
    await this.#load.done();
  }

  /** @throws Failure: invalid-argument, already-exists, failed-precondition for a subnet that is used, resource-exhausted for none left */
  async create(namespace: string, wanted: NewNetwork): Promise<Network> {
    checkNew(wanted);
    await this.#load.done();
    return await this.#put(namespace, wanted);
  }

  /**
   * @param check refuses it, within the change
   * @throws Failure (not-found); what `check` does
   */
  async remove(namespace: string, id: string, check: () => void): Promise<void> {
    await this.#load.done();
    let removed: Network | undefined;
    await this.#store
      .write(() => {
        removed = this.#records.get([namespace, id]);
        if (removed === undefined) throw noNetwork({ namespace, name: id });
        check();
        this.#records.remove([namespace, id]);
        // From here on nobody attaches to it; when it can't be written it is read again.
        this.#known.delete(id);
      })
      .catch(async (error) => {
        const kept = await this.#store.read(() => this.#records.get([namespace, id]));
        if (kept !== undefined) this.#known.set(id, kept);
        throw error;
      });
    this.onChange("remove", removed!);
  }

  async #bridge(namespace: string): Promise<Network> {
    const wanted = { name: BRIDGE, subnet: "", gateway: "", ipv6: false, subnet6: "", gateway6: "", mtu: 0 };
    try {
      return await this.#put(namespace, { ...wanted, internal: false, isolated: false, labels: {} });
    } catch (error) {
      // Others may have come first.
      const found = await this.find(namespace, BRIDGE);
      if (found !== undefined) return found;
      throw error;
    }
  }

  async #put(namespace: string, wanted: NewNetwork): Promise<Network> {
    const host = this.#hostSubnets();
    let network: Network | undefined;
    await this.#store.write(() => {
      this.#namespaces.use(namespace);
      const all = this.#records.list([]);
      const { name } = wanted;
      if (all.some((other) => other.namespace === namespace && other.name === name))
        throw new Failure("already-exists", "refused", { why: `there is a network named ${JSON.stringify(name)}` });
      network = madeOf(namespace, wanted, all, host);
      this.#records.put([namespace, network.id], network);
    });
    this.#known.set(network!.id, network!);
    this.onChange("create", network!);
    return network!;
  }

  #of(namespace: string): Network[] {
    return [...this.#known.values()].filter((network) => network.namespace === namespace);
  }
}

export function noNetwork({ namespace, name }: Pick<Network, "namespace" | "name">): Failure {
  const why = `no network ${JSON.stringify(name.slice(0, 200))} in namespace ${JSON.stringify(namespace)}`;
  return new Failure("not-found", "refused", { why });
}

/** @throws Failure (invalid-argument) for what can't be a network, as far as that shows without a look at others */
function checkNew({ name, subnet, gateway, ipv6, subnet6, gateway6, mtu, labels }: NewNetwork): void {
  if (!NAME.test(name) || !isPrintable(name))
    throw refusal(`network name ${JSON.stringify(name.slice(0, 200))}: it has to match ${NAME.source}`);
  if (OTHER_MODES.has(name)) throw refusal(`network name ${JSON.stringify(name)}: it means something else`);
  if (gateway !== "" && subnet === "") throw refusal(`gateway ${JSON.stringify(gateway)}: it goes with a subnet`);
  if (gateway6 !== "" && subnet6 === "") throw refusal(`gateway6 ${JSON.stringify(gateway6)}: it goes with a subnet6`);
  const has6 = ipv6 || subnet6 !== "";
  const least = has6 ? LEAST_MTU6 : LEAST_MTU;
  if (mtu !== 0 && (!Number.isSafeInteger(mtu) || mtu < least || mtu > MOST_MTU))
    throw refusal(`mtu ${mtu}: it must be from ${least} to ${MOST_MTU}${has6 ? " with IPv6" : ""}`);
  checkLabels(labels, "labels: ");
}

/** @throws Failure */
function madeOf(namespace: string, wanted: NewNetwork, others: readonly Network[], host: HostSubnets): Network {
  const used = others.flatMap(({ subnet, subnet6 }) => [subnet, subnet6].flatMap((text) => parseSubnet(text) ?? []));
  const ofHost = [...host.addresses, ...host.routes];
  const has6 = wanted.ipv6 || wanted.subnet6 !== "";
  const subnetOf = (family: 4 | 6, text: string) => {
    if (text === "") return (family === 4 ? chooseSubnet : chooseSubnet6)([...used, ...ofHost]);
    const subnet = requireSubnet(family === 4 ? "subnet" : "subnet6", text, family);
    checkSubnet(subnet, others, host);
    return subnet;
  };
  const subnet = subnetOf(4, wanted.subnet);
  const subnet6 = has6 ? subnetOf(6, wanted.subnet6) : undefined;
  const id = freshId(others);
  const network: Network = {
    ...{ namespace, id, name: wanted.name, driver: "bridge", bridge: bridgeName(id) },
    ...{ subnet: subnetText(subnet), gateway: addressText({ family: 4, value: firstOf(subnet) + 1n }) },
    subnet6: subnet6 === undefined ? "" : subnetText(subnet6),
    gateway6: subnet6 === undefined ? "" : addressText({ family: 6, value: firstOf(subnet6) + 1n }),
    ...{ internal: wanted.internal, isolated: wanted.isolated, mtu: wanted.mtu || MTU },
    labels: presentLabels(wanted.labels),
    createdAt: now(),
  };
  const gatewayOf = (name: string, text: string, family: 4 | 6) => {
    const address = requireAddress(name, text, family);
    checkAddress(address, network, (why) => refusal(`${name} ${JSON.stringify(text)}: ${why}`));
    return addressText(address);
  };
  if (wanted.gateway !== "") network.gateway = gatewayOf("gateway", wanted.gateway, 4);
  if (wanted.gateway6 !== "") network.gateway6 = gatewayOf("gateway6", wanted.gateway6, 6);
  return network;
}

/** @throws Failure for one that somebody has named, and that is not to be had */
function checkSubnet(subnet: Subnet, others: readonly Network[], host: HostSubnets): void {
  const text = subnetText(subnet);
  const longest = LONGEST_PREFIX[subnet.family];
  if (subnet.length > longest) throw refusal(`subnet ${text}: it has room for no container: at most /${longest}`);
  if (subnet.length < 8) throw refusal(`subnet ${text}: it is too large: at least /8`);
  const loopback = parseSubnet("127.0.0.0/8")!;
  const groups = parseSubnet(subnet.family === 4 ? "224.0.0.0/3" : "ff00::/8")!;
  if (overlap(subnet, loopback) || overlap(subnet, groups)) throw refusal(`subnet ${text}: no addresses of hosts`);
  const network = others.find((other) =>
    [other.subnet, other.subnet6].some((taken) => taken !== "" && overlap(subnet, parseSubnet(taken)!)),
  );
  if (network !== undefined) {
    const { name, namespace } = network;
    const why = `subnet ${text}: network ${JSON.stringify(name)} in namespace ${JSON.stringify(namespace)} has ${network.subnet}`;
    throw new Failure("failed-precondition", "refused", { why });
  }
  // A route to a larger part of the world may well lead to what is not there.
  const own = host.addresses.find((address) => overlap(subnet, address));
  const route = host.routes.find((other) => other.length >= subnet.length && overlap(subnet, other));
  if (own === undefined && route === undefined) return;
  const why =
    own === undefined
      ? `subnet ${text}: this host has a route to ${subnetText(route!)}`
      : `subnet ${text}: ${addressText(own)} is an address of this host`;
  throw new Failure("failed-precondition", "refused", { why });
}

/** Whose beginning, which is in the bridge's name, none of the others has. */
function freshId(others: readonly Network[]): string {
  for (;;) {
    const id = randomBytes(32).toString("hex");
    if (!others.some(({ bridge }) => bridge === bridgeName(id))) return id;
  }
}

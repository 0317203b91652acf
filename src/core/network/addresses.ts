import { Failure } from "../failure/failure.js";
import { addressText, firstOf, type IpAddress, isWithin, lastOf, parseAddress, parseSubnet } from "./ip-address.js";
import type { Network } from "./network.js";

/** Who has an address, as an error names it. */
export interface Holder {
  /** Which it is. */
  key: string;
  /** `container "web"` */
  text: string;
}

/** Which addresses of the networks are whose. Kept in memory only: the records of containers say it. */
export class Addresses {
  readonly #pools = new Map<string, { of4: Pool; of6: Pool | undefined; macs: Map<string, Holder> }>();

  /**
   * @param wanted "" has one chosen
   * @throws Failure: invalid-argument for one that is not the network's, failed-precondition for one that is taken, resource-exhausted
   */
  take(network: Network, family: 4 | 6, wanted: string, holder: Holder): string {
    const { of4, of6 } = this.#of(network);
    const pool = family === 4 ? of4 : of6;
    if (pool === undefined) {
      const why = `address ${JSON.stringify(wanted)}: network ${JSON.stringify(network.name)} has no IPv6`;
      throw new Failure("invalid-argument", "refused", { why });
    }
    return pool.take(wanted, holder);
  }

  /** @throws Failure (failed-precondition) when another one has it */
  takeMac(network: Network, mac: string, holder: Holder): void {
    const { macs } = this.#of(network);
    const other = macs.get(mac);
    if (other !== undefined && other.key !== holder.key) throw taken(`the MAC address ${mac}`, network, other);
    macs.set(mac, holder);
  }

  /** All that somebody has on a network. */
  release({ id }: Pick<Network, "id">, { key }: Pick<Holder, "key">): void {
    const pools = this.#pools.get(id);
    if (pools === undefined) return;
    pools.of4.release(key);
    pools.of6?.release(key);
    for (const [mac, holder] of pools.macs) if (holder.key === key) pools.macs.delete(mac);
  }

  /** The network is no more. */
  forget({ id }: Pick<Network, "id">): void {
    this.#pools.delete(id);
  }

  /** How many are taken, on all networks. */
  get count(): number {
    return [...this.#pools.values()].reduce((sum, { of4, of6 }) => sum + of4.count + (of6?.count ?? 0), 0);
  }

  #of(network: Network) {
    let pools = this.#pools.get(network.id);
    if (pools === undefined) {
      const { subnet, gateway, subnet6, gateway6 } = network;
      const of6 = subnet6 === "" ? undefined : new Pool(network, subnet6, gateway6);
      pools = { of4: new Pool(network, subnet, gateway), of6, macs: new Map() };
      this.#pools.set(network.id, pools);
    }
    return pools;
  }
}

/** The addresses of one subnet. What was given back comes last: who still means the one who had it does not meet another. */
class Pool {
  readonly #network: Network;
  readonly #subnet;
  readonly #first: bigint;
  readonly #last: bigint;
  readonly #gateway: bigint;
  readonly #holders = new Map<bigint, Holder>();
  readonly #held = new Map<string, Set<bigint>>();
  #next: bigint;

  constructor(network: Network, subnet: string, gateway: string) {
    this.#network = network;
    this.#subnet = parseSubnet(subnet)!;
    this.#gateway = parseAddress(gateway)!.value;
    // The first one means the subnet, the last one all in it.
    this.#first = firstOf(this.#subnet) + 1n;
    this.#last = lastOf(this.#subnet) - (this.#subnet.family === 4 ? 1n : 0n);
    this.#next = this.#first;
  }

  get count(): number {
    return this.#holders.size;
  }

  take(wanted: string, holder: Holder): string {
    const { family } = this.#subnet;
    const value = wanted === "" ? this.#choose() : this.#wanted(wanted, holder);
    this.#holders.set(value, holder);
    const held = this.#held.get(holder.key);
    if (held === undefined) this.#held.set(holder.key, new Set([value]));
    else held.add(value);
    return addressText({ family, value });
  }

  release(key: string): void {
    for (const value of this.#held.get(key) ?? []) this.#holders.delete(value);
    this.#held.delete(key);
  }

  #wanted(wanted: string, holder: Holder): bigint {
    const address = parseAddress(wanted);
    const name = JSON.stringify(this.#network.name);
    const refuse = (why: string) =>
      new Failure("invalid-argument", "refused", { why: `address ${JSON.stringify(wanted.slice(0, 100))}: ${why}` });
    if (address === undefined) throw refuse("no IP address");
    checkAddress(address, this.#network, refuse);
    const { value } = address;
    if (value === this.#gateway) throw refuse(`it is the gateway of network ${name}`);
    const other = this.#holders.get(value);
    if (other !== undefined && other.key !== holder.key) throw taken(`address ${wanted}`, this.#network, other);
    return value;
  }

  #choose(): bigint {
    const start = this.#next;
    let value = start;
    do {
      const next = value >= this.#last ? this.#first : value + 1n;
      if (value !== this.#gateway && !this.#holders.has(value)) {
        this.#next = next;
        return value;
      }
      value = next;
    } while (value !== start);
    const why = `network ${JSON.stringify(this.#network.name)} has no free address: all of ${this.#holders.size} are taken`;
    throw new Failure("resource-exhausted", "refused", { why });
  }
}

function taken(what: string, { name }: Network, { text }: Holder): Failure {
  const why = `${what} on network ${JSON.stringify(name)} is taken: ${text} has it`;
  return new Failure("failed-precondition", "refused", { why });
}

/** @param refuse makes the error. Throws for an address that no container on the network can have. */
export function checkAddress(address: IpAddress, network: Network, refuse: (why: string) => Error): void {
  const text = address.family === 4 ? network.subnet : network.subnet6;
  const subnet = parseSubnet(text);
  const name = JSON.stringify(network.name);
  if (subnet === undefined) throw refuse(`network ${name} has no IPv${address.family}`);
  if (!isWithin(address, subnet)) throw refuse(`it is not in ${text}, the subnet of network ${name}`);
  if (address.value === firstOf(subnet) || (address.family === 4 && address.value === lastOf(subnet)))
    throw refuse(
      `it is the ${address.value === firstOf(subnet) ? "first" : "last"} of ${text}, which no host can have`,
    );
}

/** The one that belongs to an IPv4 address, as Docker makes it. */
export function macOf(address: string): string {
  const bytes = parseAddress(address)!.value.toString(16).padStart(8, "0");
  return `02:42:${bytes.match(/../g)!.join(":")}`;
}

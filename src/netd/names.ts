/** Who is on which network, by name and by address. */
import type { NamedEndpoint } from "../contract/netd/messages";
import { nameBytes, type Resource, reversedAddress, TYPE_A, TYPE_AAAA, TYPE_PTR } from "./dns";
import { addressBytes } from "./syscalls/inet";

/** One container on one network. */
interface Member {
  /** 4 bytes. */
  address: string | undefined;
  /** 16 bytes. */
  address6: string | undefined;
  /** In small letters. */
  names: string[];
  network: Network;
}

interface Network {
  readonly id: string;
  /** In small letters. */
  label: string;
  members: number;
  readonly byName: LuaTable<string, Member[]>;
  readonly byAddress: LuaTable<string, Member>;
}

/** A container's places, in the order of its networks: its names are known to the others as long as it has them. */
export type Places = readonly Member[];

const networks = new LuaTable<string, Network>();

/** Makes a container's names known. Throws a message, and nothing is known then. */
export function enter(endpoints: readonly NamedEndpoint[]): Places {
  const places: Member[] = [];
  // Whatever is wrong is found before the first change.
  const parsed = endpoints.map((endpoint) => [parseAddress(endpoint.address), parseAddress(endpoint.address6)]);
  for (const index of $range(1, endpoints.length)) {
    const { network: id, networkName, names } = endpoints[index - 1];
    let network = networks.get(id);
    if (network === undefined) {
      network = { id, label: "", members: 0, byName: new LuaTable(), byAddress: new LuaTable() };
      networks.set(id, network);
    }
    network.label = string.lower(networkName);
    network.members++;
    const [address, address6] = parsed[index - 1];
    const member: Member = { address, address6, names: names.map((name) => string.lower(name)), network };
    places[places.length] = member;
    for (const name of member.names) {
      const others = network.byName.get(name);
      if (others === undefined) network.byName.set(name, [member]);
      else if (!others.includes(member)) others[others.length] = member;
    }
    if (address !== undefined) network.byAddress.set(address, member);
    if (address6 !== undefined) network.byAddress.set(address6, member);
  }
  return places;
}

function parseAddress(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  return addressBytes(text) ?? error(`"${text}" is no address`, 0);
}

/** Forgets a container's names. */
export function leave(places: Places): void {
  for (const member of places) {
    const { network, address, address6, names } = member;
    for (const name of names) {
      const left = (network.byName.get(name) ?? []).filter((other) => other !== member);
      if (left.length > 0) network.byName.set(name, left);
      else network.byName.delete(name);
    }
    // Another may have the address by now.
    if (address !== undefined && network.byAddress.get(address) === member) network.byAddress.delete(address);
    if (address6 !== undefined && network.byAddress.get(address6) === member) network.byAddress.delete(address6);
    network.members--;
    if (network.members === 0) networks.delete(network.id);
  }
}

/**
 * What a name, asked for by who has these places, stands for: the records of that type, perhaps none; undefined when nobody on its networks
 * has the name.
 */
export function lookUp(places: Places, name: string, type: number): Resource[] | undefined {
  if (string.sub(name, -5) === ".arpa") return lookUpAddress(places, name, type);
  for (const { network } of places) {
    const found = network.byName.get(name) ?? network.byName.get(withoutNetwork(name, network) ?? "");
    if (found !== undefined) return addresses(found, type);
  }
  return undefined;
}

function withoutNetwork(name: string, network: Network): string | undefined {
  const rest = name.length - network.label.length - 1;
  return rest > 0 && string.sub(name, rest + 1) === `.${network.label}` ? string.sub(name, 1, rest) : undefined;
}

/** Of several each has its turn to be the first: most programs take that. */
function addresses(members: Member[], type: number): Resource[] {
  const found: Resource[] = [];
  const first = members.length > 1 ? math.random(0, members.length - 1) : 0;
  for (const index of $range(0, members.length - 1)) {
    const member = members[(first + index) % members.length];
    const data = type === TYPE_A ? member.address : type === TYPE_AAAA ? member.address6 : undefined;
    if (data !== undefined) found[found.length] = { type, data };
  }
  return found;
}

function lookUpAddress(places: Places, name: string, type: number): Resource[] | undefined {
  const address = reversedAddress(name);
  if (address === undefined) return undefined;
  for (const { network } of places) {
    const member = network.byAddress.get(address);
    if (member === undefined || member.names.length === 0) continue;
    const data = nameBytes(`${member.names[0]}.${network.label}`);
    return type === TYPE_PTR && data !== undefined ? [{ type, data }] : [];
  }
  return undefined;
}

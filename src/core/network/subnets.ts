import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hasCode } from "../../system/linux/libc.js";
import { Failure } from "../failure/failure.js";
import { type Family, overlap, parseSubnet, requireSubnet, type Subnet } from "./ip-address.js";

/** What is chosen of, in this order: as Docker's, which people know. */
const POOLS: readonly Subnet[] = [
  ...Array.from({ length: 15 }, (_, index) => of(`172.${17 + index}.0.0/16`)),
  ...Array.from({ length: 16 }, (_, index) => of(`192.168.${16 * index}.0/20`)),
];

function of(text: string): Subnet {
  return requireSubnet("pool", text, 4);
}

/**
 * @param used what this host, or another network, has
 * @throws Failure (resource-exhausted)
 */
export function chooseSubnet(used: readonly Subnet[]): Subnet {
  const found = POOLS.find((pool) => !used.some((other) => overlap(pool, other)));
  if (found !== undefined) return found;
  const why =
    "no subnet is free for the network: all of 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16 are used by networks, " +
    "addresses and routes of this host; name one that is free";
  throw new Failure("resource-exhausted", "refused", { why });
}

/** A /64 of the unique local addresses (RFC 4193), whose other bits are random. */
export function chooseSubnet6(used: readonly Subnet[], random: () => Buffer = () => randomBytes(5)): Subnet {
  for (;;) {
    const value = ((0xfdn << 40n) | BigInt(`0x${random().toString("hex")}`)) << 80n;
    const subnet: Subnet = { family: 6, value, length: 64 };
    if (!used.some((other) => overlap(subnet, other))) return subnet;
  }
}

export interface HostSubnets {
  /** Of addresses that its interfaces have. */
  addresses: Subnet[];
  /** That it has routes to, but those to everywhere. */
  routes: Subnet[];
}

/** What the network namespace of this process has. */
export function hostSubnets(): HostSubnets {
  return {
    addresses: hostAddresses(),
    routes: [...routesOf(textOf("/proc/net/route")), ...routesOf6(textOf("/proc/net/ipv6_route"))],
  };
}

/** Those that the interfaces of this process's network namespace have. */
export function hostAddresses(): Subnet[] {
  return [...ownAddresses(textOf("/proc/net/fib_trie")), ...ownAddresses6(textOf("/proc/net/if_inet6"))];
}

/** "" of a kernel without IPv6. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return "";
    throw error;
  }
}

/** The addresses in `/proc/net/fib_trie`, each as a subnet of its own. */
export function ownAddresses(trie: string): Subnet[] {
  const found = new Set([...trie.matchAll(/\|-- (\S+)\n\s+\/32 host LOCAL/g)].map(([, address]) => `${address}/32`));
  return [...found].map((text) => parseSubnet(text)!).filter(({ value }) => value >> 24n !== 127n);
}

/** Of `/proc/net/if_inet6`, but those of the link. */
export function ownAddresses6(table: string): Subnet[] {
  return lines(table).flatMap(([address]) => known(6, BigInt(`0x${address}`), 128));
}

/** Of `/proc/net/route`, whose numbers are in the order of this machine's bytes. */
export function routesOf(table: string): Subnet[] {
  return lines(table)
    .slice(1)
    .flatMap(([, destination, , , , , , mask]) => {
      const length = [...swapped(mask!).toString(2)].filter((bit) => bit === "1").length;
      return length === 0 ? [] : known(4, swapped(destination!), length);
    });
}

/** Of `/proc/net/ipv6_route`. */
export function routesOf6(table: string): Subnet[] {
  return lines(table).flatMap(([destination, length]) => {
    const bits = Number.parseInt(length!, 16);
    return bits === 0 ? [] : known(6, BigInt(`0x${destination}`), bits);
  });
}

function lines(table: string): string[][] {
  return table.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim().split(/\s+/)]));
}

function swapped(hex: string): bigint {
  return BigInt(Buffer.from(hex, "hex").readUInt32LE());
}

/** Loopback, addresses of the link and of groups are every host's. */
function known(family: Family, value: bigint, length: number): Subnet[] {
  const isEveryones =
    family === 6 ? value === 1n || value >> 118n === 0x3fan || value >> 120n === 0xffn : value >> 24n === 127n;
  return isEveryones ? [] : [{ family, value, length }];
}

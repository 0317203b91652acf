import { isIPv4, isIPv6 } from "node:net";
import { refusal } from "../failure/failure.js";

export type Family = 4 | 6;

export interface IpAddress {
  family: Family;
  value: bigint;
}

/** A range of addresses that begin alike. */
export interface Subnet extends IpAddress {
  /** How many bits are the same. */
  length: number;
}

export function bitsOf(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** Undefined for what is no address; one with a zone (`fe80::1%eth0`) is none. */
export function parseAddress(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, value: ofParts(text.split(".").map(BigInt), 8n) };
  if (!isIPv6(text) || text.includes("%")) return undefined;
  // An IPv4 address at the end stands for two groups.
  const plain = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes) => {
    const [a, b, c, d] = bytes.slice(0, 4).map(Number) as [number, number, number, number];
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [before, after] = plain.split("::") as [string, string | undefined];
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => BigInt(`0x${group}`)));
  const [first, last] = [groups(before), groups(after ?? "")];
  const none = new Array<bigint>(8 - first.length - last.length).fill(0n);
  return { family: 6, value: ofParts([...first, ...none, ...last], 16n) };
}

function ofParts(parts: readonly bigint[], bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | part, 0n);
}

/** In the form that RFC 5952 recommends. */
export function addressText({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join(".");
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  let [from, count] = [0, 1];
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === "0") end++;
    if (end - start > count) [from, count] = [start, end - start];
  }
  if (count < 2) return groups.join(":");
  return `${groups.slice(0, from).join(":")}::${groups.slice(from + count).join(":")}`;
}

/** @returns one with the address as it is given; undefined for what is none */
export function parseSubnet(text: string): Subnet | undefined {
  const [, address = "", digits = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const parsed = parseAddress(address);
  const length = Number(digits);
  return parsed === undefined || length > bitsOf(parsed.family) ? undefined : { ...parsed, length };
}

export function subnetText(subnet: Subnet): string {
  return `${addressText(subnet)}/${subnet.length}`;
}

export function firstOf({ family, value, length }: Subnet): bigint {
  const rest = BigInt(bitsOf(family) - length);
  return (value >> rest) << rest;
}

export function lastOf(subnet: Subnet): bigint {
  return firstOf(subnet) + (1n << BigInt(bitsOf(subnet.family) - subnet.length)) - 1n;
}

export function isWithin(address: IpAddress, subnet: Subnet): boolean {
  return address.family === subnet.family && firstOf(subnet) <= address.value && address.value <= lastOf(subnet);
}

export function overlap(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && firstOf(a) <= lastOf(b) && firstOf(b) <= lastOf(a);
}

/**
 * @param what names it in the error
 * @throws Failure (invalid-argument) for what is no address of this family
 */
export function requireAddress(what: string, text: string, family: Family): IpAddress {
  const address = parseAddress(text);
  if (address?.family !== family)
    throw refusal(`${what} ${JSON.stringify(text.slice(0, 100))}: no IPv${family} address`);
  return address;
}

/** As {@link requireAddress}, of a subnet, in which no bits are set but those that all its addresses have. */
export function requireSubnet(what: string, text: string, family: Family): Subnet {
  const subnet = parseSubnet(text);
  const example = family === 4 ? "10.1.0.0/16" : "fd00:1::/64";
  if (subnet?.family !== family)
    throw refusal(`${what} ${JSON.stringify(text.slice(0, 100))}: it must be an IPv${family} subnet, like ${example}`);
  if (firstOf(subnet) !== subnet.value) {
    const meant = subnetText({ ...subnet, value: firstOf(subnet) });
    throw refusal(
      `${what} ${JSON.stringify(text)}: it has bits after the first ${subnet.length}: ${meant} may be meant`,
    );
  }
  return subnet;
}

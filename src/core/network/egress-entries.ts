import { BlockList, isIP, isIPv4 } from "node:net";
import type { AllowedName } from "../../contract/netd/messages.js";
import { refusal } from "../failure/failure.js";

/** Addresses that a container with `egress` may reach. */
export interface AllowedAddresses {
  family: 4 | 6;
  address: string;
  /** Of {@link address}; 32 or 128 is that one alone. */
  prefix: number;
  /** Of TCP and UDP; 0: all ports. */
  port: number;
}

/** What a container with `egress` may reach. */
export interface Egress {
  names: AllowedName[];
  addresses: AllowedAddresses[];
}

const MOST_ENTRIES = 200;
/** In characters, of all together: they go in one packet, and into rules. */
const LONGEST_ENTRIES = 8192;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const LONGEST_NAME = 253;

/**
 * `NAME`, `*.NAME` (all below it), an address, or a range of addresses (`10.0.0.0/8`), and behind it `:PORT`; without that, or with `:*`,
 * all ports. IPv6 with a port is in brackets: `[2001:db8::1]:443`, `[2001:db8::/32]:443`.
 *
 * @throws Failure (invalid-argument) that quotes the entry that is none
 */
export function parseEgress(entries: readonly string[]): Egress {
  if (entries.length > MOST_ENTRIES) throw refusal(`egress: ${entries.length} entries: ${MOST_ENTRIES} are the most`);
  if (entries.reduce((length, entry) => length + entry.length, 0) > LONGEST_ENTRIES)
    throw refusal(`egress: its entries have more than ${LONGEST_ENTRIES} characters together`);
  const egress: Egress = { names: [], addresses: [] };
  for (const entry of entries) {
    const { host, port } = splitEntry(entry);
    const addresses = addressesOf(entry, host);
    if (addresses !== undefined) egress.addresses.push({ ...addresses, port });
    else egress.names.push({ ...nameOf(entry, host), port });
  }
  return egress;
}

function splitEntry(entry: string): { host: string; port: number } {
  if (entry.includes("://")) throw bad(entry, "that is a URL, not a name");
  const bracketed = /^\[([^[\]]*)\](?::(.*))?$/s.exec(entry);
  if (bracketed !== null) {
    const [, host = "", port] = bracketed;
    if (isIP(host.split("/")[0]!) !== 6) throw bad(entry, "what is in brackets is no IPv6 address");
    return { host, port: portOf(entry, port) };
  }
  const parts = entry.split(":");
  // More than one colon: an IPv6 address without a port.
  if (parts.length > 2) return { host: entry, port: 0 };
  return { host: parts[0]!, port: portOf(entry, parts[1]) };
}

function portOf(entry: string, text: string | undefined): number {
  if (text === undefined || text === "*") return 0;
  const port = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || port < 1 || port > 65_535) throw bad(entry, "the port has to be 1 to 65535, or *");
  return port;
}

/** Undefined for what is to be a name. */
function addressesOf(entry: string, host: string): Omit<AllowedAddresses, "port"> | undefined {
  const [address = "", prefix, ...more] = host.split("/");
  const version = isIP(address);
  if (version === 0 || address.includes("%")) {
    if (host.includes("/")) throw bad(entry, "what is before the slash is no address");
    if (host.includes(":")) throw bad(entry, "IPv6 with a port is [ADDRESS]:PORT");
    if (/^[0-9.]+$/.test(host)) throw bad(entry, "that is no IPv4 address");
    return undefined;
  }
  const family = version === 4 ? 4 : 6;
  const longest = family === 4 ? 32 : 128;
  const length = prefix === undefined ? longest : Number(prefix);
  if (more.length > 0 || (prefix !== undefined && !/^[0-9]{1,3}$/.test(prefix)) || length > longest)
    throw bad(entry, `the length of the prefix has to be 0 to ${longest}`);
  if (isMapped(address)) throw bad(entry, "an IPv4 address is written as one");
  return { family, address, prefix: length };
}

function nameOf(entry: string, host: string): { name: string; below: boolean } {
  const below = host.startsWith("*.");
  const name = (below ? host.slice(2) : host).replace(/\.$/, "").toLowerCase();
  if (entry === "*") throw bad(entry, "leave egress out to allow everything");
  if (/[^\0-\x7f]/.test(name)) throw bad(entry, "the name has to be in its ASCII form (xn--…)");
  if (name === "" || name.length > LONGEST_NAME || !name.split(".").every((label) => LABEL.test(label)))
    throw bad(
      entry,
      "it has to be NAME, NAME:PORT, *.NAME, *.NAME:PORT, an address or a range of addresses (10.0.0.0/8:5432)",
    );
  return { name, below };
}

function isMapped(address: string): boolean {
  if (isIPv4(address)) return false;
  const mapped = new BlockList();
  mapped.addSubnet("::ffff:0:0", 96, "ipv6");
  return mapped.check(address, "ipv6");
}

function bad(entry: string, why: string): Error {
  return refusal(`egress ${JSON.stringify(entry.slice(0, 300))}: ${why}`);
}

/**
 * The rules of containers with `egress`, in the syntax of nft. They are the host's, so that nothing in a container's network namespace
 * changes them, and judge what comes from a container by its address:
 *
 * - The bridge takes from the container's device only frames with the container's own MAC and addresses, so that the address can be
 *   believed, and hands none of them to another device of the bridge: all that it sends goes through the host.
 * - There, on its way to somewhere else as well as to the host itself, it goes through a chain of the container's: connections that were
 *   let through once go on, new ones have to be to an address that was named, or that is in the container's sets, where netd puts the
 *   addresses of names that were asked for. Anything else is refused, and written down in a set.
 *
 * Chain and sets are each container's own: its grants, and the list of what it has tried, go with it in the same step. The base chains come
 * before all others of ours, and what they let through goes on to those.
 */
import { createHash } from "node:crypto";
import { hostSet, portSet } from "../../contract/netd/egress.js";
import type { NetdEgress } from "../../contract/netd/messages.js";
import { type AllowedAddresses, parseEgress } from "./egress-entries.js";
import type { ContainerName, ContainerRules, Endpoint } from "./network.js";

type Family = 4 | 6;

/** How many addresses a container's names may have at a time. */
const MOST_GRANTS = 4096;
/** How many different ones are written down of what a container has tried, and for how long. */
const MOST_TRIED = 1000;
export const TRIED_SECONDS = 3600;

/**
 * Addresses that no name opens, because they are no one's outside: loopback, link-local ones and others where clouds tell machines their
 * secrets, IPv4 in the clothes of IPv6, multicast.
 */
const NEVER_BY_NAME: Record<Family, readonly string[]> = {
  4: [
    ...["0.0.0.0/8", "100.100.100.200", "127.0.0.0/8", "168.63.129.16", "169.254.0.0/16", "192.0.0.192"],
    "224.0.0.0/3",
  ],
  6: ["::/127", "::ffff:0:0/96", "64:ff9b::/96", "fd00:ec2::254", "fe80::/10", "ff00::/8"],
};

/** What holds of a packet of an address that was not named itself: it is not the host's, nor another container's. */
function elsewhere(family: Family): string {
  return `${ip(family)} daddr != @egress_never${family} oifname != "ctd-*" fib daddr type unicast`;
}

/** What is there whoever is there: commands that a transaction begins with. @param table its name, of both families */
export function egressDeclarations(table: string): string {
  return [
    `add table inet ${table}`,
    `add map inet ${table} egress4 { type ipv4_addr : verdict; }`,
    `add map inet ${table} egress6 { type ipv6_addr : verdict; }`,
    `add set inet ${table} egress_never4 { type ipv4_addr; flags interval; elements = { ${NEVER_BY_NAME[4].join(", ")} } }`,
    `add set inet ${table} egress_never6 { type ipv6_addr; flags interval; elements = { ${NEVER_BY_NAME[6].join(", ")} } }`,
    `add chain inet ${table} egress_refuse`,
    `add rule inet ${table} egress_refuse meta l4proto tcp reject with tcp reset`,
    `add rule inet ${table} egress_refuse reject with icmpx admin-prohibited`,
    ...["forward", "input"].flatMap((hook) => [
      `add chain inet ${table} egress_${hook} { type filter hook ${hook} priority -10; policy accept; }`,
      `add rule inet ${table} egress_${hook} ip saddr vmap @egress4`,
      `add rule inet ${table} egress_${hook} ip6 saddr vmap @egress6`,
    ]),
    ...bridgeDeclarations(table),
  ].join("\n");
}

function bridgeDeclarations(table: string): string[] {
  const rule = (text: string) => `add rule bridge ${table} egress_source ${text}`;
  const discovery = "ether type ip6 ip6 hoplimit 255 icmpv6 type";
  return [
    `add table bridge ${table}`,
    `add set bridge ${table} egress_ports { type ifname; }`,
    `add set bridge ${table} egress_sources4 { typeof iifname . ether saddr . ip saddr; }`,
    `add set bridge ${table} egress_sources6 { typeof iifname . ether saddr . ip6 saddr; }`,
    `add set bridge ${table} egress_neighbours6 { typeof iifname . ether saddr . @th,64,128; }`,
    `add set bridge ${table} egress_devices6 { typeof iifname . ether saddr; }`,
    `add chain bridge ${table} egress_source`,
    // Who has the address is told by the MAC of the frame, and by that in the answer.
    rule(
      "ether type arp iifname . ether saddr . arp saddr ip @egress_sources4 " +
        "iifname . arp saddr ether . arp saddr ip @egress_sources4 accept",
    ),
    rule("ether type ip iifname . ether saddr . ip saddr @egress_sources4 accept"),
    // The target of an advertisement, which the host keeps in mind, is the container's own address.
    rule(`${discovery} nd-neighbor-advert iifname . ether saddr . @th,64,128 @egress_neighbours6 accept`),
    rule(`${discovery} nd-neighbor-advert @th,64,16 0xfe80 iifname . ether saddr @egress_devices6 accept`),
    rule("ether type ip6 icmpv6 type nd-neighbor-advert drop"),
    rule("ether type ip6 iifname . ether saddr . ip6 saddr @egress_sources6 accept"),
    // From an address that it has not got yet, and from the one that each device has for itself.
    rule(`ip6 saddr { ::, fe80::/10 } ${discovery} nd-neighbor-solicit iifname . ether saddr @egress_devices6 accept`),
    rule("drop"),
    // Frames to some multicast addresses come to the host without prerouting; the bridge would learn from their sender's MAC.
    ...["prerouting", "input"].flatMap((hook) => [
      `add chain bridge ${table} egress_${hook} { type filter hook ${hook} priority -300; policy accept; }`,
      `add rule bridge ${table} egress_${hook} iifname @egress_ports goto egress_source`,
    ]),
    `add chain bridge ${table} egress_forward { type filter hook forward priority -300; policy accept; }`,
    `add rule bridge ${table} egress_forward iifname @egress_ports drop`,
    `add rule bridge ${table} egress_forward oifname @egress_ports drop`,
  ];
}

/**
 * The commands that add a container to the tables, where it is not yet; "" for one without `egress`.
 * @throws Failure (invalid-argument) for entries that are none
 */
export function egressOpen(table: string, container: ContainerName, { endpoints, egress }: ContainerRules): string {
  if (egress === undefined) return "";
  const prefix = egressPrefix(container);
  const { addresses } = parseEgress(egress);
  const rule = (text: string) => `add rule inet ${table} ${prefix} ${text}`;
  const writeDown = (family: Family, protocols: string, port: string) => {
    const what = `${ip(family)} daddr . meta l4proto . ${port} counter`;
    const update = `update @${triedSet(prefix, family)} { ${what} }`;
    return rule(`meta nfproto ipv${family} meta l4proto ${protocols} ${update} goto egress_refuse`);
  };
  const tell = (family: Family) => [
    writeDown(family, "{ tcp, udp }", "th dport"),
    writeDown(family, "!= { tcp, udp }", "0"),
  ];
  return [
    ...egressFamilies(endpoints).flatMap((family) => [
      `add set inet ${table} ${portSet(prefix, family)} { type ${type(family)} . inet_service; flags timeout; ` +
        `size ${MOST_GRANTS}; }`,
      `add set inet ${table} ${hostSet(prefix, family)} { type ${type(family)}; flags timeout; size ${MOST_GRANTS}; }`,
      `add set inet ${table} ${triedSet(prefix, family)} { type ${type(family)} . inet_proto . inet_service; flags dynamic,timeout; ` +
        `timeout ${TRIED_SECONDS}s; size ${MOST_TRIED}; counter; }`,
    ]),
    `add counter inet ${table} ${untoldCounter(prefix)}`,
    `add chain inet ${table} ${prefix}`,
    rule("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept"),
    rule("ct state vmap { established : accept, invalid : drop }"),
    ...addresses.map((named) => rule(toNamed(named))),
    ...egressFamilies(endpoints).flatMap((family) => [
      rule(
        `meta l4proto { tcp, udp } ${ip(family)} daddr . th dport @${portSet(prefix, family)} ${elsewhere(family)} accept`,
      ),
      rule(
        `meta l4proto { tcp, udp, ${ping(family)} } ${ip(family)} daddr @${hostSet(prefix, family)} ${elsewhere(family)} accept`,
      ),
    ]),
    ...egressFamilies(endpoints).flatMap(tell),
    rule(`counter name "${untoldCounter(prefix)}" goto egress_refuse`),
    ...elements(table, "add", prefix, endpoints),
  ].join("\n");
}

/** The commands that take away what {@link egressOpen} has added for the same. */
export function egressClose(table: string, container: ContainerName, { endpoints, egress }: ContainerRules): string {
  if (egress === undefined) return "";
  const prefix = egressPrefix(container);
  return [
    ...elements(table, "delete", prefix, endpoints),
    `flush chain inet ${table} ${prefix}`,
    `delete chain inet ${table} ${prefix}`,
    `delete counter inet ${table} ${untoldCounter(prefix)}`,
    ...egressFamilies(endpoints).flatMap((family) =>
      [portSet, hostSet, triedSet].map((nameOf) => `delete set inet ${table} ${nameOf(prefix, family)}`),
    ),
  ].join("\n");
}

/** What netd has to know of a container with `egress`. @throws Failure (invalid-argument) */
export function netdEgress(
  table: string,
  container: ContainerName,
  egress: readonly string[],
  endpoints: readonly Pick<Endpoint, "address" | "address6">[],
): NetdEgress {
  const addresses = endpoints.flatMap(({ address, address6 }) => [address, address6].filter((text) => text !== ""));
  return { table, prefix: egressPrefix(container), names: parseEgress(egress).names, addresses };
}

/** What the container's chain is called, and its sets begin with. */
export function egressPrefix({ namespace, container }: ContainerName): string {
  return `egress-${createHash("sha256").update(`${namespace}\0${container}`).digest("hex").slice(0, 16)}`;
}

/** The set of what was tried. */
export function triedSet(prefix: string, family: Family): string {
  return `${prefix}-tried${family}`;
}

/** Counts what there was no room for in {@link triedSet}. */
export function untoldCounter(prefix: string): string {
  return `${prefix}-untold`;
}

/** Addresses that were named. A single one may be the host's, too; of a range only what is elsewhere is meant. */
function toNamed({ family, address, prefix, port }: AllowedAddresses): string {
  const isSingle = prefix === (family === 4 ? 32 : 128);
  const protocols = port === 0 ? `{ tcp, udp, ${ping(family)} }` : "{ tcp, udp }";
  if (isSingle) {
    // As the container has addressed it: a port that the host publishes is a container's by now.
    const toPort = port === 0 ? "" : ` ct original proto-dst ${port}`;
    return `meta l4proto ${protocols} ct original ${ip(family)} daddr ${address}${toPort} accept`;
  }
  const toPort = port === 0 ? "" : ` th dport ${port}`;
  return `meta l4proto ${protocols} ${ip(family)} daddr ${address}/${prefix}${toPort} ${elsewhere(family)} accept`;
}

/** Which device, MAC and address are the container's. */
function elements(table: string, command: "add" | "delete", prefix: string, endpoints: readonly Endpoint[]): string[] {
  return endpoints.flatMap(({ device, mac, address, address6 }) => {
    const inBridge = (set: string, key: string) => `${command} element bridge ${table} ${set} { ${key} }`;
    const inMap = (family: Family, key: string) =>
      `${command} element inet ${table} egress${family} { ${key}${command === "add" ? ` : goto ${prefix}` : ""} }`;
    const source = `"${device}" . ${mac}`;
    return [
      ...(address === "" ? [] : [inMap(4, address), inBridge("egress_sources4", `${source} . ${address}`)]),
      ...(address6 === ""
        ? []
        : [
            inMap(6, address6),
            inBridge("egress_sources6", `${source} . ${address6}`),
            inBridge("egress_neighbours6", `${source} . 0x${hexadecimal(address6)}`),
            inBridge("egress_devices6", source),
          ]),
      inBridge("egress_ports", `"${device}"`),
    ];
  });
}

/** Those that a container has addresses of, and so sets. */
export function egressFamilies(endpoints: readonly Endpoint[]): Family[] {
  return [
    ...(endpoints.some(({ address }) => address !== "") ? [4 as const] : []),
    ...(endpoints.some(({ address6 }) => address6 !== "") ? [6 as const] : []),
  ];
}

function ip(family: Family): string {
  return family === 4 ? "ip" : "ip6";
}

function type(family: Family): string {
  return family === 4 ? "ipv4_addr" : "ipv6_addr";
}

function ping(family: Family): string {
  return family === 4 ? "icmp" : "ipv6-icmp";
}

/** The 32 digits of an IPv6 address. */
function hexadecimal(address6: string): string {
  const groups = (text: string) => (text === "" ? [] : text.split(":"));
  const [head = "", tail] = address6.split("::");
  const before = groups(head);
  const after = groups(tail ?? "");
  const between = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...between, ...after].map((group) => group.padStart(4, "0")).join("");
}

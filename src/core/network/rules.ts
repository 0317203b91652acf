import { isBridgeName } from "./device-names.js";
import { egressClose, egressDeclarations, egressOpen } from "./egress-rules.js";
import { addressText, firstOf, parseAddress, parseSubnet, subnetText } from "./ip-address.js";
import type { ContainerName, ContainerRules, Network, Publication } from "./network.js";

/**
 * Our tables as text of nft(8). The rules are the same whoever is there; networks and containers are elements of sets and maps, so that a
 * start adds elements only, and nothing gets slower with the number of containers.
 */

/** Something in a set or map of our table. */
export interface Element {
  set: string;
  /** `tcp . 8080` */
  key: string;
  /** Of a map: `10.1.0.2 . 80` */
  value?: string | undefined;
}

/** What one network, or one container, has in our tables. */
export interface Part {
  elements: readonly Element[];
  /** Commands besides, that bring and take what belongs to nobody else. */
  opening: string;
  closing: string;
}

/** What our tables on a host are called. @param identity of the daemon (core/metadata/identity.ts) */
export function tableName(identity: string): string {
  return `containerd-ts-${identity.replaceAll("-", "").slice(0, 8)}`;
}

/**
 * Sets: bridges of ours; those without a way out; pairs of the same bridge twice, whose containers may reach each other; which addresses
 * are on a bridge; whose addresses are hidden behind the host's. Maps: published ports, on one address of the host and on all.
 */
const SETS = {
  bridges: "type ifname;",
  internal: "type ifname;",
  together: "type ifname . ifname;",
  own4: "type ifname . ipv4_addr; flags interval;",
  own6: "type ifname . ipv6_addr; flags interval;",
  outward4: "type ipv4_addr; flags interval;",
  outward6: "type ipv6_addr; flags interval;",
};
const MAPS = {
  ports4: "type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service;",
  ports6: "type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service;",
  anyports4: "type inet_proto . inet_service : ipv4_addr . inet_service;",
  anyports6: "type inet_proto . inet_service : ipv6_addr . inet_service;",
};

const CHAINS: Record<string, { hook?: string; rules: readonly string[] }> = {
  published: {
    rules: [
      "meta nfproto ipv4 dnat ip to meta l4proto . ip daddr . th dport map @ports4",
      "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @anyports4",
      // The kernel routes nothing from ::1 to another device.
      "ip6 daddr ::1 return",
      "meta nfproto ipv6 dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports6",
      "meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @anyports6",
    ],
  },
  // At once: of the messages of ICMP the kernel sends only so many.
  refuse: { rules: ["meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"] },
  // What a container sends.
  from: {
    rules: [
      "ct state established,related accept",
      // What belongs to no connection is not masqueraded: it would leave with the container's own address.
      "ct state invalid drop",
      "iifname . oifname @together accept",
      // An address that is not of its network.
      "meta nfproto ipv4 iifname . ip saddr != @own4 drop",
      "meta nfproto ipv6 iifname . ip6 saddr != @own6 drop",
      "iifname @internal goto refuse",
      "oifname @internal goto refuse",
      "ct status dnat accept",
      "oifname @bridges goto refuse",
      "accept",
    ],
  },
  // What others send to a container: through published ports only.
  to: {
    rules: ["ct state established,related accept", "oifname @internal drop", "ct status dnat accept", "drop"],
  },
  raw: {
    hook: "type filter hook prerouting priority raw",
    // Of bridges, 127.0.0.0/8 is let in by a sysctl, for answers to the host itself: these still have the bridge's address here.
    rules: ["iifname @bridges ip daddr 127.0.0.0/8 drop"],
  },
  prerouting: { hook: "type nat hook prerouting priority dstnat", rules: ["fib daddr type local jump published"] },
  output: { hook: "type nat hook output priority -100", rules: ["fib daddr type local jump published"] },
  postrouting: {
    hook: "type nat hook postrouting priority srcnat",
    rules: [
      // What refuses a connection, which has been let in by no rule yet: it is as it came.
      "ct direction reply return",
      // The host itself, by an address that means another one inside, or that a container without a way out does not know the way to.
      "oifname @bridges ip saddr 127.0.0.0/8 masquerade",
      "oifname @internal ct status dnat masquerade",
      // A container that reaches one on its own bridge by a published port: the answer has to come back the same way.
      "ct status dnat oifname . ip saddr @own4 masquerade",
      "ct status dnat oifname . ip6 saddr @own6 masquerade",
      'oifname "lo" return',
      "oifname @bridges return",
      "ip saddr @outward4 masquerade",
      "ip6 saddr @outward6 masquerade",
    ],
  },
  forward: {
    hook: "type filter hook forward priority filter",
    rules: ["iifname @bridges jump from", "oifname @bridges jump to"],
  },
};

/** Takes our tables away, fine when there are none. */
export function removalText(table: string): string {
  return ["inet", "bridge"].map((family) => `add table ${family} ${table}\ndelete table ${family} ${table}\n`).join("");
}

/** Our tables as they are to be, in place of whatever is there of that name. */
export function wholeText(table: string, parts: Iterable<Part>): string {
  const of = `inet ${table}`;
  const lines = [`add table ${of}`];
  for (const [name, type] of Object.entries(SETS)) lines.push(`add set ${of} ${name} { ${type} }`);
  for (const [name, type] of Object.entries(MAPS)) lines.push(`add map ${of} ${name} { ${type} }`);
  for (const [name, { hook }] of Object.entries(CHAINS)) {
    lines.push(`add chain ${of} ${name}${hook === undefined ? "" : ` { ${hook}; policy accept; }`}`);
  }
  for (const [name, { rules }] of Object.entries(CHAINS)) {
    for (const rule of rules) lines.push(`add rule ${of} ${name} ${rule}`);
  }
  const all = [...parts];
  const elements = elementLines(
    "add",
    table,
    all.flatMap((part) => part.elements),
  );
  const openings = all.map(({ opening }) => opening).filter(Boolean);
  // What there is of egress costs each packet something, and needs more of the kernel.
  if (openings.length > 0) lines.push(egressDeclarations(table));
  return [removalText(table).trimEnd(), ...lines, ...elements, ...openings, ""].join("\n");
}

/** What is to be done so that some parts become others; "" is nothing. */
export function changeText(table: string, before: readonly Part[], after: readonly Part[]): string {
  const idOf = ({ set, key, value = "" }: Element) => `${set} ${key} ${value}`;
  const known = new Set(before.flatMap(({ elements }) => elements.map(idOf)));
  const wanted = new Set(after.flatMap(({ elements }) => elements.map(idOf)));
  const gone = before.flatMap(({ elements }) => elements.filter((element) => !wanted.has(idOf(element))));
  const come = after.flatMap(({ elements }) => elements.filter((element) => !known.has(idOf(element))));
  const isOpen = new Set(before.map(({ opening }) => opening));
  const staysOpen = new Set(after.map(({ opening }) => opening));
  const lines = [
    ...before.filter(({ opening }) => opening !== "" && !staysOpen.has(opening)).map(({ closing }) => closing),
    ...elementLines("delete", table, gone),
    ...elementLines("add", table, come),
    ...after.filter(({ opening }) => opening !== "" && !isOpen.has(opening)).map(({ opening }) => opening),
  ].filter((line) => line !== "");
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

function elementLines(verb: "add" | "delete", table: string, elements: readonly Element[]): string[] {
  const bySet = new Map<string, string[]>();
  for (const { set, key, value } of elements) {
    const texts = bySet.get(set) ?? [];
    texts.push(verb === "add" && value !== undefined ? `${key} : ${value}` : key);
    bySet.set(set, texts);
  }
  return [...bySet].map(([set, texts]) => `${verb} element inet ${table} ${set} { ${[...new Set(texts)].join(", ")} }`);
}

/** @throws Error for a network that is none of ours, or has no subnet: nothing of it is put into a text unread */
export function networkPart({ bridge, subnet, subnet6, internal, isolated }: Network): Part {
  if (!isBridgeName(bridge)) throw new Error(`invalid name of a bridge: ${JSON.stringify(bridge)}`);
  const name = `"${bridge}"`;
  const elements: Element[] = [{ set: "bridges", key: name }];
  if (internal) elements.push({ set: "internal", key: name });
  if (!isolated) elements.push({ set: "together", key: `${name} . ${name}` });
  for (const [family, text] of [
    [4, subnet],
    [6, subnet6],
  ] as const) {
    if (text === "") continue;
    const parsed = parseSubnet(text);
    if (parsed?.family !== family) throw new Error(`invalid subnet: ${JSON.stringify(text)}`);
    const range = subnetText({ ...parsed, value: firstOf(parsed) });
    elements.push({ set: `own${family}`, key: `${name} . ${range}` });
    if (!internal) elements.push({ set: `outward${family}`, key: range });
  }
  return { elements, opening: "", closing: "" };
}

/** @throws Error for what is no address, port or protocol, as {@link networkPart} */
export function containerPart(table: string, container: ContainerName, rules: ContainerRules): Part {
  return {
    elements: rules.publications.map(publicationElement),
    opening: egressOpen(table, container, rules),
    closing: egressClose(table, container, rules),
  };
}

function publicationElement(publication: Publication): Element {
  const { protocol, hostAddress, hostPort, address, containerPort } = publication;
  const [from, to] = [parseAddress(hostAddress), parseAddress(address)];
  const isPort = (port: number) => Number.isInteger(port) && port > 0 && port < 65_536;
  const isValid = from !== undefined && from.family === to?.family && isPort(hostPort) && isPort(containerPort);
  if (!isValid || (protocol !== "tcp" && protocol !== "udp"))
    throw new Error(`invalid publication: ${JSON.stringify(publication)}`);
  const value = `${addressText(to)} . ${containerPort}`;
  if (from.value === 0n) return { set: `anyports${from.family}`, key: `${protocol} . ${hostPort}`, value };
  return { set: `ports${from.family}`, key: `${protocol} . ${addressText(from)} . ${hostPort}`, value };
}

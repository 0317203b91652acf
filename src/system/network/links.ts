import {
  attribute,
  byteAttribute,
  decodeAttributes,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  nestedAttribute,
  textAttribute,
  textOf,
  wordAttribute,
} from "./netlink-message.js";
import type { NetlinkSocket } from "./netlink-socket.js";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_AF_SPEC = 26;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const VETH_INFO_PEER = 1;
const IFLA_BR_FORWARD_DELAY = 1;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_ISOLATED = 33;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
/** Of {@link IFLA_EXT_MASK}: no statistics. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3;
const AF_INET6 = 10;
const IFF_UP = 1;

/** A network device. */
export interface Link {
  index: number;
  name: string;
  /** What somebody has written to it, to know it by; "" is nothing. */
  alias: string;
  /** "bridge", "veth", …; "" of hardware. */
  kind: string;
  /** The index of the bridge that it is a port of; 0 is none. */
  master: number;
  /** In bytes. */
  mtu: number;
  /** 6 bytes. */
  mac: Buffer;
  isUp: boolean;
}

/** struct ifinfomsg */
function linkHeader({ index = 0, flags = 0, change = 0 }: { index?: number; flags?: number; change?: number }): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

/** A bridge, which is down. Refused with EEXIST when there is a device of this name. */
export function makeBridge({ name, mac, mtu }: { name: string; mac: Buffer; mtu: number }): NetlinkMessage {
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: Buffer.concat([
      linkHeader({}),
      textAttribute(IFLA_IFNAME, name),
      attribute(IFLA_ADDRESS, mac),
      wordAttribute(IFLA_MTU, mtu),
      nestedAttribute(
        IFLA_LINKINFO,
        textAttribute(IFLA_INFO_KIND, "bridge"),
        // A new port forwards at once: there are no loops to be looked for.
        nestedAttribute(IFLA_INFO_DATA, wordAttribute(IFLA_BR_FORWARD_DELAY, 0)),
      ),
    ]),
  };
}

/**
 * A pair of devices, both down: one in the socket's namespace, the other one in another. Refused with EEXIST when there is a device of
 * one of the names.
 * @param inside.namespace a descriptor
 */
export function makePair(
  name: string,
  mtu: number,
  inside: { name: string; mac: Buffer; namespace: number },
): NetlinkMessage {
  const peer = [
    linkHeader({}),
    textAttribute(IFLA_IFNAME, inside.name),
    attribute(IFLA_ADDRESS, inside.mac),
    wordAttribute(IFLA_MTU, mtu),
    wordAttribute(IFLA_NET_NS_FD, inside.namespace),
  ];
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: Buffer.concat([
      linkHeader({}),
      textAttribute(IFLA_IFNAME, name),
      wordAttribute(IFLA_MTU, mtu),
      nestedAttribute(
        IFLA_LINKINFO,
        textAttribute(IFLA_INFO_KIND, "veth"),
        nestedAttribute(IFLA_INFO_DATA, nestedAttribute(VETH_INFO_PEER, ...peer)),
      ),
    ]),
  };
}

export interface LinkChange {
  alias?: string;
  /** The index of the bridge that it becomes a port of. */
  master?: number;
  isUp?: boolean;
  /** Whether it makes no IPv6 address for itself. */
  withoutOwnAddress?: boolean;
}

/** Changes a device. Refused with ENODEV when there is none. @param which its name or index */
export function changeLink(which: string | number, change: LinkChange): NetlinkMessage {
  const { alias, master, isUp, withoutOwnAddress } = change;
  const index = typeof which === "number" ? which : 0;
  const flags = isUp === undefined ? {} : { flags: isUp ? IFF_UP : 0, change: IFF_UP };
  const attributes = [linkHeader({ index, ...flags })];
  if (typeof which === "string") attributes.push(textAttribute(IFLA_IFNAME, which));
  if (alias !== undefined) attributes.push(attribute(IFLA_IFALIAS, Buffer.from(alias)));
  if (master !== undefined) attributes.push(wordAttribute(IFLA_MASTER, master));
  if (withoutOwnAddress) {
    const mode = byteAttribute(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    attributes.push(nestedAttribute(IFLA_AF_SPEC, nestedAttribute(AF_INET6, mode)));
  }
  return { type: RTM_NEWLINK, flags: 0, body: Buffer.concat(attributes) };
}

/** Changes a port of a bridge. @param port.isolated whether it reaches other isolated ports @param port.hairpin whether itself */
export function changePort(
  name: string,
  { isolated, hairpin }: { isolated: boolean; hairpin: boolean },
): NetlinkMessage {
  return {
    type: RTM_NEWLINK,
    flags: 0,
    body: Buffer.concat([
      linkHeader({}),
      textAttribute(IFLA_IFNAME, name),
      nestedAttribute(
        IFLA_LINKINFO,
        textAttribute(IFLA_INFO_SLAVE_KIND, "bridge"),
        nestedAttribute(
          IFLA_INFO_SLAVE_DATA,
          byteAttribute(IFLA_BRPORT_MODE, Number(hairpin)),
          byteAttribute(IFLA_BRPORT_ISOLATED, Number(isolated)),
        ),
      ),
    ]),
  };
}

/** Removes a device, of a pair both. Refused with ENODEV when there is none. */
export function removeLink(index: number): NetlinkMessage {
  return { type: RTM_DELLINK, flags: 0, body: linkHeader({ index }) };
}

/** The device of a name; undefined when there is none. @throws NetlinkError, a system error */
export async function findLink(socket: NetlinkSocket, name: string): Promise<Link | undefined> {
  const body = Buffer.concat([
    linkHeader({}),
    textAttribute(IFLA_IFNAME, name),
    wordAttribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
  ]);
  try {
    const answer = await socket.ask({ type: RTM_GETLINK, flags: 0, body });
    return answer === undefined ? undefined : decodeLink(answer.body);
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENODEV") return undefined;
    throw error;
  }
}

/** @throws NetlinkError, a system error */
export async function listLinks(socket: NetlinkSocket): Promise<Link[]> {
  const body = Buffer.concat([linkHeader({}), wordAttribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)]);
  const answers = await socket.dump({ type: RTM_GETLINK, flags: 0, body });
  return answers.filter(({ type }) => type === RTM_NEWLINK).map(({ body }) => decodeLink(body));
}

export function decodeLink(body: Buffer): Link {
  const attributes = decodeAttributes(body.subarray(16));
  const info = decodeAttributes(attributes.get(IFLA_LINKINFO) ?? Buffer.alloc(0));
  return {
    index: body.readInt32LE(4),
    name: textOf(attributes.get(IFLA_IFNAME)),
    alias: textOf(attributes.get(IFLA_IFALIAS)),
    kind: textOf(info.get(IFLA_INFO_KIND)),
    master: attributes.get(IFLA_MASTER)?.readUInt32LE(0) ?? 0,
    mtu: attributes.get(IFLA_MTU)?.readUInt32LE(0) ?? 0,
    mac: Buffer.from(attributes.get(IFLA_ADDRESS) ?? []),
    isUp: (body.readUInt32LE(8) & IFF_UP) !== 0,
  };
}

import {
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  wordAttribute,
} from "./netlink-message.js";
import type { NetlinkSocket } from "./netlink-socket.js";

const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 2;
const RTM_NEWROUTE = 24;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RTN_UNICAST = 1;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const AF_INET = 2;
const AF_INET6 = 10;

/** An address as its 4 or 16 bytes, with the length of the prefix that all on its link have. */
export interface InterfaceAddress {
  address: Buffer;
  length: number;
  /** Of IPv4. */
  broadcast?: Buffer | undefined;
}

const familyOf = (address: Buffer) => (address.length === 4 ? AF_INET : AF_INET6);

/** Gives a device an address, which can be used at once: nobody is asked whether he has it. Refused with EEXIST when it has it. */
export function addAddress(index: number, address: InterfaceAddress): NetlinkMessage {
  const attributes = [attribute(IFA_LOCAL, address.address), attribute(IFA_ADDRESS, address.address)];
  if (address.broadcast !== undefined) attributes.push(attribute(IFA_BROADCAST, address.broadcast));
  if (address.address.length === 16) attributes.push(wordAttribute(IFA_FLAGS, IFA_F_NODAD));
  const body = Buffer.concat([addressHeader(index, address), ...attributes]);
  return { type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL, body };
}

/** struct ifaddrmsg */
function addressHeader(index: number, { address, length }: InterfaceAddress): Buffer {
  const header = Buffer.alloc(8);
  header[0] = familyOf(address);
  header[1] = length;
  header.writeUInt32LE(index, 4);
  return header;
}

/** The addresses of all devices. @throws NetlinkError, a system error */
export async function listAddresses(socket: NetlinkSocket): Promise<(InterfaceAddress & { index: number })[]> {
  const answers = await socket.dump({ type: RTM_GETADDR, flags: 0, body: Buffer.alloc(8) });
  return answers.flatMap(({ type, body }) => {
    const attributes = decodeAttributes(body.subarray(8));
    const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
    if (type !== RTM_NEWADDR || address === undefined) return [];
    return [{ index: body.readUInt32LE(4), address: Buffer.from(address), length: body[1]! }];
  });
}

export interface Route {
  /** Undefined: to all that no other route leads to. */
  to?: InterfaceAddress | undefined;
  /** Undefined: they are on the link. */
  gateway?: Buffer | undefined;
}

/** A way to others, by a device. Refused with EEXIST when there is one that is the same but for the device. */
export function addRoute(index: number, route: Route): NetlinkMessage {
  return { type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_EXCL, body: routeBody(index, route) };
}

/** As {@link addRoute}, in place of one that is there. */
export function replaceRoute(index: number, route: Route): NetlinkMessage {
  return { type: RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_REPLACE, body: routeBody(index, route) };
}

function routeBody(index: number, { to, gateway }: Route): Buffer {
  const header = Buffer.alloc(12);
  header[0] = familyOf((to?.address ?? gateway)!);
  header[1] = to?.length ?? 0;
  header[4] = RT_TABLE_MAIN;
  header[5] = RTPROT_STATIC;
  header[6] = gateway === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header[7] = RTN_UNICAST;
  const attributes = [wordAttribute(RTA_OIF, index)];
  if (to !== undefined) attributes.push(attribute(RTA_DST, to.address));
  if (gateway !== undefined) attributes.push(attribute(RTA_GATEWAY, gateway));
  return Buffer.concat([header, ...attributes]);
}

import {
  attribute,
  byteAttribute,
  decodeAttributes,
  type NetlinkMessage,
  nestedAttribute,
  wordAttribute,
} from "./netlink-message.js";
import type { NetlinkSocket } from "./netlink-socket.js";

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_NEW = 0;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
/** Of a filter: the protocol's number and the port that was sent to. */
const BY_DESTINATION_PORT = (1 << 3) | (1 << 5);
const IPPROTO_UDP = 17;
/** struct nfgenmsg */
const HEADER_SIZE = 4;

const FAMILIES = { 4: 2, 6: 10 } as const;

/** Datagrams to and fro that the kernel takes for one conversation, which its rules were asked about once, at the first of them. */
export interface UdpFlow {
  family: 4 | 6;
  /** Whom they are sent to; addresses as their 4 or 16 bytes. */
  destination: Buffer;
  destinationPort: number;
  /** Who answers. */
  answerer: Buffer;
  answererPort: number;
  /** What the kernel knows it by. */
  original: Buffer;
  id: Buffer;
}

/** Those that are sent to a port. @param socket of netfilter @throws NetlinkError, a system error */
export async function udpFlowsTo(socket: NetlinkSocket, family: 4 | 6, port: number): Promise<UdpFlow[]> {
  const portBytes = Buffer.alloc(2);
  portBytes.writeUInt16BE(port, 0);
  // A kernel that knows no filters lists all.
  const body = Buffer.concat([
    Buffer.of(FAMILIES[family], 0, 0, 0),
    nestedAttribute(
      CTA_TUPLE_ORIG,
      nestedAttribute(
        CTA_TUPLE_PROTO,
        byteAttribute(CTA_PROTO_NUM, IPPROTO_UDP),
        attribute(CTA_PROTO_DST_PORT, portBytes),
      ),
    ),
    nestedAttribute(CTA_FILTER, wordAttribute(CTA_FILTER_ORIG_FLAGS, BY_DESTINATION_PORT)),
  ]);
  const answers = await socket.dump({ type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET, flags: 0, body });
  return answers
    .filter(({ type }) => type === ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW))
    .flatMap(({ body }) => decodeFlow(family, body))
    .filter(({ destinationPort }) => destinationPort === port);
}

function decodeFlow(family: 4 | 6, body: Buffer): UdpFlow[] {
  const attributes = decodeAttributes(body.subarray(HEADER_SIZE));
  const [original, reply, id] = [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID].map((type) => attributes.get(type));
  if (original === undefined || reply === undefined || id === undefined) return [];
  const [sent, answered] = [original, reply].map((tuple) => {
    const parts = decodeAttributes(tuple);
    return {
      ip: decodeAttributes(parts.get(CTA_TUPLE_IP) ?? Buffer.alloc(0)),
      protocol: decodeAttributes(parts.get(CTA_TUPLE_PROTO) ?? Buffer.alloc(0)),
    };
  });
  const destination = sent!.ip.get(family === 4 ? CTA_IP_V4_DST : CTA_IP_V6_DST);
  const answerer = answered!.ip.get(family === 4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC);
  const destinationPort = sent!.protocol.get(CTA_PROTO_DST_PORT)?.readUInt16BE(0);
  const answererPort = answered!.protocol.get(CTA_PROTO_SRC_PORT)?.readUInt16BE(0);
  const isUdp = sent!.protocol.get(CTA_PROTO_NUM)?.[0] === IPPROTO_UDP;
  if (!isUdp || destination === undefined || answerer === undefined) return [];
  if (destinationPort === undefined || answererPort === undefined) return [];
  return [{ family, destination, destinationPort, answerer, answererPort, original, id }];
}

/** Has the kernel forget one, so that the next datagram is asked about again. Refused with ENOENT when it has done so already. */
export function forgetFlow({ family, original, id }: UdpFlow): NetlinkMessage {
  const body = Buffer.concat([
    Buffer.of(FAMILIES[family], 0, 0, 0),
    nestedAttribute(CTA_TUPLE_ORIG, original),
    attribute(CTA_ID, id),
  ]);
  return { type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE, flags: 0, body };
}

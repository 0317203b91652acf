/**
 * The rules in a container's network namespace that lead what is sent to port 53 of our address there to the ports that we have. Answers
 * get their source back by the connection's own tracking. Port 53 itself stays free.
 */
import * as nft from "./nfnetlink";

const TABLE = "containerd-ts-names";
const CHAIN = "output";
const NF_INET_LOCAL_OUT = 3;
/** Where `nft` has `dstnat`. */
const PRIORITY = -100;
const TCP = 6;
const UDP = 17;
/** Sixteen bytes, where a rule keeps what it compares; the next one holds a port. */
const REGISTER = 1;
const PORT_REGISTER = 2;

/** Loads bytes of the packet: the network's header (1) or that of the transport (2). */
function payload(base: number, offset: number, length: number): string {
  return nft.expression(
    "payload",
    nft.attribute(1, nft.bigEndian(REGISTER)),
    nft.attribute(2, nft.bigEndian(base)),
    nft.attribute(3, nft.bigEndian(offset)),
    nft.attribute(4, nft.bigEndian(length)),
  );
}

function equals(value: string): string {
  return nft.expression(
    "cmp",
    nft.attribute(1, nft.bigEndian(REGISTER)),
    nft.attribute(2, nft.bigEndian(0)),
    nft.nested(3, nft.attribute(1, value)),
  );
}

function immediate(register: number, value: string): string {
  return nft.expression("immediate", nft.attribute(1, nft.bigEndian(register)), nft.nested(2, nft.attribute(1, value)));
}

function port(number: number): string {
  return string.char(number >> 8, number & 0xff);
}

/** `ip daddr ADDRESS PROTOCOL dport 53 dnat to ADDRESS:PORT` */
function rule(address: string, protocol: number, target: number): nft.Message {
  const expressions = [
    payload(1, 16, 4),
    equals(address),
    payload(1, 9, 1),
    equals(string.char(protocol)),
    payload(2, 2, 2),
    equals(port(53)),
    immediate(REGISTER, address),
    immediate(PORT_REGISTER, port(target)),
    nft.expression(
      "nat",
      nft.attribute(1, nft.bigEndian(1)),
      nft.attribute(2, nft.bigEndian(nft.IPV4)),
      nft.attribute(3, nft.bigEndian(REGISTER)),
      nft.attribute(5, nft.bigEndian(PORT_REGISTER)),
    ),
  ];
  return {
    type: nft.NEW_RULE,
    family: nft.IPV4,
    flags: nft.NLM_F_CREATE + nft.NLM_F_APPEND,
    attributes: nft.text(1, TABLE) + nft.text(2, CHAIN) + nft.nested(4, ...expressions),
  };
}

/**
 * Sets the rules, in place of those that an earlier netd may have left. Throws a message.
 *
 * @returns whether there were such: then who closes the socket waits until the kernel has freed them
 */
export function redirect(netfilter: number, address: string, udpPort: number, tcpPort: number): boolean {
  const table = { family: nft.IPV4, flags: 0, attributes: nft.text(1, TABLE) };
  const hook = nft.nested(
    4,
    nft.attribute(1, nft.bigEndian(NF_INET_LOCAL_OUT)),
    nft.attribute(2, nft.bigEndian(PRIORITY)),
  );
  const chain = nft.text(1, TABLE) + nft.text(3, CHAIN) + hook + nft.text(7, "nat");
  const messages = [
    { ...table, type: nft.NEW_TABLE, flags: nft.NLM_F_CREATE },
    { type: nft.NEW_CHAIN, family: nft.IPV4, flags: nft.NLM_F_CREATE, attributes: chain },
    rule(address, UDP, udpPort),
    rule(address, TCP, tcpPort),
  ];
  // Asked first: a transaction that fails takes the kernel 10 ms to undo.
  const isThere = nft.ask(netfilter, { ...table, type: nft.GET_TABLE }) >= 0;
  nft.mustCommit(netfilter, isThere ? [{ ...table, type: nft.DELETE_TABLE }, ...messages] : messages);
  return isThere;
}

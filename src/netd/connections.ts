/** The kernel's table of connections (linux/netfilter/nfnetlink_conntrack.h). */
import { attribute, bigEndian, nested } from "./nfnetlink";
import * as inet from "./syscalls/inet";

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const NLM_F_REQUEST = 1;
const CTA_TUPLE_ORIG = 1;
const CTA_FILTER = 25;
const AF_INET = 2;
const AF_INET6 = 10;
/** Of CTA_FILTER_ORIG_FLAGS: the source address is compared. */
const SOURCE_ADDRESS = 1;

/**
 * Has the kernel forget the connections that an address has begun: who gets the address next must not go on with them. Kernels before Linux
 * 6.8 don't know how, and forget nothing.
 *
 * @param bytes 4 or 16
 */
export function forgetConnections(socket: number, bytes: string): void {
  const isFour = bytes.length === 4;
  const source = nested(1, attribute(isFour ? 1 : 3, bytes));
  const body =
    nested(CTA_TUPLE_ORIG, source) +
    nested(CTA_FILTER, attribute(1, littleEndian(SOURCE_ADDRESS)), attribute(2, littleEndian(0)));
  const generic = string.char(isFour ? AF_INET : AF_INET6, 0, 0, 0);
  const type = NFNL_SUBSYS_CTNETLINK * 256 + IPCTNL_MSG_CT_DELETE;
  const head =
    littleEndian(20 + body.length) + string.char(type & 0xff, type >> 8, NLM_F_REQUEST, 0) + string.rep("\0", 8);
  inet.sendData(socket, head + generic + body);
  // The kernel answers only what fails.
  inet.receiveData(socket);
}

function littleEndian(value: number): string {
  return string.reverse(bigEndian(value));
}

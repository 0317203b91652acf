import { listAddresses } from "../../system/network/addresses.js";
import { forgetFlow, type UdpFlow, udpFlowsTo } from "../../system/network/conntrack.js";
import { NETLINK_NETFILTER, NetlinkSocket } from "../../system/network/netlink-socket.js";
import { addressBytes } from "./interface-address.js";
import type { Publication } from "./network.js";

/**
 * After published ports have changed: who goes on sending datagrams to one is heard by who has it now. Of a connection the kernel asks the
 * rules once, and takes datagrams for one as long as they keep coming.
 * @param host a socket of rtnetlink
 * @throws NetlinkError, a system error
 */
export async function forgetUdpFlows(
  host: NetlinkSocket,
  before: readonly Publication[],
  after: readonly Publication[],
): Promise<void> {
  const isSame = (a: Publication, b: Publication) =>
    keyOf(a) === keyOf(b) && a.address === b.address && a.containerPort === b.containerPort;
  const changed = [
    ...before.filter((publication) => !after.some((other) => isSame(publication, other))),
    ...after.filter((publication) => !before.some((other) => isSame(publication, other))),
  ].filter(({ protocol }) => protocol === "udp");
  if (changed.length === 0) return;
  const own = (await listAddresses(host)).map(({ address }) => address.toString("hex"));
  using socket = new NetlinkSocket(NETLINK_NETFILTER);
  for (const publications of byPort(changed)) {
    const { hostAddress, hostPort } = publications[0]!;
    const flows = await udpFlowsTo(socket, hostAddress.includes(":") ? 6 : 4, hostPort);
    const current = after.filter(({ protocol, hostPort: port }) => protocol === "udp" && port === hostPort);
    const stale = flows.filter(
      (flow) => isToHost(flow, own) && !current.some((publication) => leadsTo(flow, publication)),
    );
    await socket.request(stale.map(forgetFlow));
  }
}

function keyOf({ protocol, hostAddress, hostPort }: Publication): string {
  return `${protocol} ${hostAddress} ${hostPort}`;
}

/** Those of one family and port together. */
function byPort(publications: readonly Publication[]): Publication[][] {
  const groups = new Map<string, Publication[]>();
  for (const publication of publications) {
    const key = `${publication.hostAddress.includes(":")} ${publication.hostPort}`;
    groups.set(key, [...(groups.get(key) ?? []), publication]);
  }
  return [...groups.values()];
}

/** All others are only on their way through. @param own the host's addresses, in hexadecimal digits */
function isToHost({ family, destination }: UdpFlow, own: readonly string[]): boolean {
  return own.includes(destination.toString("hex")) || (family === 4 && destination[0] === 127);
}

function leadsTo({ answerer, answererPort }: UdpFlow, { address, containerPort }: Publication): boolean {
  return answererPort === containerPort && addressBytes(address).equals(answerer);
}

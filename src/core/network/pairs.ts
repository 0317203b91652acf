import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { addAddress, addRoute, type InterfaceAddress, replaceRoute } from "../../system/network/addresses.js";
import { changeLink, changePort, findLink, makePair, removeLink } from "../../system/network/links.js";
import type { NetlinkMessage } from "../../system/network/netlink-message.js";
import { NETLINK_ROUTE, NetlinkSocket } from "../../system/network/netlink-socket.js";
import { setSysctlsIn } from "../../system/network/sysctls.js";
import { Failure } from "../failure/failure.js";
import { isOurs, USUAL_MTU } from "./bridges.js";
import { addressBytes, interfaceAddress, macBytes } from "./interface-address.js";
import type { Endpoint } from "./network.js";

/** What is written to the host's end of a pair. */
function pairAlias(identity: string, { namespace, container }: Endpoint): string {
  return `containerd-ts ${identity} container ${namespace}/${container}`;
}

/** Whether a port has to reach itself: the kernel hands frames to the rules that are for packets, which may lead one back. */
function needsHairpin(): boolean {
  try {
    return readFileSync("/proc/sys/net/bridge/bridge-nf-call-iptables", "utf8").trim() === "1";
  } catch {
    // The kernel does no such thing.
    return false;
  }
}

/**
 * Makes the pairs of devices of a container, configures its ends, and has the host's ends be ports of the bridges.
 * @param socket of the host
 * @param bridges indices by the names of the bridges
 * @throws Failure, NetlinkError, a system error
 */
export async function enterPairs(
  socket: NetlinkSocket,
  identity: string,
  nsFd: number,
  endpoints: readonly Endpoint[],
  bridges: ReadonlyMap<string, number | undefined>,
): Promise<void> {
  const without = endpoints.find(({ network }) => bridges.get(network.bridge) === undefined);
  if (without !== undefined) throw new Error(`there is no bridge ${without.network.bridge}`);
  const hairpin = needsHairpin();
  const making = (endpoint: Endpoint) => [
    makePair(endpoint.device, endpoint.network.mtu || USUAL_MTU, {
      name: endpoint.inside,
      mac: macBytes(endpoint.mac),
      namespace: nsFd,
    }),
    // At once, as with a bridge.
    changeLink(endpoint.device, {
      alias: pairAlias(identity, endpoint),
      master: bridges.get(endpoint.network.bridge)!,
      withoutOwnAddress: true,
    }),
    changePort(endpoint.device, { isolated: endpoint.network.isolated || endpoint.isClosed === true, hairpin }),
    changeLink(endpoint.device, { isUp: true }),
  ];
  for (const endpoint of endpoints) {
    await clearName(socket, identity, endpoint);
    const [error, ...others] = await socket.request(making(endpoint));
    if (error?.code === "EEXIST") {
      const why = `the container's network namespace has a device ${JSON.stringify(endpoint.inside)} already`;
      throw new Failure("already-exists", "refused", { why }, { cause: error });
    }
    const failed = error ?? others.find((other) => other !== undefined);
    if (failed !== undefined) throw failed;
  }
  await configure(nsFd, endpoints);
}

/**
 * First of all: what is said to a device that has just been made would be said to another one of that name, too, if that could not be made.
 */
async function clearName(socket: NetlinkSocket, identity: string, { device }: Endpoint): Promise<void> {
  const link = await findLink(socket, device);
  if (link === undefined) return;
  if (!isOurs(link, identity)) {
    const why = `the host has a device ${device} that is not ours`;
    throw new Failure("already-exists", "refused", { why });
  }
  // What an earlier run of the container has left.
  await socket.request([removeLink(link.index)]);
}

async function configure(nsFd: number, endpoints: readonly Endpoint[]): Promise<void> {
  using inside = new NetlinkSocket(NETLINK_ROUTE, { namespace: nsFd });
  const values: [string, string][] = endpoints.flatMap((endpoint) => {
    const conf = `ipv6/conf/${endpoint.inside}`;
    return endpoint.address6 === ""
      ? [[`${conf}/disable_ipv6`, "1"] as [string, string]]
      : [
          [`${conf}/disable_ipv6`, "0"],
          [`${conf}/accept_ra`, "0"],
        ];
  });
  await setSysctlsIn(nsFd, Object.fromEntries(values));
  const messages: NetlinkMessage[] = [changeLink("lo", { isUp: true })];
  for (const endpoint of endpoints) {
    const link = await findLink(inside, endpoint.inside);
    if (link === undefined) throw new Error(`device ${endpoint.inside} of the container is gone`);
    messages.push(...configuring(link.index, endpoint));
  }
  await inside.do(...messages);
}

/** Has a container reach everything else by one of its endpoints, whatever it was before. @throws NetlinkError, a system error */
export async function routeBy(nsFd: number, { network, inside, address, address6 }: Endpoint): Promise<void> {
  using socket = new NetlinkSocket(NETLINK_ROUTE, { namespace: nsFd });
  const link = await findLink(socket, inside);
  if (link === undefined) throw new Error(`device ${inside} of the container is gone`);
  const gateways = [address !== "" && network.gateway, address6 !== "" && network.gateway6].filter(
    (text) => text !== false,
  );
  await socket.do(...gateways.map((text) => replaceRoute(link.index, { gateway: addressBytes(text) })));
}

function configuring(index: number, endpoint: Endpoint): NetlinkMessage[] {
  const { network, address, address6, isDefaultRoute, isClosed } = endpoint;
  const families = [
    { address, subnet: network.subnet, gateway: network.gateway },
    { address: address6, subnet: network.subnet6, gateway: network.gateway6 },
  ].filter(({ address }) => address !== "");
  // By the gateway, whose answer says at once that they can't be reached.
  const isByHost = network.isolated || isClosed === true;
  const addresses: NetlinkMessage[] = [];
  const routes: NetlinkMessage[] = [];
  for (const { address, subnet, gateway } of families) {
    const own = interfaceAddress(address, subnet);
    const to = addressBytes(gateway);
    addresses.push(addAddress(index, isByHost ? alone(own) : own));
    if (isByHost) routes.push(addRoute(index, { to: alone({ address: to }) }));
    if (isDefaultRoute && !network.internal) routes.push(addRoute(index, { gateway: to }));
    else if (isByHost) routes.push(addRoute(index, { to: networkOf(own), gateway: to }));
  }
  return [...addresses, changeLink(index, { isUp: true }), ...routes];
}

function alone({ address }: Pick<InterfaceAddress, "address">): InterfaceAddress {
  return { address, length: address.length * 8 };
}

function networkOf({ address, length }: InterfaceAddress): InterfaceAddress {
  const first = Buffer.from(
    address.map((byte, place) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * place)))),
  );
  return { address: first, length };
}

/** In ms: how long the kernel gets to take away devices of a container that has ended, and how often that is looked for. */
const GRACE = 200;
const INTERVAL = 5;

/**
 * Removes the pairs of endpoints, where they are ours.
 * @param isEnding whether their namespace is at its end: the kernel takes them away with it, many at a time and sooner than they are taken
 *   away one by one, which holds up all that is done with devices of the host
 */
export async function removePairs(
  socket: NetlinkSocket,
  identity: string,
  endpoints: readonly Pick<Endpoint, "device">[],
  isEnding: boolean,
): Promise<void> {
  const end = performance.now() + (isEnding ? GRACE : 0);
  const isThere = async ({ device }: Pick<Endpoint, "device">) => {
    const link = await findLink(socket, device);
    return link !== undefined && isOurs(link, identity);
  };
  for (const endpoint of endpoints) {
    while (performance.now() < end && (await isThere(endpoint))) await delay(INTERVAL);
  }
  for (const { device } of endpoints) {
    const link = await findLink(socket, device);
    if (link === undefined || !isOurs(link, identity)) continue;
    const [error] = await socket.request([removeLink(link.index)]);
    // It goes with the container's namespace, too.
    if (error !== undefined && error.code !== "ENODEV") throw error;
  }
}

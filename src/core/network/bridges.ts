import { readdir } from "node:fs/promises";
import { addAddress } from "../../system/network/addresses.js";
import { changeLink, findLink, type Link, makeBridge } from "../../system/network/links.js";
import type { NetlinkSocket } from "../../system/network/netlink-socket.js";
import { readSysctl, setSysctl } from "../../system/network/sysctls.js";
import { Failure } from "../failure/failure.js";
import { interfaceAddress, macBytes } from "./interface-address.js";
import { addressText } from "./ip-address.js";
import type { Network } from "./network.js";
import { hostAddresses } from "./subnets.js";

/** In bytes, of a network that says nothing else. */
export const USUAL_MTU = 1500;

/** What is written to a bridge of ours, for us to know it by. @param identity of the daemon @param network its id */
export function bridgeAlias(identity: string, network: string): string {
  return `containerd-ts ${identity} network ${network}`;
}

/** Whether a device belongs to a daemon, by what is written to it. */
export function isOurs({ alias }: Pick<Link, "alias">, identity: string): boolean {
  return alias.startsWith(`containerd-ts ${identity} `);
}

/**
 * Has a network's bridge as it is to be: up, with the gateway's addresses, and the host forwarding.
 * @param isStart whether it is for a container that starts: not where the host has an address of the bridge's elsewhere by now, as of
 *   another daemon's network: then containers of one of the two would not be reached, or the wrong ones
 * @returns its index, and what was not as it is to be
 * @throws Failure: already-exists when somebody else's device has the name, failed-precondition; NetlinkError; a system error
 */
export async function ensureBridge(
  socket: NetlinkSocket,
  identity: string,
  network: Network,
  { isStart = false } = {},
): Promise<{ index: number; mended: string[] }> {
  const { bridge } = network;
  const alias = bridgeAlias(identity, network.id);
  const mended: string[] = [];
  let link = await findLink(socket, bridge);
  if (link === undefined) {
    if (isStart) requireUnused(network);
    mended.push(`bridge ${bridge} of network ${JSON.stringify(network.name)} was missing`);
    const mac = macBytes(`02:42:${network.id.slice(0, 8).replace(/..(?=.)/g, "$&:")}`);
    // At once: a daemon that is killed leaves no bridge that nobody knows the owner of.
    const making = [
      makeBridge({ name: bridge, mac, mtu: network.mtu || USUAL_MTU }),
      changeLink(bridge, { alias, ...(network.subnet6 === "" && { withoutOwnAddress: true }) }),
    ];
    const [taken, failed] = await socket.request(making);
    if (taken !== undefined && taken.code !== "EEXIST") throw taken;
    if (failed !== undefined) throw failed;
    link = await findLink(socket, bridge);
  }
  if (link?.alias !== alias || link.kind !== "bridge") {
    const why = `network ${JSON.stringify(network.name)}: the host has a device ${bridge} that is not ours`;
    throw new Failure("already-exists", "refused", { why });
  }
  await setSysctls(network);
  const given = await giveAddresses(socket, link, network);
  // Of a new one it goes without saying.
  if (mended.length === 0) mended.push(...given);
  return { index: link.index, mended };
}

/** @throws Failure (failed-precondition) */
function requireUnused({ name, subnet, gateway, subnet6, gateway6 }: Network): void {
  const found = hostAddresses().map(addressText);
  for (const [address, own] of [
    [gateway, subnet],
    [gateway6, subnet6],
  ] as const) {
    if (!found.includes(address)) continue;
    const why =
      `network ${JSON.stringify(name)}: another device of this host has ${address} by now, which is the gateway of its subnet ${own}: ` +
      "remove the network, and create it with a subnet that is free";
    throw new Failure("failed-precondition", "refused", { why });
  }
}

async function giveAddresses(socket: NetlinkSocket, { index, isUp }: Link, network: Network): Promise<string[]> {
  const { bridge, gateway, subnet, gateway6, subnet6 } = network;
  const wanted = [
    { text: gateway, subnet },
    { text: gateway6, subnet: subnet6 },
  ].filter(({ text }) => text !== "");
  const errors = await socket.request([
    ...wanted.map(({ text, subnet }) => addAddress(index, interfaceAddress(text, subnet))),
    changeLink(index, { isUp: true }),
  ]);
  const failed = errors.find((error) => error !== undefined && error.code !== "EEXIST");
  if (failed !== undefined) throw failed;
  const given = wanted.filter((_, place) => errors[place] === undefined);
  return [
    ...given.map(({ text }) => `bridge ${bridge} had lost its address ${text}`),
    ...(isUp ? [] : [`bridge ${bridge} was down`]),
  ];
}

/** What the host has to do for containers to be reached, and to get out; named in docs/networks.md. */
async function setSysctls({ bridge, internal, subnet6 }: Network): Promise<void> {
  // So that 127.0.0.1 reaches published ports; the rules let nothing of it in.
  await setSysctl(`ipv4/conf/${bridge}/route_localnet`, "1");
  if (!internal) await setSysctl("ipv4/ip_forward", "1");
  if (subnet6 === "") {
    await setSysctl(`ipv6/conf/${bridge}/disable_ipv6`, "1");
    return;
  }
  await setSysctl(`ipv6/conf/${bridge}/disable_ipv6`, "0");
  await setSysctl(`ipv6/conf/${bridge}/accept_ra`, "0");
  if (!internal) await forwardIpv6();
}

/**
 * Has the host forward IPv6. A device that takes its routes from routers would stop doing so then, unless it is told to do both.
 */
async function forwardIpv6(): Promise<void> {
  const forwards = await readSysctl("ipv6/conf/all/forwarding");
  if (forwards === undefined || forwards === "1") return;
  for (const device of await readdir("/proc/sys/net/ipv6/conf")) {
    const name = `ipv6/conf/${device}/accept_ra`;
    if (device !== "all" && device !== "default" && (await readSysctl(name)) === "1") await setSysctl(name, "2");
  }
  await setSysctl("ipv6/conf/all/forwarding", "1");
}

import { BlockList, isIP } from "node:net";

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Where clouds tell a machine about itself, its credentials among it. */
const linkLocal = new BlockList();
linkLocal.addSubnet("169.254.0.0", 16, "ipv4");
linkLocal.addSubnet("fe80::", 10, "ipv6");

/** A URL's hostname without the brackets of IPv6. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

function isIn(list: BlockList, hostname: string): boolean {
  const address = bareHost(hostname);
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? "ipv6" : "ipv4");
}

/** Whether a host's name says that it is this machine. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase().replace(/\.$/, "");
  return name === "localhost" || name.endsWith(".localhost") || isIn(loopback, name) || bareHost(name) === "::";
}

/** Whether a host's name says that it is reached from this machine alone: no stranger may send us there. */
export function isPrivateToMachine(hostname: string): boolean {
  const address = bareHost(hostname);
  return isLoopback(hostname) || isIn(linkLocal, hostname) || address === "0.0.0.0";
}

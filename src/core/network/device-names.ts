import { createHash } from "node:crypto";

// The kernel takes 15 characters of a name.
const BRIDGE_PREFIX = "ctd-";
const DEVICE_PREFIX = "ctv";

/** What the bridge of a network is called on the host. @param network its id */
export function bridgeName(network: string): string {
  return BRIDGE_PREFIX + network.slice(0, 8);
}

/** What the host's end of the pair is called that connects a container with a network. @param network its id */
export function deviceName(namespace: string, container: string, network: string): string {
  return (
    DEVICE_PREFIX + createHash("sha256").update(`${namespace}\0${container}\0${network}`).digest("hex").slice(0, 12)
  );
}

/** Whether a name on the host looks like one of a bridge of ours. Whose it is, its alias says. */
export function isBridgeName(name: string): boolean {
  return /^ctd-[0-9a-f]{8}$/.test(name);
}

/** As {@link isBridgeName}, of the pair of a container. */
export function isDeviceName(name: string): boolean {
  return /^ctv[0-9a-f]{12}$/.test(name);
}

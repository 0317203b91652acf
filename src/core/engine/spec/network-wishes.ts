import { isIP } from "node:net";
import { parseEgress } from "../../network/egress-entries.js";
import type { ContainerConfig, NetworkAttachment, PortMapping } from "../container-config.js";
import { checkWhole, invalidOption } from "./invalid-option.js";

type Wishes = Pick<ContainerConfig, "network" | "ports" | "publishAll" | "egress"> &
  Partial<Pick<ContainerConfig, "privileged">>;

const LARGEST_PORT = 65_535;
/** How many networks a container is on, how many aliases it has on each, and how many ports it publishes, at most. */
const MOST_NETWORKS = 64;
const MOST_ALIASES = 256;
const MOST_PORTS = 10_000;

/** @throws Failure (invalid-argument) for what can't be had of networks, as far as that shows without a look at them */
export function checkNetworkWishes({ network, ports = [], publishAll, egress, privileged }: Wishes): void {
  if (egress !== undefined) checkEgress(egress, network, privileged);
  if (network.mode === "attached") {
    if (network.networks.length > MOST_NETWORKS)
      throw invalidOption("networks", network.networks.length, `at most ${MOST_NETWORKS} for one container`);
    for (const [index, attachment] of network.networks.entries()) checkAttachment(`networks[${index}]`, attachment);
  } else if (ports.length > 0 || publishAll) {
    const why =
      network.mode === "host"
        ? 'with network "host" its ports are the host\'s own, and need not be published'
        : `ports are published of a container on a network, like "bridge": this one has network "${network.mode}"`;
    throw invalidOption(ports.length > 0 ? "ports" : "publishAll", ports.length > 0 ? ports : true, why);
  }
  if (ports.length > MOST_PORTS) throw invalidOption("ports", ports.length, `at most ${MOST_PORTS} for one container`);
  for (const [index, port] of ports.entries()) {
    checkPort(`ports[${index}]`, port);
    const other = ports.slice(0, index).find((before) => isSameOfHost(before, port));
    if (other !== undefined)
      throw invalidOption(`ports[${index}]`, port, "another one is on the same port of the host");
  }
}

/** @throws Failure (invalid-argument) */
function checkEgress(egress: readonly string[], network: Wishes["network"], privileged = false): void {
  parseEgress(egress);
  const shown = egress.slice(0, 3).join(", ");
  if (privileged) throw invalidOption("egress", shown, "a privileged container is kept from nothing by it");
  if (network.mode === "attached") return;
  const why = {
    none: 'it needs a network, like "bridge": with network "none" nothing is reached',
    host: "it is not kept in a network of the host's, or one that is there already",
    path: "it is not kept in a network of the host's, or one that is there already",
    container: "who joins another container's network has that one's egress",
  }[network.mode];
  throw invalidOption("egress", shown, why);
}

/** @throws Failure (invalid-argument) */
export function checkAttachment(option: string, { network, aliases, address, address6, mac }: NetworkAttachment): void {
  if (network === "") throw invalidOption(`${option}.network`, network, "it must be a network's name or id");
  if (aliases.length > MOST_ALIASES)
    throw invalidOption(`${option}.aliases`, aliases.length, `at most ${MOST_ALIASES} of them`);
  for (const alias of aliases)
    if (alias.length > 253 || !/^[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$/.test(alias))
      throw invalidOption(
        `${option}.aliases`,
        alias,
        "it must be of letters, digits, dots and dashes, like a host's name",
      );
  if (address !== "" && isIP(address) !== 4) throw invalidOption(`${option}.address`, address, "no IPv4 address");
  if (address6 !== "" && isIP(address6) !== 6) throw invalidOption(`${option}.address6`, address6, "no IPv6 address");
  if (mac === "") return;
  const why = "it must be the address of one device, like 02:42:ac:11:00:02";
  if (!/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac) || /^(?:00:){5}00$/.test(mac))
    throw invalidOption(`${option}.mac`, mac, why);
  // The bit of addresses of groups.
  if (Number.parseInt(mac.slice(0, 2), 16) & 1) throw invalidOption(`${option}.mac`, mac, why);
}

function checkPort(option: string, { containerPort, hostAddress, hostPort, hostPortEnd }: PortMapping): void {
  checkWhole(`${option}.containerPort`, containerPort, 1, LARGEST_PORT, `from 1 to ${LARGEST_PORT}`);
  checkWhole(`${option}.hostPort`, hostPort, 0, LARGEST_PORT, `from 1 to ${LARGEST_PORT}, or 0 to have one chosen`);
  if (hostAddress !== "" && (isIP(hostAddress) === 0 || hostAddress.includes("%")))
    throw invalidOption(
      `${option}.hostAddress`,
      hostAddress,
      "it must be an IPv4 or IPv6 address of the host, or none",
    );
  if (hostPortEnd === 0) return;
  const least = Math.max(hostPort, 1);
  checkWhole(`${option}.hostPortEnd`, hostPortEnd, least, LARGEST_PORT, `from ${least} to ${LARGEST_PORT}`);
  if (hostPort === 0) throw invalidOption(`${option}.hostPort`, 0, "a range has a first port");
}

function isSameOfHost(a: PortMapping, b: PortMapping): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort || a.hostPort === 0) return false;
  if (a.hostPortEnd > a.hostPort || b.hostPortEnd > b.hostPort) return false;
  return a.hostAddress === b.hostAddress || a.hostAddress === "" || b.hostAddress === "";
}

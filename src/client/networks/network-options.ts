import { isIP, isIPv4, isIPv6 } from "node:net";
import type { NetworkAttachment as AttachmentMessage } from "../../proto/containerdts/engine/v1/engine.js";
import type { OfContainer } from "../containers/container-options.js";
import {
  absolutePath,
  type Check,
  type Checks,
  checkOptions,
  listOf,
  nameText,
  object,
  quote,
  required,
  text,
  wrong,
} from "../options/option-checks.js";

/** A network that a container is attached to, and what it is there. */
export interface NetworkAttachment {
  /** Of one of {@link Networks}, by name or id. */
  name: string;
  /** By which the others on it find the container, besides its name and the first 12 digits of its id. */
  aliases?: readonly string[] | undefined;
  /** IPv4, in the network's subnet. Default: a free one. */
  address?: string | undefined;
  /** IPv6, of a network that has it. Default: a free one. */
  address6?: string | undefined;
  /** `02:42:ac:11:00:02`. Default: made of the address. */
  mac?: string | undefined;
}

/** Networks of which a container reaches only what is listed. */
export interface EgressOption {
  /**
   * `packages.example.com:443`, `*.example.org` (all names below it), addresses and ranges of them (`192.0.2.1:5432`, `10.0.0.0/8`); a port
   * is one of TCP and UDP, without it all are meant. No other name is resolved, and what is sent anywhere else is refused.
   */
  egress: readonly string[];
  /** By name, or more of it; several are a list. Default: "bridge". */
  network?: string | NetworkAttachment | readonly (string | NetworkAttachment)[] | undefined;
}

/**
 * "none": loopback only; "host": the host's; any other text: a network's name ("bridge" is made at its first use); `container`: the one of
 * another container; `path`: of a network namespace; `egress`: one of which only what is listed is reached.
 * Several are a list, whose first one has the way out of the host.
 */
export type NetworkOption =
  | "none"
  | "host"
  | "bridge"
  | (string & {})
  | OfContainer
  | { path: string }
  | NetworkAttachment
  | EgressOption
  | readonly (string | NetworkAttachment)[];

/** What Docker would take for something else than a network's name. */
const RESERVED = /^(?:none|host|container:.*|path:.*)$/s;

const networkName = text(
  "the name or id of a network: letters, digits, and _ . - behind the first",
  (name) => /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) && !RESERVED.test(name),
);

export const attachmentChecks: Checks<Omit<NetworkAttachment, "name">> = {
  aliases: listOf(text("the name of a host", (name) => /^[^\s:]+$/.test(name))),
  address: text("an IPv4 address", isIPv4),
  address6: text("an IPv6 address", isIPv6),
  mac: text('a MAC address, like "02:42:ac:11:00:02"', (mac) => /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)),
};

const attachment = object<NetworkAttachment>({ name: required(networkName), ...attachmentChecks });

const WHAT =
  '"none", "host", "bridge", the name of a network, { container }, { path }, { egress, network }, ' +
  "{ name, aliases, address, mac } or a list of networks";

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const nameOrAttachment: Check = (value, name) => {
  if (typeof value === "string") networkName(value, name);
  else if (isObject(value)) attachment(value, name);
  else throw wrong(name, "the name of a network, or { name, aliases, address, mac }", value);
};

export const networkCheck: Check = (value, name) => {
  if (value === "none" || value === "host") return;
  if (typeof value === "string") {
    if (RESERVED.test(value) || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(value)) throw wrong(name, WHAT, value);
    return;
  }
  if (Array.isArray(value)) {
    if (value.length === 0) throw wrong(name, `${WHAT} that is not empty`, value);
    listOf(nameOrAttachment)(value, name);
    const names = value.map((one) => (typeof one === "string" ? one : one.name));
    const twice = names.find((one, index) => names.indexOf(one) !== index);
    if (twice !== undefined) throw new TypeError(`${name} has ${quote(twice)} twice`);
    return;
  }
  if (!isObject(value)) throw wrong(name, WHAT, value);
  if ("container" in value) checkOptions<OfContainer>(value, { container: required(nameText) }, name);
  else if ("path" in value) checkOptions<{ path: string }>(value, { path: required(absolutePath) }, name);
  else if ("egress" in value) checkOptions<EgressOption>(value, egressChecks, name);
  else attachment(value, name);
};

const egressChecks: Checks<EgressOption> = {
  egress: required(listOf(text('what may be reached, like "example.com:443"', (entry) => entry !== ""))),
  network: (value, name) => {
    const isMode = value === "none" || value === "host";
    if (isMode || (isObject(value) && !("name" in value)))
      throw wrong(name, "the name of a network, { name, aliases, address, mac } or a list of them", value);
    networkCheck(value, name);
  },
};

/** Of a container's config on the wire. */
export interface NetworkMessage {
  network: string;
  networks: AttachmentMessage[];
  egress: { values: string[] } | undefined;
}

export function networkMessage(network: NetworkOption): NetworkMessage {
  const mode = (network: string) => ({ network, networks: [], egress: undefined });
  if (network === "none" || network === "host") return mode(network);
  if (isObject(network) && "container" in network) return mode(`container:${network.container}`);
  if (isObject(network) && "path" in network) return mode(`path:${network.path}`);
  const isKept = isObject(network) && "egress" in network;
  const networks = isKept ? (network.network ?? "bridge") : (network as Exclude<EgressOption["network"], undefined>);
  return {
    network: "",
    networks: [networks].flat().map((one) => attachmentMessage(one as string | NetworkAttachment)),
    egress: isKept ? { values: [...network.egress] } : undefined,
  };
}

/** Whether it is one of its own: neither the host's, nor another container's, nor one that was made elsewhere. */
export function isOwnNetwork(network: NetworkOption | undefined): boolean {
  if (network === undefined || typeof network === "string") return network !== "host";
  return !("container" in network || "path" in network);
}

export function attachmentMessage(given: string | NetworkAttachment): AttachmentMessage {
  const {
    name,
    aliases = [],
    address = "",
    address6 = "",
    mac = "",
  } = typeof given === "string" ? { name: given } : given;
  return { network: name, aliases: [...aliases], address, address6, mac };
}

/** Of name servers. */
export const serverAddresses = listOf(text("an address of a name server", (value) => isIP(value) !== 0));

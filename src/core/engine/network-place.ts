import { Failure } from "../failure/failure.js";
import type { Holder } from "../network/addresses.js";
import { deviceName } from "../network/device-names.js";
import type { ContainerName, Endpoint, Network, Publication } from "../network/network.js";
import type { NetworkAttachment } from "./container-config.js";
import type { EngineContainer } from "./engine-container.js";

/** What a container has of networks while it runs. It is kept with its record: fields may be added. */
export interface Attached {
  endpoints: AttachedEndpoint[];
  publications: Publication[];
  /** Its default route was to be changed when this was written down; it may not have been. */
  isRerouting?: true | undefined;
  /** The id of a network that it was to be connected with, while it ran, when this was written down: that may be half done. */
  connecting?: string | undefined;
}

export interface AttachedEndpoint extends Pick<Endpoint, "inside" | "address" | "address6" | "mac" | "isDefaultRoute"> {
  /** The network's id. */
  network: string;
}

/** What is known in memory of a container that is to be on networks. */
export interface Place {
  container: EngineContainer;
  /** Those of the system, too. */
  wishes: Wish[];
  /** Undefined while it does not run. */
  attached: Attached | undefined;
}

export interface Wish {
  network: Network;
  attachment: NetworkAttachment;
}

/** @throws Failure (failed-precondition) when published ports have nowhere to go */
export function withoutNetwork(attached: Attached, network: Network, { wishes, container }: Place): Attached {
  const gone = attached.endpoints.find((endpoint) => endpoint.network === network.id);
  const endpoints = attached.endpoints.filter((endpoint) => endpoint !== gone);
  if (!gone?.isDefaultRoute) return { ...attached, endpoints };
  const isInternal = (id: string) => {
    const other = wishes.find((wish) => wish.network.id === id)?.network;
    return other === undefined || other.internal || !isOurs(other);
  };
  const next = endpoints.find((endpoint) => !isInternal(endpoint.network));
  const publications = attached.publications.map((publication): Publication => {
    const address = (publication.hostAddress.includes(":") ? next?.address6 : next?.address) ?? "";
    if (address !== "") return { ...publication, address };
    const why =
      `container ${shown(container)} has its published ports on network ${JSON.stringify(network.name)}, and on no other that ` +
      "could have them: hand them to another container first, or stop it";
    throw refused("failed-precondition", why);
  });
  const changed = endpoints.map((one) => (one === next ? { ...one, isDefaultRoute: true } : one));
  return { endpoints: changed, publications, ...(next && { isRerouting: true }) };
}

/** Whether a network is ours to set up, and none of the system's. */
export function isOurs({ driver }: Network): boolean {
  return driver !== "cni";
}

/** As an error and the host's rules name a container. */
export function holderOf({ container }: Place): Holder {
  const { namespace, id, name } = container;
  const where = namespace === "default" ? "" : ` in namespace ${JSON.stringify(namespace)}`;
  return { key: keyOf(namespace, id), text: `container ${JSON.stringify(name || id)}${where}` };
}

export function shown({ name, id }: EngineContainer): string {
  return JSON.stringify(name || id);
}

export function isOf({ container: { namespace, id } }: Place, endpoint: Endpoint): boolean {
  return endpoint.namespace === namespace && endpoint.container === id;
}

export function keyOfPlace({ container: { namespace, id } }: Place): string {
  return keyOf(namespace, id);
}

export function nameOf({ container: { namespace, id } }: Place): ContainerName {
  return { namespace, container: id };
}

/** Neither part can have a slash in it. */
export function keyOf(namespace: string, id: string): string {
  return `${namespace}/${id}`;
}

export function endpointOn(network: Network, { namespace, id }: EngineContainer, endpoint: AttachedEndpoint): Endpoint {
  return { ...endpoint, network, namespace, container: id, device: deviceName(namespace, id, network.id) };
}

/** `eth0`, or the first that none of the others is. */
export function freeDevice(others: readonly AttachedEndpoint[]): string {
  for (let number = 0; ; number++) if (!others.some(({ inside }) => inside === `eth${number}`)) return `eth${number}`;
}

export function refused(kind: "invalid-argument" | "failed-precondition", why: string): Failure {
  return new Failure(kind, "refused", { why });
}

import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { AttachedEndpoint, Place, Wish } from "../../core/engine/network-place.js";
import type { EgressReport } from "../../core/network/egress-report.js";
import type * as core from "../../core/network/network.js";
import type { Endpoint, PortBinding } from "../../proto/containerdts/engine/v1/engine.js";
import type { EgressResponse, Network } from "../../proto/containerdts/engine/v1/networks.js";

/** @param users who is to be on it */
export function networkMessage(network: core.Network, users: readonly Place[]): Network {
  const { id, name, driver, subnet, gateway, subnet6, gateway6, internal, isolated, labels, mtu, bridge } = network;
  return {
    ...{ id, name, driver, subnet, gateway, subnet6, gateway6, internal, isolated, labels, mtu, device: bridge },
    createdAt: secondsAndNanos(network.createdAt),
    containers: users.map(({ container, attached }) => {
      const endpoint = attached?.endpoints.find((one) => one.network === id);
      const { address, address6, mac } = addressesOf(network, endpoint);
      return { id: container.id, name: container.name, address, address6, mac };
    }),
  };
}

/** @param endpoint undefined while it does not run */
export function endpointMessage({ network, attachment }: Wish, endpoint: AttachedEndpoint | undefined): Endpoint {
  return {
    network: network.name,
    networkId: network.id,
    ...addressesOf(network, endpoint),
    gateway: network.gateway,
    gateway6: network.gateway6,
    device: endpoint?.inside ?? "",
    aliases: attachment.aliases,
  };
}

/** `172.17.0.2/16` */
function addressesOf({ subnet, subnet6 }: core.Network, endpoint: AttachedEndpoint | undefined) {
  const { address = "", address6 = "", mac = "" } = endpoint ?? {};
  const within = (text: string, range: string) => (text === "" ? "" : text + range.slice(range.indexOf("/")));
  return { address: within(address, subnet), address6: within(address6, subnet6), mac };
}

export function egressMessage({ attempts, dropped }: EgressReport): EgressResponse {
  return {
    attempts: attempts.map(({ time, count, ...attempt }) => ({
      ...attempt,
      time: secondsAndNanos(BigInt(Math.round(time)) * 1_000_000n),
      count: BigInt(count),
    })),
    dropped: BigInt(dropped),
  };
}

export function portMessage({ protocol, containerPort, hostAddress, hostPort }: core.Publication): PortBinding {
  return { protocol, containerPort, hostAddress, hostPort };
}

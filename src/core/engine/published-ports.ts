import type { Publication } from "../network/network.js";
import { Ports } from "../network/ports.js";
import type { ContainerConfig, PortMapping } from "./container-config.js";
import { type NetworkKeeper, PortOfAnother } from "./network-keeper.js";
import { type AttachedEndpoint, holderOf, type Place, refused } from "./network-place.js";

/** The ports of the host that lead to containers: which are whose, and that they are held. */
export class PublishedPorts {
  readonly taken = new Ports();
  readonly #keeper: NetworkKeeper;

  constructor(keeper: NetworkKeeper) {
    this.#keeper = keeper;
  }

  /**
   * Chooses the ports of the host that lead to a container, and has them held.
   * @throws Failure (failed-precondition): none is then
   */
  async publish(
    place: Place,
    endpoints: readonly AttachedEndpoint[],
    mappings: readonly PortMapping[],
  ): Promise<Publication[]> {
    if (mappings.length === 0) return [];
    const target = endpoints.find(({ isDefaultRoute }) => isDefaultRoute);
    if (target === undefined) throw refused("failed-precondition", "ports: it is on no network that is not internal");
    const published: Publication[] = [];
    try {
      // Those that name one come first: another one may get it otherwise.
      for (const isNamed of [true, false])
        for (const mapping of mappings)
          if (isOneOf(mapping) === isNamed) published.push(...(await this.#publishOne(place, target, mapping)));
      return published;
    } catch (error) {
      this.taken.release(published, holderOf(place));
      await this.#keeper.release(published);
      throw error;
    }
  }

  async #publishOne(place: Place, target: AttachedEndpoint, mapping: PortMapping): Promise<Publication[]> {
    const { protocol, containerPort, hostAddress, hostPort, hostPortEnd } = mapping;
    if (hostAddress.includes(":") && target.address6 === "")
      throw refused("invalid-argument", `ports: ${hostAddress}: the container's first network has no IPv6`);
    const addresses = hostAddress === "" ? ["0.0.0.0", ...(target.address6 === "" ? [] : ["::"])] : [hostAddress];
    const on = (port: number) =>
      addresses.map((address) => ({
        ...{ protocol, hostAddress: address, hostPort: port, containerPort },
        address: address.includes(":") ? target.address6 : target.address,
      }));
    const take = async (port: number): Promise<Publication[]> => {
      if (port !== 0) this.taken.take(on(port), holderOf(place));
      try {
        const [number] = await this.#keeper.hold([{ protocol, addresses, port }]);
        if (port === 0) this.taken.take(on(number!), holderOf(place));
        return on(number!);
      } catch (error) {
        if (port !== 0) this.taken.release(on(port), holderOf(place));
        throw error;
      }
    };
    if (isOneOf(mapping)) return await take(hostPort);
    if (hostPort === 0) return await take(0);
    for (let port = hostPort; port <= hostPortEnd; port++) {
      if (on(port).some((one) => this.taken.holderOf(one) !== undefined)) continue;
      try {
        return await take(port);
      } catch (error) {
        if (!(error instanceof PortOfAnother)) throw error;
      }
    }
    throw refused(
      "failed-precondition",
      `ports: all of ${hostPort} to ${hostPortEnd}/${protocol} of the host are taken`,
    );
  }
}

/** Whether one port of the host is meant. */
export function isOneOf({ hostPort, hostPortEnd }: PortMapping): boolean {
  return hostPort !== 0 && hostPortEnd <= hostPort;
}

/** What a container wishes, with what its image exposes where it wishes that. */
export function mappingsOf({ ports = [], publishAll }: ContainerConfig, exposed: readonly string[]): PortMapping[] {
  if (!publishAll) return ports;
  const more = exposed.flatMap((text): PortMapping[] => {
    const [, port = "", protocol = "tcp"] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
    const containerPort = Number(port);
    if (containerPort < 1 || containerPort > 65_535 || (protocol !== "tcp" && protocol !== "udp")) return [];
    if (ports.some((one) => one.containerPort === containerPort && one.protocol === protocol)) return [];
    return [{ protocol, containerPort, hostAddress: "", hostPort: 0, hostPortEnd: 0 }];
  });
  return [...ports, ...more];
}

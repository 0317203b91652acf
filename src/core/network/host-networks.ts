import { changeLink, findLink, type Link, listLinks, removeLink } from "../../system/network/links.js";
import { NETLINK_ROUTE, type NetlinkError, NetlinkSocket } from "../../system/network/netlink-socket.js";
import { NftMissing } from "../../system/network/nft.js";
import { Failure } from "../failure/failure.js";
import { NamedTurns } from "../scheduling/named-turns.js";
import { ensureBridge, isOurs } from "./bridges.js";
import { isBridgeName, isDeviceName } from "./device-names.js";
import type { ContainerName, ContainerRules, Endpoint, Network, Publication } from "./network.js";
import { enterPairs, removePairs, routeBy } from "./pairs.js";
import { RuleTable } from "./rule-table.js";
import { containerPart, networkPart, type Part, tableName } from "./rules.js";
import { forgetUdpFlows } from "./udp-flows.js";

export interface HostNetworksOptions {
  /** Who this daemon is (core/metadata/identity.ts); it is asked for at the first use. */
  identity: () => Promise<string>;
  /** Is told what fails that nobody waits for: a repair. */
  onError: (error: unknown) => void;
  /**
   * Is told after our tables were made anew, as somebody else had removed or changed them, or at a restore: what others than us have put
   * into our sets is lost.
   * @param wasGone whether rules may have been missing before: connections may have been made that they would have refused
   */
  onRenewed?: ((wasGone: boolean) => void) | undefined;
}

/** All that there is to be on the host. */
export interface HostState {
  /** Those that a container is on; a bridge of ours of any other goes. */
  networks: readonly Network[];
  containers: ReadonlyMap<ContainerName, ContainerRules>;
}

/** A network with something on it. */
interface UsedNetwork {
  network: Network;
  /** The devices of the pairs that are ports of its bridge, or will be. */
  devices: Set<string>;
  /** Of its bridge, once that was as it is to be; somebody may have taken it away since. */
  index?: number | undefined;
}

/** What is had at the first use. */
interface Host {
  identity: string;
  socket: NetlinkSocket;
  rules: RuleTable;
}

/**
 * Networks as the host's kernel has them: bridges, pairs of devices, rules. It knows nothing but what it is told, and keeps that in memory:
 * {@link restore} comes first. Everything can be repeated; what was tried and failed leaves nothing behind that `remove` and `withdraw`
 * don't take away.
 */
export class HostNetworks {
  readonly #options: HostNetworksOptions;
  /** What is done with one network's bridge. */
  readonly #turns = new NamedTurns();
  readonly #networks = new Map<string, UsedNetwork>();
  #opening: Promise<Host> | undefined;
  /** What there is to be of a container, by its name. */
  readonly #containers = new Map<string, { container: ContainerName; rules: ContainerRules }>();

  constructor(options: HostNetworksOptions) {
    this.#options = options;
  }

  /** What our tables are called in nft; asked for the first time, it makes the daemon's identity. */
  async table(): Promise<string> {
    return tableName(await this.#options.identity());
  }

  #host(): Promise<Host> {
    this.#opening ??= this.#open().catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #open(): Promise<Host> {
    const { identity: asked, onError, onRenewed } = this.#options;
    const identity = await asked();
    const options = { table: tableName(identity), onError, onRenewed: (wasGone: boolean) => onRenewed?.(wasGone) };
    return { identity, socket: new NetlinkSocket(NETLINK_ROUTE), rules: new RuleTable(options) };
  }

  /** Has the bridges that endpoints need: with their addresses, and the host forwarding. @throws Failure */
  async prepare(endpoints: readonly Endpoint[]): Promise<void> {
    await this.#failing(async () => {
      const host = await this.#host();
      await this.#onEach(endpoints, (network, own) => this.#prepare(host, network, own));
    });
  }

  /** For each network with those that are on it, when it is its turn. */
  async #onEach(
    endpoints: readonly Endpoint[],
    work: (network: Network, own: readonly Endpoint[]) => Promise<void>,
  ): Promise<void> {
    const networks = new Map(endpoints.map(({ network }) => [network.id, network]));
    const works = [...networks.values()].map((network) => {
      const own = endpoints.filter((endpoint) => endpoint.network.id === network.id);
      return this.#turns.run(network.id, () => work(network, own));
    });
    await Promise.all(works);
  }

  async #prepare({ socket, identity, rules }: Host, network: Network, endpoints: readonly Endpoint[]): Promise<void> {
    const used = this.#networks.get(network.id) ?? { network, devices: new Set() };
    this.#networks.set(network.id, used);
    for (const { device } of endpoints) used.devices.add(device);
    const name = networkKey(network);
    if (used.index !== undefined && rules.has(name)) return;
    const made = ensureBridge(socket, identity, network, { isStart: true }).then(({ index }) => {
      used.index = index;
    });
    // Beside it: rules may name a device that is not there yet.
    const ruled = rules.has(name) ? undefined : rules.change(new Map([[name, networkPart(network)]]));
    await Promise.allSettled([made, ruled]);
    await made;
    await ruled;
  }

  /**
   * Connects a network namespace with networks: a pair of devices each, the container's with its name, addresses and routes. The bridges
   * are there ({@link prepare}).
   * @param nsFd of the namespace; open until this resolves
   * @throws Failure; already-exists when the namespace has a device of that name
   */
  async enter(nsFd: number, endpoints: readonly Endpoint[]): Promise<void> {
    if (endpoints.length === 0) return;
    await this.#failing(async () => {
      const host = await this.#host();
      try {
        await this.#enter(host, nsFd, endpoints);
      } catch (error) {
        const isBridgeGone = (await Promise.all(endpoints.map((endpoint) => this.#hasBridge(host, endpoint)))).includes(
          false,
        );
        if (!isBridgeGone) throw error;
        await this.#onEach(endpoints, (network, own) => this.#prepare(host, network, own));
        await this.#enter(host, nsFd, endpoints);
      }
    });
  }

  async #enter({ socket, identity }: Host, nsFd: number, endpoints: readonly Endpoint[]): Promise<void> {
    const bridges = new Map(endpoints.map(({ network }) => [network.bridge, this.#networks.get(network.id)?.index]));
    await enterPairs(socket, identity, nsFd, endpoints, bridges);
  }

  /** Whether the bridge of an endpoint is the one that is known. */
  async #hasBridge({ socket, identity }: Host, { network }: Endpoint): Promise<boolean> {
    const used = this.#networks.get(network.id);
    const link = await findLink(socket, network.bridge);
    if (used !== undefined && link?.index === used.index && isOurs(link!, identity)) return true;
    if (used !== undefined) used.index = undefined;
    return false;
  }

  /**
   * Has a container reach everything else by one of its endpoints from now on.
   * @param nsFd as of {@link enter}
   * @throws Failure
   */
  async route(nsFd: number, endpoint: Endpoint): Promise<void> {
    await this.#failing(() => routeBy(nsFd, endpoint));
  }

  /**
   * Takes the devices of endpoints away, on both sides, and bridges that nothing is connected to any more. Fine when there are none.
   * @param isEnding whether the container's namespace is at its end, which takes them along: that is waited for for a moment
   */
  async remove(endpoints: readonly Endpoint[], { isEnding = false } = {}): Promise<void> {
    if (endpoints.length === 0) return;
    await this.#failing(async () => {
      const host = await this.#host();
      await removePairs(host.socket, host.identity, endpoints, isEnding);
      await this.#onEach(endpoints, (network, own) => this.#leave(host, network, own));
    });
  }

  async #leave({ socket, identity, rules }: Host, network: Network, endpoints: readonly Endpoint[]): Promise<void> {
    const used = this.#networks.get(network.id);
    for (const { device } of endpoints) used?.devices.delete(device);
    if (used !== undefined && used.devices.size > 0) return;
    this.#networks.delete(network.id);
    const link = await findLink(socket, network.bridge);
    if (link !== undefined && isOurs(link, identity)) await remove(socket, link);
    if (rules.has(networkKey(network))) await rules.change(new Map([[networkKey(network), undefined]]));
  }

  /** Has the host let through what a container may send and get, in place of what was published of it before. @throws Failure */
  async publish(container: ContainerName, rules: ContainerRules): Promise<void> {
    await this.#publish([{ container, rules }]);
  }

  async #publish(all: readonly { container: ContainerName; rules: ContainerRules }[]): Promise<void> {
    await this.#failing(async () => {
      const host = await this.#host();
      const table = tableName(host.identity);
      const parts = all.map(
        ({ container, rules }) => [containerKey(container), containerPart(table, container, rules)] as const,
      );
      // One that needs no rules makes no tables.
      const changes = parts.filter(
        ([key, part]) => host.rules.has(key) || part.elements.length > 0 || part.opening !== "",
      );
      const before = all.flatMap(({ container }) => this.#publicationsOf(container));
      if (changes.length > 0) await host.rules.change(new Map(changes));
      for (const { container, rules } of all) this.#containers.set(containerKey(container), { container, rules });
      await this.#forgetUdp(
        host,
        before,
        all.flatMap(({ rules }) => rules.publications),
      );
    });
  }

  /** Takes away what {@link publish} has made. Fine when there is nothing. */
  async withdraw(container: ContainerName): Promise<void> {
    const key = containerKey(container);
    const before = this.#publicationsOf(container);
    if (!this.#containers.delete(key)) return;
    await this.#failing(async () => {
      const host = await this.#host();
      if (host.rules.has(key)) await host.rules.change(new Map([[key, undefined]]));
      await this.#forgetUdp(host, before, []);
    });
  }

  #publicationsOf(container: ContainerName): readonly Publication[] {
    return this.#containers.get(containerKey(container))?.rules.publications ?? [];
  }

  /** What fails here keeps nobody from what he has asked for: it is right once nobody has sent anything for a while. */
  async #forgetUdp({ socket }: Host, before: readonly Publication[], after: readonly Publication[]): Promise<void> {
    await forgetUdpFlows(socket, before, after).catch(this.#options.onError);
  }

  /** {@link publish} of two containers in one step: nobody finds a port closed that moves from one to the other. @throws Failure */
  async move(
    from: ContainerName,
    fromRules: ContainerRules,
    to: ContainerName,
    toRules: ContainerRules,
  ): Promise<void> {
    await this.#publish([
      { container: from, rules: fromRules },
      { container: to, rules: toRules },
    ]);
  }

  /**
   * Has all rules as they are to be, in one step, and bridges where they are missing; takes away what is ours and nobody needs. A running
   * container's devices can only be made by {@link enter}: those that are missing are told of.
   * @throws Failure
   */
  async restore({ networks, containers }: HostState): Promise<{ missing: Endpoint[] }> {
    this.#networks.clear();
    for (const network of networks) this.#networks.set(network.id, { network, devices: new Set() });
    this.#containers.clear();
    for (const [container, rules] of containers) {
      this.#containers.set(containerKey(container), { container, rules });
      for (const { network, device } of rules.endpoints) {
        const used = this.#networks.get(network.id) ?? { network, devices: new Set() };
        used.devices.add(device);
        this.#networks.set(network.id, used);
      }
    }
    return await this.#failing(async () => {
      const host = await this.#host();
      const { missing } = await this.#restoreDevices(host);
      await host.rules.replace(this.#parts(host));
      return { missing };
    });
  }

  /** As {@link restore}, of what is known already. @returns what was not as it is to be, a sentence each */
  async repair(): Promise<string[]> {
    return await this.#failing(async () => {
      const host = await this.#host();
      const { mended, missing } = await this.#restoreDevices(host);
      if (!(await host.rules.isThere())) mended.push("the rules were missing");
      await host.rules.replace(this.#parts(host));
      const lost = missing.map(
        ({ device, namespace, container }) =>
          `device ${device} of container ${JSON.stringify(container)} in namespace ${JSON.stringify(namespace)} is missing: ` +
          "it comes with the container's next start",
      );
      return [...mended, ...lost];
    });
  }

  #parts({ identity }: Host): Map<string, Part> {
    const parts = new Map<string, Part>();
    for (const { network } of this.#networks.values()) parts.set(networkKey(network), networkPart(network));
    for (const [key, { container, rules }] of this.#containers) {
      const part = containerPart(tableName(identity), container, rules);
      if (part.elements.length > 0 || part.opening !== "") parts.set(key, part);
    }
    return parts;
  }

  async #restoreDevices({ socket, identity }: Host): Promise<{ mended: string[]; missing: Endpoint[] }> {
    const mended: string[] = [];
    const links = await listLinks(socket);
    const devices = new Set([...this.#networks.values()].flatMap((used) => [...used.devices]));
    const bridges = new Set([...this.#networks.values()].map(({ network }) => network.bridge));
    for (const link of links) {
      if (!isOurs(link, identity)) continue;
      const isSpare =
        (isDeviceName(link.name) && !devices.has(link.name)) || (isBridgeName(link.name) && !bridges.has(link.name));
      if (!isSpare) continue;
      await remove(socket, link);
      mended.push(`device ${link.name} was left over`);
    }
    const byName = new Map(links.filter((link) => isOurs(link, identity)).map((link) => [link.name, link]));
    const endpoints = [...this.#containers.values()].flatMap(({ rules }) => rules.endpoints);
    const missing: Endpoint[] = [];
    for (const { network } of [...this.#networks.values()]) {
      const { index, mended: own } = await this.#turns.run(network.id, () => ensureBridge(socket, identity, network));
      const used = this.#networks.get(network.id);
      if (used !== undefined) used.index = index;
      mended.push(...own);
      for (const endpoint of endpoints) {
        if (endpoint.network.id !== network.id) continue;
        const link = byName.get(endpoint.device);
        if (link === undefined) missing.push(endpoint);
        else if (link.master !== index || !link.isUp) {
          await socket.do(changeLink(link.index, { master: index, isUp: true }));
          mended.push(`device ${link.name} was not connected with bridge ${network.bridge}`);
        }
      }
    }
    return { mended, missing };
  }

  /** The end of the daemon: everything on the host stays as it is. */
  async close(): Promise<void> {
    const host = await this.#opening?.catch(() => undefined);
    await host?.rules.close();
    host?.socket[Symbol.dispose]();
  }

  async #failing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Failure) throw error;
      const why = `networks: ${(error as Error).message}`;
      const kind = error instanceof NftMissing ? "failed-precondition" : "internal";
      throw new Failure(kind, error instanceof NftMissing ? "refused" : "system", { why }, { cause: error });
    }
  }
}

async function remove(socket: NetlinkSocket, link: Link): Promise<void> {
  const [error]: (NetlinkError | undefined)[] = await socket.request([removeLink(link.index)]);
  if (error !== undefined && error.code !== "ENODEV") throw error;
}

function networkKey({ id }: Network): string {
  return `network ${id}`;
}

function containerKey({ namespace, container }: ContainerName): string {
  return `container ${namespace}/${container}`;
}

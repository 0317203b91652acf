import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { Failure } from "../failure/failure.js";
import { logText } from "../failure/log-text.js";
import type { Identity } from "../metadata/identity.js";
import { Addresses, macOf } from "../network/addresses.js";
import { Cni, type CniPlace, type CniWish, runtimeConfigOf } from "../network/cni/cni.js";
import { networkOf } from "../network/cni/configuration.js";
import type { EgressReport } from "../network/egress-report.js";
import type { HostNetworks } from "../network/host-networks.js";
import { parseAddress } from "../network/ip-address.js";
import type { ContainerRules, Endpoint, Network, Publication } from "../network/network.js";
import { BRIDGE, type Networks, noNetwork } from "../network/networks.js";
import { FirstUse } from "../scheduling/first-use.js";
import type { Process } from "../tasks/process.js";
import type { RunDirectory } from "../tasks/run-directory.js";
import type { Timer } from "../telemetry/timer.js";
import type { ContainerConfig, NetworkAttachment, PortMapping } from "./container-config.js";
import type { EngineContainer } from "./engine-container.js";
import type { KeptContainer } from "./kept-container.js";
import { type NamingWishes, NetworkKeeper } from "./network-keeper.js";
import { openNetworkOf } from "./network-of-process.js";
import {
  type Attached,
  type AttachedEndpoint,
  endpointOn,
  freeDevice,
  holderOf,
  isOf,
  isOurs,
  keyOf,
  keyOfPlace,
  nameOf,
  type Place,
  refused,
  shown,
  type Wish,
  withoutNetwork,
} from "./network-place.js";
import { isOneOf, mappingsOf, PublishedPorts } from "./published-ports.js";
import type { OwnAddresses } from "./spec/container-files.js";

interface OwnPlace extends Place {
  /** What is done on the host beside the creation of its task. */
  preparing: Promise<void>;
  /** What its end has left to do. */
  leaving: Promise<void>;
  /** Ports that plugins of the system's networks publish. */
  systemPorts: readonly PortMapping[];
  config: NamingWishes;
}

interface Parts {
  records: Networks;
  identity: Identity;
  /** Is there while there may be something on the host. */
  marker: string;
  runDirectory: RunDirectory;
  /** Of the starts that it has made ready. */
  attachTime: Timer;
  /** The path of containerd-netd. */
  netd: string;
  cni: CniFlags;
  log: Logger;
}

/** Where networks of the system are configured, and where their plugins are. */
export interface CniFlags {
  configurations: string;
  plugins: readonly string[];
}

/**
 * The networks of the engine's containers: who has what, in memory, and the way from there to the host. Nothing of the host's part is
 * loaded before the first container needs it. Who changes a container has its turn.
 */
export class ContainerNetworks {
  readonly records: Networks;
  readonly addresses = new Addresses();
  readonly #parts: Parts;
  readonly #places = new Map<string, OwnPlace>();
  /** What ends have left to do, by the keys of their containers, which may be gone, or be other ones by now. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #hostUse: FirstUse<HostNetworks>;
  readonly #keeper: NetworkKeeper;
  readonly #ports: PublishedPorts;
  readonly #cni: Cni;
  #missing: Endpoint[] = [];
  /** What was on networks of the system when the machine was started anew. */
  readonly #lost: { place: OwnPlace; attached: Attached }[] = [];

  constructor(parts: Parts) {
    this.#parts = parts;
    this.records = parts.records;
    this.#hostUse = new FirstUse(() => this.#openHost());
    const { runDirectory, netd: program, cni, log } = parts;
    this.#cni = new Cni({ ...cni, directory: () => join(runDirectory.path, "cni"), log });
    const onError = (error: string) => log.error({ error }, "containerd: names and ports of containers");
    const table = async () => (await this.#hostUse.done()).table();
    this.#keeper = new NetworkKeeper({ runDirectory, program, table, onError });
    this.#ports = new PublishedPorts(this.#keeper);
  }

  placeOf({ namespace, id }: Pick<EngineContainer, "namespace" | "id">): Place | undefined {
    return this.#places.get(keyOf(namespace, id));
  }

  /** Who is to be on a network, whether it runs or not. */
  usersOf(network: string): Place[] {
    return [...this.#places.values()].filter(({ wishes }) => wishes.some((wish) => wish.network.id === network));
  }

  /** Those that a container has now: that which is reached by its ports, and has its default route, first. */
  addressesOf(container: Pick<EngineContainer, "namespace" | "id">): OwnAddresses[] {
    const place = this.#places.get(keyOf(container.namespace, container.id));
    if (place === undefined) return [];
    return this.#endpointsOf(place)
      .toSorted((a, b) => Number(b.isDefaultRoute) - Number(a.isDefaultRoute))
      .map(({ address, address6, network: { gateway } }) => ({ address, address6, gateway }));
  }

  /**
   * Takes note of the networks that a container is to be on. The addresses that it names are its own from here on.
   * @throws Failure: not-found for a network, invalid-argument, failed-precondition for an address that is taken: nothing is left then
   */
  async note(container: EngineContainer, config: ContainerConfig): Promise<void> {
    if (config.network.mode !== "attached") return;
    const wishes: Wish[] = [];
    for (const [index, attachment] of config.network.networks.entries()) {
      const network = await this.#find(container.namespace, attachment.network);
      checkWish(network, attachment);
      checkClosed(network, config);
      if (wishes.some((other) => other.network.id === network.id))
        throw refused("invalid-argument", `networks[${index}]: ${JSON.stringify(attachment.network)} is there twice`);
      wishes.push({ network, attachment });
    }
    if ((config.ports?.length || config.publishAll) && wishes.every(({ network }) => network.internal)) {
      const names = wishes.map(({ network }) => JSON.stringify(network.name)).join(", ");
      throw refused(
        "invalid-argument",
        `ports: nothing outside reaches an internal network, and there is only ${names}`,
      );
    }
    // One may have been removed while another was looked for.
    for (const { network } of wishes)
      if (isOurs(network) && this.records.byId(network.id) === undefined) throw noNetwork(network);
    const place = this.#add(container, config, wishes);
    try {
      for (const wish of wishes) this.#reserve(place, wish);
    } catch (error) {
      this.forget(container);
      throw error;
    }
  }

  /**
   * Chooses addresses and ports for a container that is about to be started, if it is to be on networks.
   * @param exposed ports of its image: `80/tcp`
   * @throws Failure: failed-precondition for what is taken, resource-exhausted: nothing is taken then
   */
  async take(
    container: EngineContainer,
    config: ContainerConfig,
    exposed: readonly string[],
  ): Promise<Attached | undefined> {
    if (config.network.mode !== "attached") return undefined;
    if (this.placeOf(container) === undefined) await this.note(container, config);
    const place = this.#places.get(keyOf(container.namespace, container.id))!;
    place.config = config;
    await place.leaving;
    await this.#parts.runDirectory.make(container.namespace);
    const endpoints: AttachedEndpoint[] = [];
    try {
      for (const wish of place.wishes) endpoints.push(this.#endpointOf(place, wish, endpoints));
      place.attached = { endpoints, publications: [] };
      writeFileSync(this.#parts.marker, "");
      const mappings = mappingsOf(config, exposed);
      const isOnOurs = place.wishes.some(({ network }) => isOurs(network));
      place.systemPorts = isOnOurs ? [] : mappings;
      // What can't be had is told before anything is begun.
      await this.#systemWishes(place);
      if (isOnOurs) place.attached.publications = await this.#ports.publish(place, endpoints, mappings);
      return place.attached;
    } catch (error) {
      place.attached = undefined;
      this.#releaseAddresses(place);
      throw error;
    }
  }

  /** Has the host ready for a container, beside the creation of its task. What is wrong with it {@link enter} tells. */
  prepare(container: EngineContainer): void {
    const place = this.#places.get(keyOf(container.namespace, container.id));
    if (place?.attached === undefined || this.#endpointsOf(place).length === 0) return;
    this.#keeper.prepare();
    place.preparing = (async () => {
      const host = await this.#hostUse.done();
      await Promise.all([host.prepare(this.#endpointsOf(place)), host.publish(nameOf(place), this.#rulesOf(place))]);
    })();
    place.preparing.catch(() => {});
  }

  /** Connects a container that was created, and does not run yet. @throws Failure */
  async enter(container: EngineContainer, init: Process, signal: AbortSignal): Promise<void> {
    const place = this.#places.get(keyOf(container.namespace, container.id));
    if (place?.attached === undefined) return;
    const began = performance.now();
    await place.preparing;
    await this.#connect(place, init, this.#endpointsOf(place), signal);
    this.#parts.attachTime.since(began);
  }

  /**
   * Takes away what a container has had while it ran. Its addresses and ports are free at once; the addresses of one with egress once there
   * are no rules for it any more, since the rules go by them.
   * @returns resolves when it is gone from the host, too; never rejects
   */
  leave(container: EngineContainer): Promise<void> {
    const key = keyOf(container.namespace, container.id);
    const place = this.#places.get(key);
    if (place === undefined) return Promise.resolve();
    const { attached } = place;
    if (attached === undefined) return place.leaving;
    const endpoints = this.#endpointsOf(place);
    place.attached = undefined;
    this.#ports.taken.release(attached.publications, holderOf(place));
    if (place.config.egress === undefined) this.#releaseAddresses(place);
    const leaving = this.#undo(place, endpoints, attached.publications).finally(() => {
      if (this.#leaving.get(key) === leaving) this.#leaving.delete(key);
    });
    this.#leaving.set(key, leaving);
    place.leaving = leaving;
    return leaving;
  }

  /** As {@link leave}, of a container that is no more. */
  async forget(container: EngineContainer): Promise<void> {
    const key = keyOf(container.namespace, container.id);
    const place = this.#places.get(key);
    if (place === undefined) return;
    const left = this.leave(container);
    this.#places.delete(key);
    if (place.config.egress !== undefined) await left;
    for (const { network } of place.wishes) this.addresses.release(network, { key });
    await left;
  }

  /**
   * Takes note of what an earlier daemon's containers have, before any other is started.
   * @param mayRun whether one may run
   */
  async recall(
    found: readonly { container: EngineContainer; kept: KeptContainer }[],
    mayRun: (container: EngineContainer) => boolean,
  ): Promise<void> {
    const all = found.filter(({ kept }) => kept.config.network.mode === "attached");
    if (all.length === 0) return;
    await this.records.loaded();
    const failed = ({ id }: EngineContainer, error: unknown) =>
      this.#parts.log.error({ id, error: logText(error) }, "containerd: take over what a container has of networks");
    for (const { container, kept } of all) {
      const wishes = await this.#wishesOf(container, kept.config).catch((error) => failed(container, error));
      const place = this.#add(container, kept.config, wishes ?? []);
      for (const wish of place.wishes) {
        try {
          this.#reserve(place, wish);
        } catch (error) {
          failed(container, error);
        }
      }
    }
    // What is in use comes before what is chosen.
    for (const { container, kept } of all) {
      if (kept.attached === undefined) continue;
      if (!mayRun(container)) {
        const place = this.#places.get(keyOf(container.namespace, container.id))!;
        if (place.wishes.some(({ network }) => !isOurs(network))) this.#lost.push({ place, attached: kept.attached });
        continue;
      }
      const place = this.#places.get(keyOf(container.namespace, container.id))!;
      place.attached = kept.attached;
      try {
        for (const { network, address, address6, mac } of this.#endpointsOf(place)) {
          this.addresses.take(network, 4, address, holderOf(place));
          if (address6 !== "") this.addresses.take(network, 6, address6, holderOf(place));
          this.addresses.takeMac(network, mac, holderOf(place));
        }
        this.#ports.taken.take(kept.attached.publications, holderOf(place));
      } catch (error) {
        failed(container, error);
      }
    }
  }

  /**
   * Has the host as it is to be, if there may be something of ours: what an earlier daemon had begun is finished, or undone. Never rejects.
   * @param initOf tells a container's process, if it runs
   */
  async restore(initOf: (container: EngineContainer) => Process | undefined): Promise<void> {
    if (!existsSync(this.#parts.marker)) return;
    const attempt = async (work: () => Promise<void>) => {
      await work().catch((error) =>
        this.#parts.log.error({ error: logText(error) }, "containerd: restore the networks of containers"),
      );
    };
    await attempt(() => this.#restoreSystem(initOf));
    await attempt(async () => {
      await this.#hostUse.done();
      const missing = this.#missing.splice(0);
      const restoreOne = async (place: OwnPlace) => {
        const init = initOf(place.container);
        if (init === undefined || place.attached === undefined) return;
        const { connecting } = place.attached;
        const endpoints = missing.filter((endpoint) => isOf(place, endpoint) && endpoint.network.id !== connecting);
        if (endpoints.length > 0) await attempt(() => this.#connect(place, init, endpoints));
        if (connecting !== undefined) await attempt(() => this.#connectAgain(place, connecting, init));
        if (place.attached.isRerouting) await attempt(() => this.#reroute(place, init));
        const { publications } = place.attached;
        await Promise.all([
          attempt(() => this.#keeper.holdAgain(publications)),
          attempt(() => this.#keeper.name(keyOfPlace(place), place, place.config, init)),
        ]);
      };
      await Promise.all([...this.#places.values()].map(restoreOne));
      await this.#keeper.restored();
      this.#unmark();
    });
  }

  /**
   * Puts a container on one more network, in memory: {@link enterMore} does so on the host.
   * @param isRunning it gets an address then
   * @throws Failure: as {@link note}; already-exists
   */
  async connect(
    container: EngineContainer,
    config: NamingWishes,
    attachment: NetworkAttachment,
    isRunning: boolean,
  ): Promise<Network> {
    const network = await this.records.get(container.namespace, attachment.network);
    checkWish(network, attachment);
    checkClosed(network, config);
    const key = keyOf(container.namespace, container.id);
    const place = this.#places.get(key) ?? this.#add(container, config, []);
    if (place.wishes.some((wish) => wish.network.id === network.id)) {
      const why = `container ${JSON.stringify(container.name || container.id)} is on network ${JSON.stringify(network.name)} already`;
      throw new Failure("already-exists", "refused", { why });
    }
    if (this.records.byId(network.id) === undefined) throw noNetwork(network);
    const wish = { network, attachment };
    try {
      this.#reserve(place, wish);
      if (isRunning) {
        const attached = place.attached ?? { endpoints: [], publications: [] };
        const endpoint = this.#endpointOf(place, wish, attached.endpoints);
        writeFileSync(this.#parts.marker, "");
        place.attached = { ...attached, endpoints: [...attached.endpoints, endpoint], connecting: network.id };
      }
    } catch (error) {
      this.addresses.release(network, { key });
      if (place.wishes.length === 0) this.#places.delete(key);
      throw error;
    }
    place.wishes.push(wish);
    return network;
  }

  /** Connects a container that runs with a network that {@link connect} has put it on. @throws Failure */
  async enterMore(container: EngineContainer, network: Network, init: Process): Promise<void> {
    const place = this.#places.get(keyOf(container.namespace, container.id))!;
    await place.leaving;
    const host = await this.#hostUse.done();
    const endpoints = this.#endpointsOf(place).filter((endpoint) => endpoint.network.id === network.id);
    await Promise.all([host.prepare(endpoints), host.publish(nameOf(place), this.#rulesOf(place))]);
    await this.#connect(place, init, endpoints);
    if (place.attached !== undefined) place.attached = { ...place.attached, connecting: undefined };
  }

  /**
   * Takes a container off a network, in memory. With its default route go its published ports, to another one of its networks.
   * @param init of one that runs
   * @returns what does so on the host, which never rejects
   * @throws Failure (failed-precondition) when there is none that they could go to
   */
  disconnect(container: EngineContainer, network: Network, init: Process | undefined): () => Promise<void> {
    const key = keyOf(container.namespace, container.id);
    const place = this.#places.get(key);
    if (place === undefined) return async () => {};
    const gone = this.#endpointsOf(place).filter((endpoint) => endpoint.network.id === network.id);
    const rest = place.attached && withoutNetwork(place.attached, network, place);
    place.wishes = place.wishes.filter((wish) => wish.network.id !== network.id);
    const isClosed = place.config.egress !== undefined && gone.length > 0;
    if (!isClosed) this.addresses.release(network, { key });
    place.attached = place.wishes.length === 0 ? undefined : rest;
    if (place.wishes.length === 0) this.#places.delete(key);
    if (gone.length === 0) return async () => {};
    return async () => {
      try {
        const host = await this.#hostUse.done();
        // While it has the device it has the rules.
        if (isClosed) await host.remove(gone);
        if (place.attached === undefined) await host.withdraw(nameOf(place));
        else await host.publish(nameOf(place), this.#rulesOf(place));
        if (!isClosed) await host.remove(gone);
        if (place.attached?.isRerouting && init !== undefined) await this.#reroute(place, init);
        if (place.attached === undefined) await this.#keeper.forget(key);
        else await this.#keeper.rename(key, place, place.config);
        this.#unmark();
      } catch (error) {
        const { id } = container;
        this.#parts.log.error({ id, error: logText(error) }, "containerd: take a container off a network");
      } finally {
        if (isClosed) this.addresses.release(network, { key });
      }
    };
  }

  /** Of a connection that may be half made: a device without an address. @throws Failure */
  async #connectAgain(place: OwnPlace, id: string, init: Process): Promise<void> {
    const network = this.records.byId(id);
    if (network === undefined) return;
    const host = await this.#hostUse.done();
    await host.remove(this.#endpointsOf(place).filter((endpoint) => endpoint.network.id === id));
    await this.enterMore(place.container, network, init);
  }

  /** Has a container go out by the network that it is to go out by. @throws Failure */
  async #reroute(place: OwnPlace, init: Process): Promise<void> {
    const endpoint = this.#endpointsOf(place).find(({ isDefaultRoute }) => isDefaultRoute);
    if (endpoint !== undefined) {
      const host = await this.#hostUse.done();
      const { network, close } = openNetworkOf(init);
      try {
        await host.route(network, endpoint);
      } finally {
        close();
      }
    }
    if (place.attached !== undefined) place.attached = { ...place.attached, isRerouting: undefined };
  }

  /**
   * Hands the published ports of one container to another: in memory first.
   * @returns what does so on the host, and what takes it back
   * @throws Failure (failed-precondition)
   */
  movePorts(from: EngineContainer, to: EngineContainer): { onHost: () => Promise<void>; back: () => void } {
    const source = this.#running(from);
    const target = this.#running(to);
    const before = { source: source.attached, target: target.attached };
    const endpoint = before.target.endpoints.find(({ isDefaultRoute }) => isDefaultRoute);
    if (endpoint === undefined)
      throw refused("failed-precondition", `container ${shown(to)} is on no network that is not internal`);
    const moved = before.source.publications.map((publication): Publication => {
      const address = publication.hostAddress.includes(":") ? endpoint.address6 : endpoint.address;
      if (address !== "") return { ...publication, address };
      throw refused(
        "failed-precondition",
        `container ${shown(to)} has no IPv6, by which port ${publication.hostPort} is reached`,
      );
    });
    const take = (publications: readonly Publication[], others: readonly Publication[], place: Place, other: Place) => {
      this.#ports.taken.release(others, holderOf(other));
      this.#ports.taken.take(publications, holderOf(place));
    };
    take(moved, before.source.publications, target, source);
    source.attached = { ...before.source, publications: [] };
    target.attached = { ...before.target, publications: [...before.target.publications, ...moved] };
    return {
      onHost: async () => {
        const host = await this.#hostUse.done();
        await host.move(nameOf(source), this.#rulesOf(source), nameOf(target), this.#rulesOf(target));
      },
      back: () => {
        take(before.source.publications, moved, source, target);
        source.attached = before.source;
        target.attached = before.target;
      },
    };
  }

  /** What a container with `egress` has tried to reach; what it had before it ended last is no more. */
  async egressOf(container: EngineContainer): Promise<EgressReport> {
    const place = this.#places.get(keyOf(container.namespace, container.id));
    if (place !== undefined && place.config.egress === undefined)
      throw refused(
        "failed-precondition",
        `container ${shown(container)} has no egress: nothing of it is written down`,
      );
    if (place?.attached === undefined) return { attempts: [], dropped: 0 };
    const { readEgress } = await import("../network/egress-report.js");
    const host = await this.#hostUse.done();
    const names = await this.#keeper.askedNames(keyOfPlace(place));
    return await readEgress(await host.table(), nameOf(place), this.#endpointsOf(place), names);
  }

  /** Has the host as it is to be. @returns what was not, a sentence each */
  async repair(): Promise<string[]> {
    if (!existsSync(this.#parts.marker)) return [];
    return await (await this.#hostUse.done()).repair();
  }

  #running(container: EngineContainer): OwnPlace & { attached: Attached } {
    const place = this.#places.get(keyOf(container.namespace, container.id));
    if (place?.attached === undefined)
      throw refused("failed-precondition", `container ${shown(container)} does not run on a network`);
    return place as OwnPlace & { attached: Attached };
  }

  /** As far as there are such networks. */
  async #wishesOf({ namespace }: EngineContainer, { network }: ContainerConfig): Promise<Wish[]> {
    const wishes: Wish[] = [];
    for (const attachment of network.mode === "attached" ? network.networks : []) {
      const found = await this.records.find(namespace, attachment.network);
      // What the system has had configured, and has no more, is told of as it was.
      wishes.push({ network: found ?? networkOf({ name: attachment.network }), attachment });
    }
    return wishes;
  }

  /** A network of ours, or one of the system's. @throws Failure: not-found, invalid-argument */
  async #find(namespace: string, text: string): Promise<Network> {
    const found = await this.records.find(namespace, text);
    if (found !== undefined || text === BRIDGE) return found ?? (await this.records.get(namespace, text));
    const ofSystem = await this.#cni.find(text);
    return ofSystem === undefined ? await this.records.get(namespace, text) : networkOf(ofSystem);
  }

  /** What a container is to have of the networks of the system. @throws Failure */
  async #systemWishes(place: OwnPlace, attached = place.attached): Promise<CniWish[]> {
    const wishes: CniWish[] = [];
    for (const { network, attachment } of place.wishes) {
      const inside = attached?.endpoints.find((endpoint) => endpoint.network === network.id)?.inside;
      if (isOurs(network) || inside === undefined) continue;
      const found = await this.#cni.find(network.name);
      if (found === undefined) throw noNetwork({ namespace: place.container.namespace, name: network.name });
      const { address, address6, mac, aliases } = attachment;
      // The first one has the ports.
      const ports = wishes.length === 0 ? portsOfSystem(place.systemPorts) : [];
      const wish = { network: found, inside, address, address6, mac, aliases, ports };
      runtimeConfigOf(wish);
      wishes.push(wish);
    }
    return wishes;
  }

  /** What plugins have said that a container has. */
  #noteSystem(place: OwnPlace, found: readonly CniPlace[]): void {
    const { attached } = place;
    if (attached === undefined) return;
    const endpoints = attached.endpoints.map((endpoint) => {
      const name = place.wishes.find(({ network }) => network.id === endpoint.network && !isOurs(network))?.network
        .name;
      const own = found.find(({ network, inside }) => network === name && inside === endpoint.inside);
      return own === undefined ? endpoint : { ...endpoint, address: own.address, address6: own.address6, mac: own.mac };
    });
    place.attached = { ...attached, endpoints };
  }

  /** What an earlier daemon's containers have of the networks of the system; what those have that do not run is undone. */
  async #restoreSystem(initOf: (container: EngineContainer) => Process | undefined): Promise<void> {
    for (const user of await this.#cni.all()) {
      const place = this.#places.get(keyOf(user.namespace, user.id));
      if (place?.attached !== undefined && initOf(place.container) !== undefined)
        this.#noteSystem(place, await this.#cni.placesOf(user));
      else await this.#attemptSystem(user, () => this.#cni.remove(user));
    }
    for (const { place, attached } of this.#lost.splice(0)) {
      if (place.attached !== undefined) continue;
      await this.#attemptSystem(place.container, async () =>
        this.#cni.removeLost(place.container, await this.#systemWishes(place, attached)),
      );
    }
  }

  async #attemptSystem({ namespace, id }: { namespace: string; id: string }, work: () => Promise<void>): Promise<void> {
    await work().catch((error) => {
      const fields = { namespace, id, error: logText(error) };
      this.#parts.log.error(fields, "containerd: undo what a container has of the networks of the system");
    });
  }

  /** A container has another name. */
  async rename(container: EngineContainer): Promise<void> {
    const place = this.#places.get(keyOf(container.namespace, container.id));
    if (place?.attached === undefined) return;
    await this.#keeper.rename(keyOfPlace(place), place, place.config).catch((error) => {
      this.#parts.log.error({ id: container.id, error: logText(error) }, "containerd: names of a container");
    });
  }

  /** In ms, of what a start waits for nobody else. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#leaving.values());
    await (await this.#hostUse.begun?.catch(() => undefined))?.close();
    await this.#keeper.close();
  }

  #add(container: EngineContainer, config: OwnPlace["config"], wishes: Wish[]): OwnPlace {
    const key = keyOf(container.namespace, container.id);
    const done = Promise.resolve();
    const place: OwnPlace = {
      ...{ container, config, wishes, attached: undefined },
      // One that is gone may have had its id.
      ...{ preparing: done, leaving: this.#leaving.get(key) ?? done, systemPorts: [] },
    };
    this.#places.set(key, place);
    return place;
  }

  #reserve(place: Place, { network, attachment }: Wish): void {
    if (!isOurs(network)) return;
    const { address, address6, mac } = attachment;
    if (address !== "") this.addresses.take(network, 4, address, holderOf(place));
    if (address6 !== "") this.addresses.take(network, 6, address6, holderOf(place));
    if (mac !== "") this.addresses.takeMac(network, mac.toLowerCase(), holderOf(place));
  }

  #endpointOf(place: Place, wish: Wish, before: readonly AttachedEndpoint[]): AttachedEndpoint {
    const { network, attachment } = wish;
    const inside = freeDevice(before);
    if (!isOurs(network))
      return { network: network.id, inside, address: "", address6: "", mac: "", isDefaultRoute: false };
    const holder = holderOf(place);
    const address = this.addresses.take(network, 4, attachment.address, holder);
    const address6 = network.subnet6 === "" ? "" : this.addresses.take(network, 6, attachment.address6, holder);
    const mac = attachment.mac === "" ? macOf(address) : attachment.mac.toLowerCase();
    this.addresses.takeMac(network, mac, holder);
    const isDefaultRoute = !network.internal && !before.some((other) => other.isDefaultRoute);
    return { network: network.id, inside, address, address6, mac, isDefaultRoute };
  }

  /** What is named stays the container's. */
  #releaseAddresses(place: Place): void {
    for (const wish of place.wishes) {
      this.addresses.release(wish.network, holderOf(place));
      this.#reserve(place, wish);
    }
  }

  #endpointsOf({ container, attached, wishes, config }: OwnPlace): Endpoint[] {
    const isClosed = config.egress !== undefined;
    return (attached?.endpoints ?? []).flatMap((endpoint) => {
      const network = wishes.find((wish) => wish.network.id === endpoint.network)?.network;
      return network === undefined || !isOurs(network)
        ? []
        : [{ ...endpointOn(network, container, endpoint), isClosed }];
    });
  }

  #rulesOf(place: OwnPlace): ContainerRules {
    const { egress } = place.config;
    return {
      endpoints: this.#endpointsOf(place),
      publications: place.attached!.publications,
      ...(egress && { egress }),
    };
  }

  /** @param starting is given with the start of a container, whose networks of the system are set up, too */
  async #connect(
    place: OwnPlace,
    init: Process,
    endpoints: readonly Endpoint[],
    starting?: AbortSignal | undefined,
  ): Promise<void> {
    const { network, close } = openNetworkOf(init);
    try {
      const host = endpoints.length > 0 ? await this.#hostUse.done() : undefined;
      const done = await Promise.allSettled([
        host?.enter(network, endpoints),
        this.#keeper.name(keyOfPlace(place), place, place.config, init, true),
      ]);
      for (const one of done) if (one.status === "rejected") throw one.reason;
      const wishes = starting === undefined ? [] : await this.#systemWishes(place);
      if (wishes.length > 0)
        this.#noteSystem(place, await this.#cni.add(place.container, init.systemPid, wishes, starting!));
    } finally {
      close();
    }
  }

  async #undo(place: OwnPlace, endpoints: readonly Endpoint[], published: readonly Publication[]): Promise<void> {
    const { namespace, id } = place.container;
    const onHost = async () => {
      await place.preparing.catch(() => {});
      if (place.wishes.some(({ network }) => !isOurs(network))) await this.#cni.remove(place.container);
      if (endpoints.length === 0 && published.length === 0) return;
      const host = await this.#hostUse.done();
      if (place.config.egress === undefined) {
        await host.withdraw(nameOf(place));
        await host.remove(endpoints, { isEnding: true });
        return;
      }
      // Others may be in its network namespace: while they have its devices, they have its rules.
      await host.remove(endpoints);
      await host.withdraw(nameOf(place));
    };
    // What is held is let go of before another container may ask for it.
    const done = await Promise.allSettled([
      this.#keeper.release(published),
      this.#keeper.forget(keyOfPlace(place)),
      onHost().finally(() => {
        // Where it is no more, who forgets it has them free.
        if (place.config.egress !== undefined && this.#places.get(keyOfPlace(place)) === place)
          this.#releaseAddresses(place);
      }),
    ]);
    for (const one of done)
      if (one.status === "rejected") {
        const error = logText(one.reason);
        this.#parts.log.error({ namespace, id, error }, "containerd: take a container off its networks");
      }
    if (done.every(({ status }) => status === "fulfilled")) this.#unmark();
  }

  /** Once nobody is on a network the next daemon need not look for what is left. */
  #unmark(): void {
    const isUsed = [...this.#places.values()].some(({ attached }) => attached !== undefined);
    if (!isUsed) rmSync(this.#parts.marker, { force: true });
  }

  /** What netd has put into sets of ours that were lost. Then connections may be judged anew: those that it has let in go on. */
  #tellEgress(wasGone: boolean): void {
    const tell = async (place: OwnPlace) => {
      await this.rename(place.container);
      if (wasGone) await this.#keeper.judgeConnections(place);
    };
    for (const place of this.#places.values())
      if (place.config.egress !== undefined && place.attached !== undefined)
        tell(place).catch((error) =>
          this.#parts.log.error({ id: place.container.id, error: logText(error) }, "containerd: egress of a container"),
        );
  }

  async #openHost(): Promise<HostNetworks> {
    const { log, identity } = this.#parts;
    const { HostNetworks } = await import("../network/host-networks.js");
    const host = new HostNetworks({
      identity: () => identity.uuid(),
      onError: (error) => log.error({ error: logText(error) }, "containerd: networks on the host"),
      onRenewed: (wasGone) => this.#tellEgress(wasGone),
    });
    try {
      const used = [...this.#places.values()].filter(({ attached }) => attached !== undefined);
      const endpoints = used.flatMap((place) => this.#endpointsOf(place));
      const { missing } = await host.restore({
        networks: [...new Map(endpoints.map(({ network }) => [network.id, network])).values()],
        containers: new Map(used.map((place) => [nameOf(place), this.#rulesOf(place)])),
      });
      this.#missing = missing;
      return host;
    } catch (error) {
      await host.close();
      throw error;
    }
  }
}

/** @throws Failure (invalid-argument) for a port that has to be chosen */
function portsOfSystem(ports: readonly PortMapping[]): CniWish["ports"] {
  for (const port of ports) {
    if (isOneOf(port)) continue;
    const why = `ports: ${port.containerPort}/${port.protocol}: a network of the system has no ports chosen: name one`;
    throw refused("invalid-argument", why);
  }
  return ports;
}

/** @throws Failure (invalid-argument) */
function checkWish(network: Network, { address, address6 }: NetworkAttachment): void {
  if (!isOurs(network)) return;
  if (address6 !== "" && network.subnet6 === "")
    throw refused("invalid-argument", `address6 ${address6}: network ${JSON.stringify(network.name)} has no IPv6`);
  if (address !== "" && parseAddress(address) === undefined)
    throw refused("invalid-argument", `address ${JSON.stringify(address)}: no IP address`);
}

/** @throws Failure (invalid-argument) */
function checkClosed({ name, driver }: Network, { egress }: Pick<ContainerConfig, "egress">): void {
  if (egress !== undefined && driver !== "bridge")
    throw refused(
      "invalid-argument",
      `egress: network ${JSON.stringify(name)} is none of ours (${driver}): it keeps nobody`,
    );
}

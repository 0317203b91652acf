import type { AskedNames } from "../../contract/netd/messages.js";
import { Failure } from "../failure/failure.js";
import type { HeldPort, NamedEndpoint, Naming, Netd } from "../network/netd/netd.js";
import type { Publication } from "../network/network.js";
import { FirstUse } from "../scheduling/first-use.js";
import type { Process } from "../tasks/process.js";
import type { RunDirectory } from "../tasks/run-directory.js";
import type { ContainerConfig } from "./container-config.js";
import type { Place } from "./network-place.js";

interface Parts {
  runDirectory: RunDirectory;
  /** The path of containerd-netd. */
  program: string;
  /** Tells what our tables of the host's rules are called. */
  table: () => Promise<string>;
  onError: (message: string) => void;
}

/** What of a container's config its names depend on. */
export type NamingWishes = Pick<ContainerConfig, "dns" | "hostname" | "egress">;

/** What docker ps shows of an id. */
const SHORT_ID = 12;

/** What containerd-netd does for containers: it holds their ports, and answers their names, also while no daemon is there. */
export class NetworkKeeper {
  readonly #netd: FirstUse<Netd>;
  /** Those whose names it answers, by their keys. */
  readonly #named = new Set<string>();
  readonly #table: () => Promise<string>;

  constructor({ runDirectory, program, table, onError }: Parts) {
    this.#table = table;
    this.#netd = new FirstUse(async () => {
      const { Netd } = await import("../network/netd/netd.js");
      return new Netd({ directory: runDirectory.path, program, onError });
    });
  }

  /**
   * Holds ports, all or none.
   * @returns their numbers: of a port 0 one that nobody has
   * @throws Failure (failed-precondition) for one that another program has
   */
  async hold(ports: readonly HeldPort[]): Promise<number[]> {
    if (ports.length === 0) return [];
    const netd = await this.#netd.done();
    const { PortTaken } = await import("../network/netd/netd.js");
    try {
      return await netd.hold(ports);
    } catch (error) {
      if (!(error instanceof PortTaken)) throw error;
      const { protocol, address, port } = error;
      const place = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
      const why = `port ${place}/${protocol} of the host is taken by a program that is no container of this daemon`;
      throw new PortOfAnother("failed-precondition", "refused", { why });
    }
  }

  /** What is published is not held any more. */
  async release(publications: readonly Publication[]): Promise<void> {
    if (publications.length === 0) return;
    const single = publications.map(({ protocol, hostAddress, hostPort: port }) => ({
      ...{ protocol, addresses: [hostAddress], port },
    }));
    // Two families of a port may have been asked for together, or one by one.
    await (await this.#netd.done()).release([...heldPorts(publications), ...single]);
  }

  /** What an earlier daemon has published. */
  async holdAgain(publications: readonly Publication[]): Promise<void> {
    await this.hold(heldPorts(publications));
  }

  /** Has it ready for {@link name}, beside what else is done until then. */
  prepare(): void {
    this.#netd.done().then(
      (netd) => netd.begin(),
      () => {},
    );
  }

  /**
   * Answers a container's names from now on, or answers other ones.
   * @param isNew whether the container is about to get its addresses: what their earlier owners had connected is none of its own
   */
  async name(key: string, place: Place, wishes: NamingWishes, init: Process, isNew = false): Promise<void> {
    const netd = await this.#netd.done();
    const naming = await this.#namingOf(place, wishes);
    if (isNew && naming.egress !== undefined) await netd.forgetOwner(naming.egress.addresses);
    if (this.#named.has(key)) {
      await netd.update(key, naming);
      return;
    }
    await netd.attach({ key, pid: init.systemPid, startTime: init.startTime, ...naming });
    this.#named.add(key);
  }

  /** Of one whose names are answered. */
  async rename(key: string, place: Place, wishes: NamingWishes): Promise<void> {
    if (this.#named.has(key)) await (await this.#netd.done()).update(key, await this.#namingOf(place, wishes));
  }

  /**
   * Has rules judge anew, with their next packets, the connections that a container with egress has begun: those that were made while the
   * host had no rules end so.
   */
  async judgeConnections(place: Place): Promise<void> {
    const addresses = (place.attached?.endpoints ?? []).flatMap(({ address, address6 }) => [address, address6]);
    await (await this.#netd.done()).forgetOwner(addresses.filter((address) => address !== ""));
  }

  /** What a container with egress has asked for. */
  async askedNames(key: string): Promise<AskedNames> {
    if (!this.#named.has(key)) return { asked: [], dropped: 0 };
    return await (await this.#netd.done()).egressOf(key);
  }

  async #namingOf(place: Place, wishes: NamingWishes): Promise<Naming> {
    const naming = namingOf(place, wishes);
    if (wishes.egress === undefined) return naming;
    const { netdEgress } = await import("../network/egress-rules.js");
    const { namespace, id } = place.container;
    const { endpoints = [] } = place.attached ?? {};
    return {
      ...naming,
      egress: netdEgress(await this.#table(), { namespace, container: id }, wishes.egress, endpoints),
    };
  }

  async forget(key: string): Promise<void> {
    if (this.#named.delete(key)) await (await this.#netd.done()).detach(key);
  }

  /** All that an earlier daemon has left was told. */
  async restored(): Promise<void> {
    await (await this.#netd.done()).restored();
  }

  async close(): Promise<void> {
    (await this.#netd.begun)?.close();
  }
}

/** One that no container of ours has. */
export class PortOfAnother extends Failure<"refused"> {}

/** As they were asked for: a port with all of its addresses. */
function heldPorts(publications: readonly Publication[]): HeldPort[] {
  const ports = new Map<string, { protocol: "tcp" | "udp"; addresses: string[]; port: number }>();
  for (const { protocol, hostAddress, hostPort, containerPort } of publications) {
    const key = `${protocol} ${hostPort} ${containerPort} ${hostAddress.replace(/^(?:0\.0\.0\.0|::)$/, "")}`;
    const known = ports.get(key);
    if (known === undefined) ports.set(key, { protocol, addresses: [hostAddress], port: hostPort });
    else known.addresses.push(hostAddress);
  }
  return [...ports.values()];
}

function namingOf({ container, wishes, attached }: Place, { dns = [], hostname }: NamingWishes): Naming {
  const { name, id } = container;
  const endpoints = (attached?.endpoints ?? []).flatMap(({ network: id_, address, address6 }): NamedEndpoint[] => {
    const wish = wishes.find(({ network }) => network.id === id_);
    // The system's have addresses of their own, and no names.
    if (wish === undefined || wish.network.driver === "cni") return [];
    const names = [name, ...wish.attachment.aliases, id.slice(0, SHORT_ID), hostname].filter((text) => text !== "");
    const { name: networkName } = wish.network;
    return [{ network: id_, networkName, address, ...(address6 !== "" && { address6 }), names: [...new Set(names)] }];
  });
  const isInside = wishes.every(({ network }) => network.internal);
  return { endpoints, servers: isInside ? "none" : dns.length > 0 ? dns : "host" };
}

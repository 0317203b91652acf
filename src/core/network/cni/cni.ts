import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { namesIn } from "../../../system/linux/directory-names.js";
import { hasCode } from "../../../system/linux/libc.js";
import { MS_BIND, mountNow, unmountAside } from "../../../system/mount/kernel-mount.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { writeAtomically } from "../../files/write-atomically.js";
import { type CniNetwork, findCniNetwork, hasCapability, isObject } from "./configuration.js";
import { callPlugin, findPlugin } from "./plugin.js";

interface Parts {
  /** Where the system's configurations are. */
  configurations: string;
  /** Where plugins are looked for. */
  plugins: readonly string[];
  /** Where it is kept what containers have: gone when the machine is started anew. It is made when it is needed. */
  directory: () => string;
  log: Logger;
}

export interface CniUser {
  namespace: string;
  /** Of a container. */
  id: string;
}

/** What a container is to have of a network. "" of addresses has the network's plugins choose. */
export interface CniWish {
  network: CniNetwork;
  /** Its device: `eth0`. */
  inside: string;
  address: string;
  address6: string;
  mac: string;
  aliases: readonly string[];
  ports: readonly { protocol: string; hostAddress: string; hostPort: number; containerPort: number }[];
}

/** What a container has got. Addresses have the length of their prefixes. */
export interface CniPlace {
  network: string;
  inside: string;
  address: string;
  address6: string;
  mac: string;
}

/** As it is kept, from before the first plugin is called until the last one has undone it. */
interface Kept {
  version: 1;
  network: CniNetwork;
  inside: string;
  runtimeConfig: Record<string, unknown>;
  result?: Record<string, unknown> | undefined;
}

/** What statfs(2) says of a namespace's file. */
const NSFS = 0x6e736673;
const NAMESPACE = "netns";
/** Since this version a plugin is told at the end what it has answered at the beginning. */
const FIRST_WITH_RESULT = "0.4.0";

/**
 * Networks that the system has configured, set up by its plugins (CNI). What a container gets is kept below the run directory before it is
 * asked for: whatever is killed, the plugins are told of its end. The container's network namespace is kept open until then: some plugins
 * find what is to be undone on the host only by what is in it.
 */
export class Cni {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws Failure (invalid-argument) */
  find(name: string): Promise<CniNetwork | undefined> {
    return findCniNetwork(this.#parts.configurations, name);
  }

  /**
   * Connects a container that was created, and does not run yet.
   * @param pid of its process
   * @throws Failure; nothing is left then
   */
  async add(user: CniUser, pid: number, wishes: readonly CniWish[], signal: AbortSignal): Promise<CniPlace[]> {
    const directories = this.#parts.plugins;
    // One that is not there could undo nothing either.
    for (const { network } of wishes)
      for (const { type } of network.plugins) findPlugin({ network: network.name, type, directories });
    await this.remove(user);
    const directory = this.#directoryOf(user);
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const netns = join(directory, NAMESPACE);
      closeSync(openSync(netns, "w", 0o600));
      mountNow(`/proc/${pid}/ns/net`, netns, "", MS_BIND);
      const places: CniPlace[] = [];
      for (const [index, wish] of wishes.entries()) places.push(await this.#addOne(user, index, wish, signal));
      return places;
    } catch (error) {
      await this.remove(user).catch((reason) => this.#failed(user, reason));
      throw error;
    }
  }

  /**
   * Undoes what a container has: all that is kept, the last first. It may be called again.
   * @throws Failure: what could not be undone is kept, for the next time
   */
  async remove(user: CniUser): Promise<void> {
    const directory = this.#directoryOf(user);
    const kept = await this.#keptOf(user);
    const netns = isNamespace(join(directory, NAMESPACE)) ? join(directory, NAMESPACE) : "";
    const errors: unknown[] = [];
    for (const { index, value } of kept.toReversed())
      try {
        await this.#delete(user, netns, value);
        rmSync(fileOf(directory, index), { force: true });
      } catch (error) {
        errors.push(error);
      }
    if (errors.length > 0) throw errors[0];
    if (netns !== "") await unmountAside(netns);
    await rm(directory, { recursive: true, force: true });
  }

  /** As {@link remove}, of what a container has had before the machine was started anew: what was kept has gone. @throws Failure */
  async removeLost(user: CniUser, wishes: readonly CniWish[]): Promise<void> {
    for (const wish of wishes.toReversed())
      await this.#delete(user, "", {
        ...{ version: 1, network: wish.network, inside: wish.inside, runtimeConfig: runtimeConfigOf(wish) },
      });
  }

  /** What a container has got. */
  async placesOf(user: CniUser): Promise<CniPlace[]> {
    return (await this.#keptOf(user)).map(({ value }) => placeOf(value));
  }

  /** All containers that something is kept of. */
  async all(): Promise<CniUser[]> {
    const users: CniUser[] = [];
    for (const namespace of await namesIn(this.#parts.directory()))
      for (const id of await namesIn(join(this.#parts.directory(), namespace))) users.push({ namespace, id });
    return users;
  }

  async #addOne(user: CniUser, index: number, wish: CniWish, signal: AbortSignal): Promise<CniPlace> {
    const { network, inside } = wish;
    const directory = this.#directoryOf(user);
    const kept: Kept = { version: 1, network, inside, runtimeConfig: runtimeConfigOf(wish) };
    const keep = () => writeAtomically(fileOf(directory, index), JSON.stringify(kept));
    keep();
    for (const plugin of network.plugins) {
      const answer = await callPlugin(
        {
          ...this.#callOf(user, kept),
          ...{ command: "ADD", type: plugin.type, netns: join(directory, NAMESPACE) },
          config: configOf(network, plugin, kept.runtimeConfig, kept.result),
        },
        signal,
      );
      if (isObject(answer)) kept.result = answer;
    }
    keep();
    return placeOf(kept);
  }

  async #delete(user: CniUser, netns: string, kept: Kept): Promise<void> {
    const { network, runtimeConfig, result } = kept;
    const hasResult = network.cniVersion >= FIRST_WITH_RESULT;
    // Nobody calls it off: what is begun comes to its end.
    const { signal } = new AbortController();
    for (const plugin of network.plugins.toReversed())
      await callPlugin(
        {
          ...this.#callOf(user, kept),
          ...{ command: "DEL", type: plugin.type, netns },
          config: configOf(network, plugin, runtimeConfig, hasResult ? result : undefined),
        },
        signal,
      );
  }

  #callOf({ namespace, id }: CniUser, { network, inside }: Kept) {
    // Neither name can have two dots in a row.
    const containerId = `${namespace}..${id}`;
    return { network: network.name, directories: this.#parts.plugins, containerId, ifName: inside };
  }

  async #keptOf(user: CniUser): Promise<{ index: number; value: Kept }[]> {
    const directory = this.#directoryOf(user);
    const found: { index: number; value: Kept }[] = [];
    for (const name of await namesIn(directory)) {
      const index = Number(/^(\d+)\.json$/.exec(name)?.[1] ?? Number.NaN);
      if (Number.isNaN(index)) continue;
      try {
        const value = JSON.parse(readFileSync(join(directory, name), "utf8")) as Kept;
        if (value.version === 1) found.push({ index, value });
      } catch (error) {
        if (!hasCode(error, "ENOENT")) this.#failed(user, error);
      }
    }
    return found.sort((a, b) => a.index - b.index);
  }

  #directoryOf({ namespace, id }: CniUser): string {
    return join(this.#parts.directory(), namespace, id);
  }

  #failed({ namespace, id }: CniUser, error: unknown): void {
    this.#parts.log.error({ namespace, id, error: logText(error) }, "containerd: a container's networks of the system");
  }
}

function fileOf(directory: string, index: number): string {
  return join(directory, `${index}.json`);
}

/** Whether the namespace is still there. */
function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS;
  } catch {
    return false;
  }
}

function configOf(
  { name, cniVersion }: CniNetwork,
  plugin: CniNetwork["plugins"][number],
  runtimeConfig: Record<string, unknown>,
  prevResult: object | undefined,
): object {
  const { capabilities, prevResult: _, ...own } = plugin;
  const asked = Object.entries(isObject(capabilities) ? capabilities : {}).filter(([, is]) => is === true);
  const given = Object.fromEntries(asked.flatMap(([key]) => (key in runtimeConfig ? [[key, runtimeConfig[key]]] : [])));
  return {
    ...own,
    ...(capabilities !== undefined && { capabilities }),
    ...{ name, cniVersion },
    ...(Object.keys(given).length > 0 && { runtimeConfig: given }),
    ...(prevResult !== undefined && { prevResult }),
  };
}

/**
 * What its plugins are told, as far as they can be told.
 * @throws Failure (invalid-argument) for what was asked for, and none of them can be told
 */
export function runtimeConfigOf({ network, address, address6, mac, aliases, ports }: CniWish): Record<string, unknown> {
  const ips = [address, address6].filter((one) => one !== "");
  const wished: [name: string, option: string, value: unknown, isAsked: boolean][] = [
    ["ips", "address", ips, ips.length > 0],
    ["mac", "mac", mac, mac !== ""],
    [
      "portMappings",
      "ports",
      ports.map(({ protocol, hostAddress: hostIP, hostPort, containerPort }) => ({
        ...{ hostPort, containerPort, protocol },
        ...(hostIP !== "" && { hostIP }),
      })),
      ports.length > 0,
    ],
  ];
  for (const [capability, option, , isAsked] of wished) {
    if (!isAsked || hasCapability(network, capability)) continue;
    const why = `${option}: network ${JSON.stringify(network.name)} of the system has no plugin with the capability "${capability}"`;
    throw new Failure("invalid-argument", "refused", { why });
  }
  const asked = wished.flatMap(([capability, , value, isAsked]) => (isAsked ? [[capability, value] as const] : []));
  return { ...Object.fromEntries(asked), ...(aliases.length > 0 && { aliases }) };
}

function placeOf({ network, inside, result = {} }: Kept): CniPlace {
  const ips = Array.isArray(result.ips) ? result.ips.filter(isObject) : [];
  const addresses = ips.flatMap(({ address }) => (typeof address === "string" ? [address] : []));
  const interfaces = Array.isArray(result.interfaces) ? result.interfaces.filter(isObject) : [];
  const own = interfaces.find(({ name, sandbox }) => name === inside && typeof sandbox === "string" && sandbox !== "");
  return {
    ...{ network: network.name, inside },
    address: addresses.find((one) => !one.includes(":")) ?? "",
    address6: addresses.find((one) => one.includes(":")) ?? "",
    mac: typeof own?.mac === "string" ? own.mac : "",
  };
}

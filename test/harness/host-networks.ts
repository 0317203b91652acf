/** The host's part of networks in a network namespace of a test, as a program that makes its calls; see host-networks-program.ts. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { bridgeName, deviceName } from "../../src/core/network/device-names.js";
import type { ContainerRules, Endpoint, Network, Publication } from "../../src/core/network/network.js";
import { tableName } from "../../src/core/network/rules.js";
import { daemonEnvironment } from "./daemon.js";
import type { Answer, Call } from "./host-networks-program.js";
import { makeNetworkNamespace, type NetworkNamespace } from "./network-namespace.js";
import { repository } from "./paths.js";
import { kill } from "./processes.js";
import { eventually } from "./wait.js";

/** @param number of it: its subnets are 10.NUMBER.0.0/16 and fd00:NUMBER::/64 */
export function networkOf(number: number, wishes: Partial<Network> & { ipv6?: boolean } = {}): Network {
  const { ipv6 = false, ...others } = wishes;
  const id = randomBytes(32).toString("hex");
  return {
    namespace: "default",
    id,
    name: `network-${number}`,
    driver: "bridge",
    bridge: bridgeName(id),
    subnet: `10.${number}.0.0/16`,
    gateway: `10.${number}.0.1`,
    subnet6: ipv6 ? `fd00:${number}::/64` : "",
    gateway6: ipv6 ? `fd00:${number}::1` : "",
    internal: false,
    isolated: false,
    mtu: 0,
    labels: {},
    // As JSON takes it; nobody here asks for it.
    createdAt: 0 as unknown as bigint,
    ...others,
  };
}

/** A container of the test's: a network namespace, and its places on networks, the first of which has its default route. */
export class FakeContainer implements AsyncDisposable {
  readonly name: { namespace: string; container: string };
  readonly namespace: NetworkNamespace;
  endpoints: Endpoint[];

  constructor(namespace: NetworkNamespace, id: string, endpoints: Endpoint[]) {
    this.namespace = namespace;
    this.name = { namespace: "default", container: id };
    this.endpoints = endpoints;
  }

  /** The first endpoint's. */
  get address(): string {
    return this.endpoints[0]!.address;
  }

  publication(hostPort: number, containerPort: number, more: Partial<Publication> = {}): Publication {
    const isOf6 = more.hostAddress?.includes(":") === true;
    const { address, address6 } = this.endpoints[0]!;
    const to = isOf6 ? address6 : address;
    return { protocol: "tcp", hostAddress: "0.0.0.0", hostPort, address: to, containerPort, ...more };
  }

  rules(...publications: Publication[]): ContainerRules {
    return { endpoints: this.endpoints, publications };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.namespace[Symbol.asyncDispose]();
  }
}

let count = 0;

/** @param number its addresses end with it */
export async function makeContainer(number: number, ...networks: Network[]): Promise<FakeContainer> {
  const id = `container-${++count}`;
  const endpoints = networks.map((network, place) => endpointOf(id, number, network, place));
  return new FakeContainer(await makeNetworkNamespace(), id, endpoints);
}

export function endpointOf(container: string, number: number, network: Network, place: number): Endpoint {
  return {
    namespace: "default",
    container,
    network,
    device: deviceName("default", container, network.id),
    inside: `eth${place}`,
    address: network.gateway.replace(/1$/, `${number}`),
    address6: network.gateway6.replace(/1$/, `${number}`),
    mac: `02:42:0a:00:0${place}:${number.toString(16).padStart(2, "0")}`,
    isDefaultRoute: place === 0,
  };
}

export class HostNetworksProgram implements AsyncDisposable {
  readonly namespace: NetworkNamespace;
  readonly identity: string;
  readonly events: { event: string; text: string }[] = [];
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, { resolve: (result: unknown) => void; reject: (error: unknown) => void }>();
  #next = 1;

  constructor(namespace: NetworkNamespace, identity: string, { nft }: ProgramOptions) {
    this.namespace = namespace;
    this.identity = identity;
    const source = "test/harness/host-networks-program.ts";
    const command = ["node", "scripts/run-typescript.mjs", source, identity];
    const inPlace = 'mount --bind "$0" "$(command -v nft)" && exec "$@"';
    const wrapper = nft === undefined ? [] : ["unshare", "--mount", "sh", "-c", inPlace, nft];
    const [program, ...args] = namespace.enter(...wrapper, ...command);
    this.#child = spawn(program!, args, {
      cwd: repository,
      detached: true,
      env: daemonEnvironment(),
      stdio: ["pipe", "pipe", "inherit"],
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => this.#answered(JSON.parse(line) as Answer));
    this.#child.once("exit", () => {
      for (const { reject } of this.#pending.values()) reject(new Error("the program has ended"));
    });
    this.#child.stdin!.on("error", () => {});
  }

  get table(): string {
    return tableName(this.identity);
  }

  #answered(answer: Answer): void {
    if ("event" in answer) {
      this.events.push(answer);
      return;
    }
    const pending = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if ("error" in answer) pending?.reject(Object.assign(new Error(answer.error), { kind: answer.kind }));
    else pending?.resolve(answer.result);
  }

  call<T = unknown>(call: Omit<Call, "id">): Promise<T> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#child.stdin!.write(`${JSON.stringify({ id, ...call })}\n`);
    });
  }

  /** Connects a container with its networks. */
  async start(container: FakeContainer, ...publications: Publication[]): Promise<void> {
    await this.call({ call: "prepare", endpoints: container.endpoints });
    await this.call({ call: "enter", pid: container.namespace.pid, endpoints: container.endpoints });
    await this.publish(container, ...publications);
  }

  async publish(container: FakeContainer, ...publications: Publication[]): Promise<void> {
    const rules = container.rules(...publications);
    await this.call({ call: "publish", containers: [{ container: container.name, rules }] });
  }

  async end(container: FakeContainer): Promise<void> {
    await this.call({ call: "withdraw", containers: [{ container: container.name, rules: container.rules() }] });
    await this.call({ call: "remove", endpoints: container.endpoints });
  }

  /** All of our rules in nft's words; "" without a table. */
  async ruleset(): Promise<string> {
    const { stdout } = await this.namespace.attempt(["nft", "list", "table", "inet", this.table]);
    return stdout;
  }

  /** Resolves once nothing of ours is on the host. */
  async nothingLeft(): Promise<void> {
    await eventually(async () => {
      const devices = (await this.namespace.devices()).filter((name) => /^ct[dv]/.test(name));
      const tables = await this.namespace.shell("nft list tables");
      if (devices.length > 0 || tables.includes(this.table)) throw new Error(`left: ${devices} ${tables}`);
      return true;
    });
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    // With what it runs.
    kill(-this.#child.pid!);
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

export interface ProgramOptions {
  /** A file that it finds in place of nft. */
  nft?: string;
}

/** Starts one; with an identity it continues what another one has left. */
export async function startHostNetworks(
  namespace: NetworkNamespace,
  identity: string = randomUUID(),
  options: ProgramOptions = {},
): Promise<HostNetworksProgram> {
  const program = new HostNetworksProgram(namespace, identity, options);
  try {
    await program.call({ call: "nothing" });
  } catch (error) {
    await program[Symbol.asyncDispose]();
    throw error;
  }
  return program;
}

/** Where the engine is measured beside other engines: all of them with the same images, in turns. */
import { chmodSync, createReadStream } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Client, connect, type RunOptions } from "../src/client/index.js";
import { startContainerd1 } from "../test/harness/containerd1.js";
import type { TestDaemon } from "../test/harness/daemon.js";
import { type DockerHost, hasDocker, startDockerHost } from "../test/harness/docker-host.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../test/harness/network-namespace.js";
import { sharedRootfs } from "../test/harness/rootfs.js";
import { type Dockerode, dockerode, type HostConfig } from "./dockerode.js";
import { interruption } from "./interruption.js";
import { PodmanHost } from "./podman-host.js";
import { makePythonRootfs } from "./python-rootfs.js";
import { atMost, median, quartiles, type Row, row } from "./row.js";

export const DOCKERODE = "dockerd 20.10, dockerode";
export const PODMAN = "podman 4.3";
export const PODMAN_API = "podman 4.3's API, dockerode";

export const BUSYBOX = "bench.test/busybox:1";
export const PYTHON = "bench.test/python:1";

export const WARM_UP = 2;
/** What takes seconds is measured this often. */
export const LONG_ROUNDS = 5;
/** In ms: for what is still being cleaned up by the one whose turn is over. */
const SETTLE = 50;
export const LONG_SETTLE = 1_000;

/** The three of them, each with both images. */
export class Stage implements AsyncDisposable {
  /** What is to be done at the end, the last first. */
  readonly #endings: (() => unknown)[] = [];
  /** Ours has a network of its own, as the others have. */
  network!: NetworkNamespace;
  daemon!: TestDaemon;
  client!: Client;
  docker!: DockerHost;
  dockerode!: Dockerode;
  podman!: PodmanHost;
  podmanApi!: Dockerode;

  async start(): Promise<void> {
    if (!hasDocker) throw new Error("no Docker (scripts/setup --bench brings it)");
    this.network = await makeNetworkNamespace();
    this.#endings.push(() => this.network[Symbol.asyncDispose]());
    this.daemon = await startContainerd1({ flags: ["--log-level", "error"], wrapper: this.network.enter() }, false);
    this.#endings.push(() => this.daemon[Symbol.asyncDispose]());
    // Roots of user namespaces are nobody on the host, and have to get there.
    for (const directory of [this.daemon.dir, dirname(sharedRootfs())]) chmodSync(directory, 0o711);
    this.client = connect(this.daemon.listen);
    this.#endings.push(() => this.client.close());
    this.docker = await startDockerHost({
      isDebians: true,
      hostname: "peer",
      flags: ["--log-level=error", "--userland-proxy=false"],
    });
    this.#endings.push(() => this.docker[Symbol.asyncDispose]());
    this.dockerode = dockerode(join(this.docker.dir, "docker.sock"));
    this.podman = new PodmanHost();
    this.#endings.push(() => this.podman[Symbol.asyncDispose]());
    await this.podman.start();
    this.podmanApi = dockerode(this.podman.socket);
    await this.#makeImages();
  }

  async #makeImages(): Promise<void> {
    const python = join(this.daemon.dir, "python");
    makePythonRootfs(python);
    const archive = join(this.daemon.dir, "images.tar");
    const make = (rootfs: string, name: string) => `tar -C ${rootfs} -c . | docker import - ${name}`;
    await this.docker.shell(make(sharedRootfs(), BUSYBOX));
    await this.docker.shell(make(python, PYTHON));
    await this.docker.shell(`docker save -o ${archive} ${BUSYBOX} ${PYTHON}`);
    await this.podman.podman("load", "--input", archive);
    await this.client.images.import(createReadStream(archive));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#endings.reverse()) await end();
  }
}

export type Contenders = Record<string, () => Promise<unknown>>;

/** In ms, what each takes, or says that it has taken: all of them once, then all of them again. The first one is ours. */
export async function inTurns(contenders: Contenders, rounds: number, warmUp = WARM_UP, settle = SETTLE) {
  const times = new Map(Object.keys(contenders).map((name) => [name, [] as number[]]));
  for (let n = 0; n < warmUp + rounds; n++) {
    for (const [name, work] of Object.entries(contenders)) {
      interruption.throwIfAborted();
      const began = performance.now();
      const told = await work();
      if (n >= warmUp) times.get(name)!.push(typeof told === "number" ? told : performance.now() - began);
      await delay(settle);
    }
  }
  return times;
}

/** A row for each peer that there is an aim for. */
export function rowsOf(name: string, times: Map<string, number[]>, aims: Record<string, number>): Row[] {
  const [, ours] = [...times][0]!;
  return Object.entries(aims).map(([peer, aim]) => {
    const theirs = times.get(peer)!;
    return row({
      name,
      unit: "ms",
      ours: median(ours),
      peer: { name: peer, value: median(theirs) },
      spread: { ours: quartiles(ours), peer: quartiles(theirs) },
      ...atMost(aim),
    });
  });
}

export async function runOurs(
  { client }: Stage,
  image: string,
  args: string[],
  more: Partial<RunOptions> = {},
): Promise<void> {
  const { status, stderr } = await client.run({ image, args, network: "none", pull: "never", ...more });
  if (status !== 0) throw new Error(`${args.join(" ")} ended with ${status}: ${stderr}`);
}

/** {@link rowsOf} of what is told as a rate, `amount` of the unit in each turn: it is to be at least so many times the peer's. */
export function rateRow(name: string, unit: string, amount: number, times: Map<string, number[]>, least: number): Row {
  const [[, ours], [peer, theirs]] = [...times].map(([who, all]) => [who, all.map((ms) => amount / (ms / 1000))]) as [
    [string, number[]],
    [string, number[]],
  ];
  return row({
    name,
    unit,
    ours: median(ours),
    peer: { name: peer, value: median(theirs) },
    spread: { ours: quartiles(ours), peer: quartiles(theirs) },
    aim: `ratio >= ${least}`,
    met: (_, ratio) => ratio >= least,
  });
}

/** A container of dockerode's, on no network where none is named. */
export const created = (api: Dockerode, Image: string, Cmd: string[], host: Partial<HostConfig> = {}) =>
  api.createContainer({ Image, Cmd, HostConfig: { NetworkMode: "none", ...host } });

export async function runTheirs(
  api: Dockerode,
  image: string,
  args: string[],
  host: Partial<HostConfig> = {},
): Promise<void> {
  const container = await created(api, image, args, host);
  await container.start();
  const { StatusCode } = await container.wait();
  await container.remove();
  if (StatusCode !== 0) throw new Error(`${args.join(" ")} ended with ${StatusCode}`);
}

/**
 * The kill suite over containers of the engine: clients that repeat each call for which they got no answer, and a daemon that is killed
 * among the calls. Each program has to run once, each answer has to be true, and nothing may be left.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Metadata } from "@grpc/grpc-js";
import { CreateRequest } from "../../src/proto/containerdts/engine/v1/engine.js";
import { type ServiceError, status } from "../harness/api.js";
import { expectNoNetworks } from "../harness/check-networks.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { importImage, NO_STDIO, requestFor, texts } from "../harness/engine.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import type { ApiV1 } from "../harness/v1.js";
import { eventually, sleep } from "../harness/wait.js";
import { archive } from "../images/layers/archive.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";
import { LONGEST_RESTORE, SECOND_KILL } from "./rounds.js";
import { tooLittle, type Work } from "./work.js";

export interface EngineKillOptions {
  kills: number;
  seed: number;
  /** How many containers there are at most. */
  places?: number;
  progress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface EngineKillReport {
  kills: number;
  violations: string[];
  /** How often each call was carried out. */
  work: Work;
  /** How often the daemon was killed while a call of this kind had no answer yet. */
  phases: Work;
  /** In ms, from the kill until the next daemon answers. */
  recoveries: number[];
}

const PHASES = [
  ...["create", "start", "run", "acquire", "exec", "stop", "expire", "remove", "put", "commit", "fork"],
  ...["make network", "connect", "disconnect", "remove network"],
];
/** What takes long, or is one of several ends, and so seldom done between two kills. */
const SELDOM_PHASES = new Set([
  ...["put", "commit", "fork", "acquire", "stop", "expire"],
  ...["make network", "connect", "disconnect", "remove network"],
]);
/** In ms: how long a call of the phase is waited for, and how long it is left to go on at most. */
const PHASE_TIMEOUT = 2_000;
const PHASE_DEPTH = 40;
/** Codes of calls that got no answer. */
const NO_ANSWER = new Set([status.UNAVAILABLE, status.CANCELLED]);
const KILLED = 137;
/** Files of which an archive is put, and a layer copied. */
const FILES = 100;
const FILE_SIZE = 10_000;

export async function runEngineKills(options: EngineKillOptions): Promise<EngineKillReport> {
  const { seed, places = 8 } = options;
  const report: EngineKillReport = { kills: 0, violations: [], work: {}, phases: {}, recoveries: [] };
  const violation = (text: string) => {
    report.violations.push(`after kill ${report.kills}: ${text}`);
    options.progress?.(`VIOLATION after kill ${report.kills}: ${text}`);
  };
  const random = new Random(seed);
  using build = copyBuild();
  await using host = await makeNetworkNamespace();
  await using daemon = await startDaemon({
    ...{ program: build.daemon, flags: ["--shim", build.shim], wrapper: host.enter() },
  });
  await importImage(daemon);
  const clients = new Clients(daemon, host, report.work, violation);
  const ending = new AbortController();
  const lives = Array.from({ length: places }, async (_, place) => {
    const own = random.fork();
    for (let n = 0; !ending.signal.aborted; n++) await live(clients, daemon.id(`e${place}-${n}`), own);
  });
  const ended = Promise.all(lives).catch((error: Error) => violation(`a client gave up: ${error.message}`));
  while (report.kills < options.kills && !options.signal?.aborted && report.violations.length === 0) {
    const phase = PHASES[report.kills % PHASES.length]!;
    const isOpen = () => [...clients.open.values()].includes(phase);
    await eventually(isOpen, { timeout: PHASE_TIMEOUT, interval: 1 }).catch(() => {});
    await sleep(random.next() * PHASE_DEPTH);
    for (const kind of new Set(clients.open.values())) report.phases[kind] = (report.phases[kind] ?? 0) + 1;
    const begin = performance.now();
    clients.down();
    await daemon.kill();
    report.kills++;
    if (random.chance(SECOND_KILL)) {
      daemon.spawn();
      await sleep(random.next() * LONGEST_RESTORE);
      await daemon.kill();
      report.kills++;
    }
    await daemon.start();
    clients.up();
    report.recoveries.push(performance.now() - begin);
    options.progress?.(`${report.kills} kills, ${report.violations.length} violations`);
  }
  ending.abort();
  await ended;
  const api = daemon.v1();
  for (const { id } of (await api.engine.list()).containers) violation(`container ${id} is still there`);
  for (const { id } of (await api.containers.list()).containers) violation(`the record of ${id} is still there`);
  for (const { id } of (await api.tasks.list()).tasks) violation(`the task of ${id} is still there`);
  const committed = 3;
  for (const { name } of (await api.networks.list()).networks)
    if (name !== "bridge") violation(`network ${name} is still there`);
  await expectNoNetworks(host).catch((error: Error) => violation(error.message));
  for (const { name, kind } of await api.listSnapshots("overlayfs"))
    if (kind !== committed) violation(`snapshot ${name} is still there`);
  await daemon.stop();
  await daemon.expectNothingLeft().catch((error: Error) => violation(error.message));
  const share = (phase: string) => Math.floor(report.kills / (SELDOM_PHASES.has(phase) ? 100 : 25));
  const least = PHASES.map((phase) => [phase, share(phase)]);
  const missing = tooLittle(report.work, Object.fromEntries(least));
  if (missing !== undefined && report.violations.length === 0 && !options.signal?.aborted) violation(missing);
  if (report.violations.length > 0)
    options.progress?.(`the daemon's log:\n${daemon.log.split("\n").slice(-100).join("\n")}`);
  return report;
}

/** Repeats a call until it is answered, over any number of daemons. */
export class Clients {
  /** The calls that wait for an answer. */
  readonly open = new Map<object, string>();
  #isUp = Promise.resolve();
  #setUp = () => {};

  constructor(
    readonly daemon: TestDaemon,
    /** That the daemon is in. */
    readonly host: NetworkNamespace,
    private readonly work: Work,
    readonly violation: (text: string) => void,
  ) {}

  down(): void {
    this.#isUp = new Promise((resolve) => {
      this.#setUp = resolve;
    });
  }

  up(): void {
    this.#setUp();
  }

  /** A call that is made once; undefined when it got no answer. */
  async look<T>(call: (api: ApiV1) => Promise<T>): Promise<T | undefined> {
    await this.#isUp;
    return await call(this.daemon.v1()).catch(() => undefined);
  }

  /** @param done an error that is as good as an answer once a try got none */
  async call<T>(kind: string, id: string, call: (api: ApiV1) => Promise<T>, done?: RegExp): Promise<T | undefined> {
    for (let isRepeated = false; ; isRepeated = true) {
      await this.#isUp;
      const token = {};
      this.open.set(token, kind);
      try {
        const answer = await call(this.daemon.v1());
        this.work[kind] = (this.work[kind] ?? 0) + 1;
        return answer;
      } catch (error) {
        const { code, details } = error as ServiceError;
        if (NO_ANSWER.has(code) || details === undefined) {
          await sleep(5);
          continue;
        }
        const text = `${status[code]}: ${details}`;
        this.work[kind] = (this.work[kind] ?? 0) + 1;
        if (!(isRepeated && done?.test(text)))
          this.violation(`${id}: ${kind}${isRepeated ? ", repeated" : ""}: ${text}`);
        return undefined;
      } finally {
        this.open.delete(token);
      }
    }
  }
}

/** One container, from its creation until it is removed. */
async function live(clients: Clients, id: string, random: Random): Promise<void> {
  const { daemon, violation } = clients;
  const said = join(daemon.dir, "said", id);
  mkdirSync(said, { recursive: true });
  const call = <T>(kind: string, request: (api: ApiV1) => Promise<T>, done?: RegExp) =>
    clients.call(kind, id, request, done);
  const isLong = random.chance(0.6);
  const net = random.chance(0.6) ? new LiveNetworks(clients, id, random) : undefined;
  await net?.make();
  const exit = random.integer(0, 99);
  const say = (name: string) => `echo ran >>/var/${name}`;
  const command = isLong
    ? `${say("init")}; httpd -p 80 -h /etc; exec sleep 100000`
    : `${say("init")}; sleep 0.${random.integer(0, 3)}; exit ${exit}`;
  const mount = { type: "bind", source: said, destination: "/var", readOnly: false, recursive: true } as const;
  const writable = random.chance(0.6);
  const request = requestFor({
    id,
    owned: random.chance(0.4),
    config: {
      writable,
      args: texts("sh", "-c", command),
      stopSignal: "KILL",
      ...net?.config,
      mounts: [{ ...mount, propagation: "", createSource: false, size: 0n, options: [], noCopy: false }],
    },
  });
  // A start without an answer may have run to its end: asked for again, it is another one.
  let starts = 1;
  if (random.chance(0.5)) await call("run", (api) => api.engine.run({ create: request, stdio: NO_STDIO }));
  else {
    await call("create", (api) => api.engine.create(request));
    let tries = 0;
    await call("start", (api) => {
      tries++;
      return api.engine.start({ id, stdio: NO_STDIO });
    });
    if (!isLong) starts = tries;
  }
  if (isLong) await net?.use();
  if (isLong && random.chance(0.5)) await call("acquire", (api) => api.engine.resume({ id, ttl: LONG_TTL }));
  // What is forked of it says that it ran in the same place.
  if (writable && isLong) starts += await useFiles(call, id, random, violation);
  if (isLong) {
    const execStatus = random.integer(0, 99);
    const exec = { id, execId: "x", args: ["sh", "-c", `${say("x")}; exit ${execStatus}`], stdio: NO_STDIO };
    if (random.chance(0.5)) {
      const started = await call("exec", (api) => api.engine.exec(exec), /start|ended|abandon/);
      if (started !== undefined) {
        const ended = await call("wait exec", (api) => api.engine.wait({ id, execId: "x" }));
        if (ended?.status !== execStatus && ended?.status !== KILLED && ended?.status !== 255)
          violation(`${id}: its exec ended with ${ended?.status}, not ${execStatus}`);
        await call("delete exec", (api) => api.engine.deleteExec({ id, execId: "x" }), /NOT_FOUND/);
      }
    }
    if (random.chance(0.35)) {
      await expire(call, id, violation);
      await net?.remove();
      return;
    }
    if (random.chance(0.5)) await call("stop", (api) => api.engine.stop({ id }));
    else await call("kill", (api) => api.engine.kill({ id }), /FAILED_PRECONDITION|NOT_FOUND/);
  }
  const ended = await call("wait", (api) => api.engine.wait({ id }));
  const wanted = isLong ? KILLED : exit;
  if (ended?.status !== wanted) violation(`${id}: ended with ${ended?.status}, not ${wanted}`);
  await call("remove", (api) => api.engine.remove({ id }), /^NOT_FOUND/);
  await net?.remove();
  for (const name of ["init", "x"]) {
    const file = join(said, name);
    const ran = existsSync(file) ? readFileSync(file, "utf8").split("\n").length - 1 : 0;
    // One that is killed at once may not have come to say so.
    if (ran > (name === "init" ? starts : 1) || (name === "init" && !isLong && ran < 1))
      violation(`${id}: its program ${name} ran ${ran} times`);
  }
}

/** The networks of one container: made, used while it runs, removed after it. */
class LiveNetworks {
  readonly #clients: Clients;
  readonly #id: string;
  readonly #random: Random;
  /** A network of its own, besides or in place of "bridge". */
  readonly #own: string | undefined;
  readonly #begins: "bridge" | "own";
  readonly #isPublished: boolean;

  constructor(clients: Clients, id: string, random: Random) {
    this.#clients = clients;
    this.#id = id;
    this.#random = random;
    this.#own = random.chance(0.8) ? `of-${id}` : undefined;
    this.#begins = this.#own !== undefined && random.chance(0.3) ? "own" : "bridge";
    this.#isPublished = random.chance(0.5);
  }

  get config() {
    const network = this.#begins === "own" ? this.#own! : "bridge";
    const port = { protocol: "tcp", containerPort: 80, hostAddress: "", hostPort: 0, hostPortEnd: 0 };
    return { networks: [attachmentTo(network)], ports: this.#isPublished ? [port] : [] };
  }

  async make(): Promise<void> {
    if (this.#own === undefined) return;
    const none = { subnet: "", gateway: "", ipv6: false, subnet6: "", gateway6: "", internal: false, isolated: false };
    const wanted = { ...none, name: this.#own, labels: {}, mtu: 0 };
    await this.#call("make network", (api) => api.networks.create(wanted), /ALREADY_EXISTS/);
  }

  /** Of a container that runs: what is told of its networks is so, also after a kill. */
  async use(): Promise<void> {
    if (this.#begins === "own" || this.#own === undefined) await this.#expectReached();
    if (this.#own === undefined || this.#begins === "own") return;
    const network = this.#own;
    const attachment = attachmentTo(network);
    await this.#call("connect", (api) => api.networks.connect({ container: this.#id, attachment }), /ALREADY_EXISTS/);
    await this.#expectReached();
    if (this.#random.chance(0.3)) return;
    await this.#call(
      "disconnect",
      (api) => api.networks.disconnect({ container: this.#id, network }),
      /FAILED_PRECONDITION: .* is not on a network/,
    );
    await this.#expectReached();
  }

  async remove(): Promise<void> {
    const network = this.#own;
    if (network === undefined) return;
    // What was removed as its time to live was over may be on its way out.
    await eventually(async () => {
      const found = await this.#clients.look((api) => api.engine.list());
      return found !== undefined && !found.containers.some(({ id }) => id === this.#id);
    });
    await this.#call("remove network", (api) => api.networks.remove({ network }), /NOT_FOUND/);
  }

  /** What is told has to be so at once, whenever a daemon answers. */
  async #expectReached(): Promise<void> {
    const { violation } = this.#clients;
    let fault = "it was never looked at";
    await eventually(async () => {
      const found = await this.#faultNow();
      if (found !== undefined) fault = found;
      return found === "";
    }).catch(() => violation(`${this.#id}: ${fault}`));
  }

  /** Undefined: no daemon was there all the time. */
  async #faultNow(): Promise<string | undefined> {
    const { host } = this.#clients;
    const told = await this.#clients.look((api) => api.engine.get({ id: this.#id }));
    if (told === undefined) return undefined;
    const { pid, endpoints, ports } = told;
    const found = await host.shell(`nsenter --net=/proc/${pid}/ns/net ip -o -4 addr`);
    const has = [...found.matchAll(/(eth\d+)\s+inet (\S+)/g)].map(([, device, address]) => `${device} ${address}`);
    const wanted = endpoints.map(({ device, address }) => `${device} ${address}`);
    if (has.sort().join() !== wanted.sort().join()) return `has ${has.join()}, but is told to have ${wanted.join()}`;
    if (this.#isPublished && ports.length !== 1) return `${ports.length} ports are told`;
    for (const { hostPort } of ports) {
      const asked = ["busybox", "wget", "-q", "-O", "-", `http://127.0.0.1:${hostPort}/hostname`];
      const { stdout, stderr } = await host.attempt(asked);
      if (stdout === "") return `port ${hostPort}: ${stderr}`;
    }
    return "";
  }

  #call<T>(kind: string, request: (api: ApiV1) => Promise<T>, done?: RegExp): Promise<T | undefined> {
    return this.#clients.call(kind, this.#id, request, done);
  }
}

function attachmentTo(network: string) {
  return { network, aliases: [], address: "", address6: "", mac: "" };
}

/** In ms. */
const LONG_TTL = 3_600_000n;

/** Its time to live is over: it goes by itself. */
async function expire(call: Call, id: string, violation: (text: string) => void): Promise<void> {
  // Asked for before that: who asks when it is gone may find a daemon that knows nothing of it.
  const waits = call("wait", (api) => api.engine.wait({ id }), /^NOT_FOUND/);
  await call("expire", (api) => api.engine.update({ id, ttl: 1n }), /^NOT_FOUND/);
  const ended = await waits;
  if (ended !== undefined && !(ended.expired && ended.status === KILLED))
    violation(`${id}: ended with ${ended.status}, expired: ${ended.expired}`);
}

type Call = <T>(kind: string, request: (api: ApiV1) => Promise<T>, done?: RegExp) => Promise<T | undefined>;

/**
 * Files into a container that runs, and what is made of its layer then: another container, or an image. It has to run on after that.
 *
 * @returns how many others were started
 */
async function useFiles(call: Call, id: string, random: Random, violation: (text: string) => void): Promise<number> {
  let started = 0;
  const content = String(random.integer(0, 9)).repeat(FILE_SIZE);
  const names = Array.from({ length: FILES }, (_, n) => `job/file${n}`);
  const data = archive(names.map((name) => ({ name, data: Buffer.from(content) })));
  await call("put", (api) => put(api, { id, path: "/srv", data }));
  const last = `/srv/${names.at(-1)}`;
  const look = async (of: string) => {
    const info = await call("stat", (api) => api.engine.statFile({ id: of, path: last }));
    if (info?.size !== BigInt(FILE_SIZE)) violation(`${of}: ${last} is of ${info?.size} bytes`);
  };
  await look(id);
  if (random.chance(0.6)) {
    const fork = `${id}f`;
    const create = { id: fork, name: "", owned: random.chance(0.4), lifetime: 0n, autoRemove: false };
    const run = random.chance(0.5) ? NO_STDIO : undefined;
    if (run !== undefined) started++;
    await call(run === undefined ? "fork" : "fork and run", (api) =>
      api.engine.fork({ id, create: CreateRequest.fromPartial(create), run }),
    );
    await look(fork);
    await call("remove fork", (api) => api.engine.remove({ id: fork, force: true }), /^NOT_FOUND/);
  } else {
    const made = await call("commit", (api) => api.engine.commit({ id }));
    if (!made?.digest.startsWith("sha256:")) violation(`${id}: commit answered ${made?.digest}`);
  }
  const now = await call("get", (api) => api.engine.get({ id }));
  if (now?.status !== "running") violation(`${id}: is ${now?.status} when its layer was read`);
  return started;
}

function put(api: ApiV1, { id, path, data }: { id: string; path: string; data: Buffer }): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = api.engineStreams.putFiles(new Metadata(), (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
    for (let at = 0; at < data.length; at += PIECE) {
      const first = at === 0 ? { id, path } : { id: "", path: "" };
      call.write({ ...first, keepKinds: true, keepOwners: true, data: data.subarray(at, at + PIECE) });
    }
    call.end();
  });
}

/** In bytes: of a message. */
const PIECE = 64 * 1024;

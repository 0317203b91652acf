/** A netd in a network namespace of the test's, told what to do by the daemon's own class; containers are network namespaces, too. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type NamedEndpoint, type Naming, Netd } from "../../src/core/network/netd/netd.js";
import { endNetd } from "../../src/core/network/netd/netd-process.js";
import { startTimeOf } from "../../src/system/linux/proc-stat.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { netdProgram, repository } from "../harness/paths.js";
import { within } from "../harness/wait.js";

const script = (name: string) => join(repository, "test/network", name);

/** The host, its netd's run directory, and its daemons. */
export class NetdHost implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "netd-"));
  readonly resolvConf = join(this.directory, "resolv.conf");
  readonly errors: string[] = [];
  readonly #disposed: (() => unknown)[] = [];
  readonly #daemons: Netd[] = [];

  constructor(readonly network: NetworkNamespace) {
    writeFileSync(this.resolvConf, "nameserver 127.0.0.1\n");
    // What the class starts gets into the namespace by it.
    const interpreter = join(this.directory, "luajit");
    const real = process.env.PATH!.split(":").find((folder) => existsSync(join(folder, "luajit")));
    writeFileSync(interpreter, `#!/bin/sh\nexec nsenter --net=${network.path} ${join(real!, "luajit")} "$@"\n`);
    chmodSync(interpreter, 0o755);
  }

  /** What a daemon has of netd: its first one, or one that comes after it. */
  daemon(): Netd {
    for (const earlier of this.#daemons) earlier.close();
    const { directory, resolvConf } = this;
    const path = process.env.PATH;
    process.env.PATH = `${this.directory}:${path}`;
    const daemon = new Netd({
      ...{ directory, resolvConf, program: netdProgram },
      onError: (message) => this.errors.push(message),
    });
    this.#disposed.push(() => {
      process.env.PATH = path;
    });
    this.#daemons.push(daemon);
    return daemon;
  }

  /** The process of netd; undefined when there is none. */
  get pid(): number | undefined {
    return readdirSync("/proc")
      .map(Number)
      .find((pid) => {
        try {
          const isNetd = readFileSync(`/proc/${pid}/comm`, "utf8") === "containerd-netd\n";
          return isNetd && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`\0${this.directory}\0`);
        } catch {
          // It has just ended, or is none.
          return false;
        }
      });
  }

  /** How many descriptors netd has. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** netd's memory, in kB. */
  memory(): { rss: number; pss: number; private: number } {
    const text = readFileSync(`/proc/${this.pid}/smaps_rollup`, "utf8");
    const of = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, "m").exec(text)![1]);
    return { rss: of("Rss"), pss: of("Pss"), private: of("Private_Clean") + of("Private_Dirty") };
  }

  /** When the host's holder has started, as /proc tells it. */
  get started(): string {
    return startTimeOf(this.network.pid)!;
  }

  /** A container: a namespace, and a client in it. */
  async container(): Promise<NamedContainer> {
    const network = await makeNetworkNamespace();
    this.#disposed.push(() => network[Symbol.asyncDispose]());
    return new NamedContainer(network);
  }

  /** Starts a name server on the host; answers the questions that it gets. */
  async nameServer(address: string, network = this.network): Promise<string[]> {
    const server = network.spawn(process.execPath, script("name-server.mjs"), address, "53");
    const questions: string[] = [];
    const lines = createInterface({ input: server.stdout! });
    let complaint = "";
    server.stderr!.on("data", (data) => {
      complaint += data;
    });
    const ready = once(lines, "line");
    const [line] = await within(Promise.race([ready, once(server, "exit").then(() => [complaint])]), "a name server");
    if (line !== "ready") throw new Error(line);
    lines.on("line", (question) => questions.push(question));
    return questions;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons) daemon.close();
    await endNetd(this.directory);
    for (const dispose of this.#disposed.reverse()) await dispose();
    await this.network[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** What netd has written down. */
  get log(): string {
    return readFileSync(join(this.directory, "netd-log.json"), "utf8");
  }
}

export async function makeNetdHost(): Promise<NetdHost> {
  return new NetdHost(await makeNetworkNamespace());
}

type Reply = { answer: string; from?: string } | string | null;

export class NamedContainer {
  #client: ChildProcess | undefined;
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  #last = 0;

  constructor(readonly network: NetworkNamespace) {}

  /** What netd is told of it. */
  as(key: string, endpoints: readonly NamedEndpoint[], servers: Naming["servers"] = "host") {
    const { pid } = this.network;
    return { key, pid, startTime: startTimeOf(pid)!, endpoints, servers };
  }

  /** As Node's resolver asks: addresses or names, or the code of an error. */
  ask(name: string, type: "A" | "AAAA" | "PTR" | "MX" = "A"): Promise<string[] | string> {
    return this.#request({ ask: [name, type] });
  }

  /** Sends a packet as it is. */
  send(packet: Buffer, options: { protocol?: "tcp"; wait?: number } = {}): Promise<Reply> {
    return this.#request({ packet: packet.toString("hex"), ...options });
  }

  request<T>(request: object): Promise<T> {
    return this.#request(request);
  }

  async #request<T>(request: object): Promise<T> {
    const id = ++this.#last;
    const answer = new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    answer.catch(() => {});
    if (this.#client === undefined) this.#start();
    this.#client!.stdin!.write(`${JSON.stringify({ id, ...request })}\n`);
    return within(answer, JSON.stringify(request));
  }

  #start(): void {
    this.#client = this.network.spawn(process.execPath, script("name-client.mjs"));
    this.#client.stderr!.pipe(process.stderr);
    createInterface({ input: this.#client.stdout! }).on("line", (line) => {
      const { id, result, error } = JSON.parse(line);
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result as never);
      else waiting?.reject(new Error(error));
    });
  }
}

/** A question as a packet. */
export function question(name: string, { type = 1, id = 0x1234, extension = 0 } = {}): Buffer {
  const labels = name.split(".").flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]);
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, extension > 0 ? 1 : 0]);
  const opt = extension > 0 ? [Buffer.from([0, 0, 41, extension >> 8, extension & 255, 0, 0, 0, 0, 0, 0])] : [];
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, type, 0, 1]), ...opt]);
}

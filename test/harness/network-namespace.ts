/**
 * A network namespace of a test's own, in which its daemon, clients and servers are started: they see the machine's files and processes,
 * and none of its devices. The namespace ends with the processes in it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { daemonEnvironment } from "./daemon.js";
import type { Outcome } from "./machine.js";
import { kill } from "./processes.js";
import { eventually, within } from "./wait.js";

export class NetworkNamespace implements AsyncDisposable {
  readonly #holder: ChildProcess | undefined;
  readonly #ended: Promise<unknown>;
  /** The process that holds it. */
  readonly pid: number;
  #said = "";

  /** @param holder the pid of a process whose namespace it is, and stays; else it is a new one, with a process of its own */
  constructor(holder?: number) {
    this.#ended = Promise.resolve();
    if (holder !== undefined) {
      this.pid = holder;
      return;
    }
    // Its stdin ends with this process, however that ends.
    const hold = "ip link set lo up && echo ready && exec cat";
    const child = spawn("unshare", ["--net", "sh", "-c", hold], {
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      env: daemonEnvironment(),
    });
    this.#holder = child;
    this.pid = child.pid!;
    this.#ended = once(child, "exit");
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (data) => {
        this.#said += data;
      });
    }
  }

  /** Resolves when it can be used. */
  async start(): Promise<void> {
    await eventually(() => {
      if (this.#holder?.exitCode !== null) throw new Error(`no network namespace: ${this.#said}`);
      return this.#said.includes("ready");
    });
  }

  /** For nsenter(1) and setns(2). */
  get path(): string {
    return `/proc/${this.pid}/ns/net`;
  }

  /** A command inside of it: its command line. A daemon takes that of no command at all as its `wrapper`. */
  enter(...command: string[]): string[] {
    return ["nsenter", `--net=${this.path}`, ...command];
  }

  /** Starts a command, which ends with the namespace at the latest. */
  spawn(...command: string[]): ChildProcess {
    const [program, ...args] = this.enter(...command);
    return spawn(program!, args, { env: daemonEnvironment(), stdio: ["pipe", "pipe", "pipe"] });
  }

  /** Runs a command to its end, whatever that is. */
  async attempt(command: readonly string[], input = ""): Promise<Outcome> {
    const child = this.spawn(...command);
    let stdout = "";
    let stderr = "";
    child.stdout!.on("data", (data) => {
      stdout += data;
    });
    child.stderr!.on("data", (data) => {
      stderr += data;
    });
    // One that has ended does not read its input.
    child.stdin!.on("error", () => {});
    child.stdin!.end(input);
    const [code] = (await within(once(child, "close"), command.join(" "))) as [number | null];
    return { code: code ?? -1, stdout, stderr };
  }

  /** Runs a shell command that has to succeed; answers its stdout without the last newline. */
  async shell(script: string, input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(["sh", "-c", script], input);
    if (code !== 0) throw new Error(`${script}: ${code}: ${stderr}`);
    return stdout.trimEnd();
  }

  /**
   * Connects the two, as a host and another machine on its network: this one is 10.99.0.1 and fd99::1, the other one 10.99.0.2 and fd99::2,
   * each on a device "cable".
   */
  async connect(other: NetworkNamespace): Promise<void> {
    await this.shell(`ip link add cable type veth peer name cable netns ${other.pid}`);
    const up = (number: number) =>
      `ip address add 10.99.0.${number}/24 dev cable; ip address add fd99::${number}/64 dev cable nodad; ip link set cable up`;
    await Promise.all([this.shell(up(1)), other.shell(up(2))]);
  }

  /** The names of its devices. */
  async devices(): Promise<string[]> {
    const lines = (await this.shell("ip -oneline link")).split("\n");
    return lines.map((line) => line.split(": ")[1]!.replace(/@.*/, ""));
  }

  /** Ends all processes in it, and so the namespace; one that another process holds stays as it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#holder?.exitCode === null && this.#holder.signalCode === null) {
      const namespace = readlinkSync(this.path);
      // One that could not be made yet is still the machine's.
      const others = namespace === readlinkSync("/proc/self/ns/net") ? [] : processesIn(namespace);
      for (const pid of others) if (pid !== this.pid) kill(pid);
      kill(this.pid);
    }
    await this.#ended;
  }
}

function processesIn(namespace: string): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`) === namespace;
      } catch {
        // It has ended, or the name is none of a process.
        return false;
      }
    });
}

/** Makes one; `await using` ends it with everything that runs in it. */
export async function makeNetworkNamespace(): Promise<NetworkNamespace> {
  const namespace = new NetworkNamespace();
  try {
    await namespace.start();
  } catch (error) {
    await namespace[Symbol.asyncDispose]();
    throw error;
  }
  return namespace;
}

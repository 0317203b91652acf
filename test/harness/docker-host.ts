/**
 * A machine with Debian's Docker 20.10, as far as Docker can tell: dockerd and its containerd in a network and a mount namespace of their
 * own, with a private /run and /etc. Nothing that the machine's own Docker or containerd has is touched, and all of it goes at the end.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { basename, dirname, join } from "node:path";
import { makeContainerd1 } from "./containerd1.js";
import { type DaemonOptions, daemonEnvironment, type TestDaemon } from "./daemon.js";
import { removeLeftovers } from "./leftovers.js";
import { unpackedProgram } from "./paths.js";
import { kill } from "./processes.js";
import { sharedRootfs } from "./rootfs.js";
import { directoryPrefix } from "./run-name.js";
import { eventually, within } from "./wait.js";

/** Whether `scripts/setup --tests` could have Docker; what needs it is skipped else. */
export const hasDocker = unpackedProgram("dockerd") !== undefined;

export interface DockerHostOptions {
  /** More arguments of dockerd. */
  flags?: string[];
  /** Its name on the network; several machines of one test need different ones. */
  hostname?: string;
  /** Of its containerd: ours, or Debian's (see containerd1.ts). */
  containerd?: Omit<DaemonOptions, "listen" | "wrapper">;
}

/** What a program did. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** A client that runs: what it has printed so far, and how it ends. */
export interface RunningClient extends Disposable {
  readonly child: ChildProcess;
  readonly stdout: string;
  readonly outcome: Promise<Outcome>;
  /** Resolves when stdout has shown this. */
  printed(what: string | RegExp): Promise<void>;
}

/** The image that all hosts have: busybox. */
export const image = "busybox:test";

/** Makes the namespaces, and says so; a process of its own holds them. Its arguments: directories for /etc, the name of the machine. */
const holdNamespaces = `
set -e
hostname "$3"
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1,workdir=$2" /etc
echo ready
exec sleep infinity`;

export class DockerHost implements AsyncDisposable {
  readonly dir = mkdtempSync(directoryPrefix());
  readonly socket = join(this.dir, "docker.sock");
  readonly #options: DockerHostOptions;
  #holder: ChildProcess | undefined;
  #containerd: TestDaemon | undefined;
  #dockerd: ChildProcess | undefined;
  #dockerdExited: Promise<unknown> = Promise.resolve();
  readonly #clients = new Set<ChildProcess>();

  constructor(options: DockerHostOptions) {
    this.#options = options;
    for (const name of ["run", "etc", "etc-work"]) mkdirSync(join(this.dir, name));
  }

  /** The process that holds the namespaces. */
  get pid(): number {
    return this.#holder!.pid!;
  }

  /** The cgroup of all its containers. */
  get cgroup(): string {
    return `${basename(this.dir)}-docker`;
  }

  get containerd(): TestDaemon {
    if (!this.#containerd) throw new Error("the host was never started");
    return this.#containerd;
  }

  /** A command inside the namespaces: its command line. */
  enter(...command: string[]): string[] {
    const of = `/proc/${this.pid}/ns`;
    const namespaces = [`--net=${of}/net`, `--uts=${of}/uts`, `--mount=${of}/mnt`];
    return ["nsenter", ...namespaces, ...command];
  }

  async start(): Promise<void> {
    await this.#makeNamespaces();
    this.#containerd = makeContainerd1({ ...this.#options.containerd, wrapper: this.enter() });
    await this.containerd.start();
    await this.startDockerd();
    await this.shell(`tar -C ${sharedRootfs()} -c . | docker import - ${image}`);
  }

  async #makeNamespaces(): Promise<void> {
    const { dir } = this;
    const { hostname = "docker" } = this.#options;
    const args = ["--net", "--uts", "--mount", "--propagation", "private", "sh", "-c", holdNamespaces, "sh"];
    const holder = spawn("unshare", [...args, join(dir, "etc"), join(dir, "etc-work"), hostname], {
      cwd: join(dir, "run"),
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#holder = holder;
    let said = "";
    for (const stream of [holder.stdout, holder.stderr]) stream.on("data", (data) => (said += data));
    await eventually(() => {
      if (holder.exitCode !== null) throw new Error(`no namespaces for Docker: ${said}`);
      return said.includes("ready");
    });
  }

  #dockerdCommand(): string[] {
    const { dir } = this;
    return this.enter(
      unpackedProgram("dockerd")!,
      "--experimental",
      `--data-root=${dir}/data`,
      `--exec-root=${dir}/exec`,
      `--pidfile=${dir}/dockerd.pid`,
      `--host=unix://${this.socket}`,
      `--containerd=${this.containerd.listen.replace("unix://", "")}`,
      `--cgroup-parent=/${this.cgroup}`,
      "--storage-driver=overlay2",
      ...(this.#options.flags ?? []),
    );
  }

  async startDockerd(): Promise<void> {
    // dockerd refuses to start when the process whose number is here runs, whatever it is by now.
    rmSync(join(this.dir, "dockerd.pid"), { force: true });
    const [program, ...args] = this.#dockerdCommand();
    const log = openSync(join(this.dir, "dockerd.log"), "a");
    const { PATH, ...env } = daemonEnvironment();
    const dockerd = spawn(program!, args, {
      detached: true,
      env: { ...env, PATH: `${dirname(unpackedProgram("dockerd")!)}:${PATH}`, HOME: this.dir },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#dockerd = dockerd;
    this.#dockerdExited = once(dockerd, "exit");
    await eventually(
      async () => {
        if (dockerd.exitCode !== null) throw new Error("dockerd has ended");
        return (await this.ping()) === "OK";
      },
      { what: "dockerd's answer" },
    ).catch((error) => {
      throw new Error(`${error.message}; ${this.logs}`);
    });
  }

  async endDockerd(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.#dockerd?.pid !== undefined) kill(this.#dockerd.pid, signal);
    await within(this.#dockerdExited, `dockerd's end after ${signal}`);
  }

  /** What dockerd answers to `GET /_ping`. */
  ping(): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.socket, path: "/_ping" }, (response) => {
        let body = "";
        response.on("data", (data) => (body += data));
        response.once("end", () => resolve(body));
      });
      call.once("error", reject);
      call.end();
    });
  }

  /** The ends of the logs of both daemons. */
  get logs(): string {
    const end = (text: string) => text.split("\n").slice(-40).join("\n");
    const dockerd = readFileSync(join(this.dir, "dockerd.log"), "utf8");
    return `dockerd:\n${end(dockerd)}\ncontainerd:\n${end(this.containerd.log)}`;
  }

  get #clientEnvironment(): Record<string, string> {
    const env = daemonEnvironment();
    return {
      ...env,
      PATH: `${dirname(unpackedProgram("docker")!)}:${env.PATH}`,
      DOCKER_HOST: `unix://${this.socket}`,
      DOCKER_CONFIG: join(this.dir, "client"),
      DOCKER_BUILDKIT: "0",
      TERM: "xterm",
    };
  }

  /** Starts a command in the network namespace, `docker` being Debian's client. Its stdin is a pipe. */
  spawn(...command: string[]): RunningClient {
    const [program, ...args] = this.enter(...command);
    const child = spawn(program!, args, { cwd: this.dir, env: this.#clientEnvironment });
    this.#clients.add(child);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data) => (stdout += data));
    child.stderr.on("data", (data) => (stderr += data));
    // A client that has ended does not read its input.
    child.stdin.on("error", () => {});
    const outcome = new Promise<Outcome>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        this.#clients.delete(child);
        resolve({ code: code ?? (signal === null ? -1 : 128), stdout, stderr });
      });
    });
    return {
      child,
      outcome,
      get stdout() {
        return stdout;
      },
      printed: async (what) => {
        const shown = () => (typeof what === "string" ? stdout.includes(what) : what.test(stdout));
        await eventually(shown, { what: `"${what}" from ${command.join(" ")}` }).catch((error) => {
          throw new Error(`${error.message}; it printed:\n${stdout}${stderr}`);
        });
      },
      [Symbol.dispose]: () => child.kill("SIGKILL"),
    };
  }

  /** Runs Docker's client to its end, whatever that is. */
  async attempt(args: readonly string[], input = ""): Promise<Outcome> {
    const client = this.spawn("docker", ...args);
    client.child.stdin!.end(input);
    return await within(client.outcome, `the end of docker ${args.join(" ")}`);
  }

  /** Runs Docker's client, which has to succeed; answers its stdout without the last newline. */
  async docker(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(args);
    if (code !== 0) throw new Error(`docker ${args.join(" ")}: ${code}: ${stderr || stdout}`);
    return stdout.trimEnd();
  }

  /** Runs a shell command that has to succeed; answers its stdout without the last newline. */
  async shell(script: string): Promise<string> {
    const client = this.spawn("sh", "-c", script);
    client.child.stdin!.end();
    const { code, stdout, stderr } = await within(client.outcome, script);
    if (code !== 0) throw new Error(`${script}: ${code}: ${stderr}`);
    return stdout.trimEnd();
  }

  async inspect(name: string, format: string): Promise<string> {
    return await this.docker("inspect", "--format", format, name);
  }

  /** Removes all containers: what a test leaves is in nobody's way. */
  async removeContainers(): Promise<void> {
    const ids = await this.docker("ps", "--all", "--quiet");
    if (ids !== "") await this.docker("rm", "--force", "--volumes", ...ids.split("\n"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#clients) child.kill("SIGKILL");
    await this.endDockerd();
    if (this.#containerd?.running) await this.#containerd.kill();
    const territory = { dir: this.dir, stateDir: join(this.dir, "state") };
    if (this.#holder && this.#holder.exitCode === null) {
      const exited = once(this.#holder, "exit");
      kill(this.pid);
      await exited;
    }
    await removeLeftovers(territory);
    await this.#containerd?.[Symbol.asyncDispose]();
    await removeLeftovers(territory);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Starts a machine with Docker; `await using` ends it with everything that runs on it. */
export async function startDockerHost(options: DockerHostOptions = {}): Promise<DockerHost> {
  const host = new DockerHost(options);
  try {
    await host.start();
  } catch (error) {
    await host[Symbol.asyncDispose]();
    throw error;
  }
  return host;
}

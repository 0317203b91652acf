/**
 * A machine with Debian's Docker 20.10, as far as Docker can tell: dockerd and its containerd in a network and a mount namespace of their
 * own, with a private /run and /etc. Nothing that the machine's own Docker or containerd has is touched, and all of it goes at the end.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { basename, dirname, join } from "node:path";
import { type DaemonOptions, daemonEnvironment, TestDaemon } from "./daemon.js";
import { removeLeftovers } from "./leftovers.js";
import { unpackedProgram } from "./paths.js";
import { kill } from "./processes.js";
import { sharedRootfs } from "./rootfs.js";
import { directoryPrefix } from "./run-name.js";
import { eventually, within } from "./wait.js";

/** Whether `scripts/setup --tests` could have Docker; what needs it is skipped else. */
export const hasDocker = unpackedProgram("dockerd") !== undefined;

/**
 * Whose containerd Docker runs on. With CONTAINERD_TS_TEST_DOCKER_ON=debian it is Debian's containerd 1.6, which shows whether a check asks
 * what Docker users have had all along.
 */
export const onDebian = process.env.CONTAINERD_TS_TEST_DOCKER_ON === "debian";

export interface DockerHostOptions {
  /** More arguments of dockerd. */
  flags?: string[];
  /** Of our daemon. */
  daemon?: Omit<DaemonOptions, "listen" | "wrapper">;
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

/** Makes the namespaces, and says so; a process of its own holds them. Its arguments: directories for /etc. */
const holdNamespaces = `
set -e
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1,workdir=$2" /etc
echo ready
exec sleep infinity`;

/** A program that is started, killed and started again, with one log. */
class Service {
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();

  constructor(
    readonly log: string,
    readonly command: () => string[],
    readonly env: Record<string, string>,
  ) {}

  spawn(): void {
    const [program, ...args] = this.command();
    const log = openSync(this.log, "a");
    const child = spawn(program!, args, { detached: true, env: this.env, stdio: ["ignore", log, log] });
    closeSync(log);
    this.#child = child;
    this.#exited = once(child, "exit").then(() => {
      if (this.#child === child) this.#child = undefined;
    });
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Waits for its end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child?.pid !== undefined) kill(this.#child.pid, signal);
    await within(this.#exited, `the end of ${basename(this.log)}`);
  }
}

export class DockerHost implements AsyncDisposable {
  readonly dir = mkdtempSync(directoryPrefix());
  readonly socket = join(this.dir, "docker.sock");
  readonly #options: DockerHostOptions;
  #holder: ChildProcess | undefined;
  #daemon: TestDaemon | undefined;
  #debian: Service | undefined;
  #dockerd: Service | undefined;
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

  get #containerdSocket(): string {
    return this.#daemon ? this.#daemon.listen.replace("unix://", "") : join(this.dir, "containerd.sock");
  }

  /** Our daemon; not there when Docker runs on Debian's containerd. */
  get daemon(): TestDaemon {
    if (!this.#daemon) throw new Error("Docker runs on Debian's containerd here");
    return this.#daemon;
  }

  /** A command inside the namespaces, from the command. */
  enter(...command: string[]): string[] {
    return ["nsenter", `--net=/proc/${this.pid}/ns/net`, `--mount=/proc/${this.pid}/ns/mnt`, ...command];
  }

  async start(): Promise<void> {
    await this.#makeNamespaces();
    if (onDebian) this.#debian = this.#debianContainerd();
    else this.#daemon = new TestDaemon({ ...this.#options.daemon, wrapper: this.enter() });
    const path = `${dirname(unpackedProgram("dockerd")!)}:${daemonEnvironment().PATH}`;
    this.#dockerd = new Service(join(this.dir, "dockerd.log"), () => this.#dockerdCommand(), {
      ...daemonEnvironment(),
      PATH: path,
      HOME: this.dir,
    });
    await this.startContainerd();
    await this.startDockerd();
    await this.shell(`tar -C ${sharedRootfs()} -c . | docker import - ${image}`);
  }

  async #makeNamespaces(): Promise<void> {
    const args = ["--net", "--mount", "--propagation", "private", "sh", "-c", holdNamespaces, "sh"];
    const holder = spawn("unshare", [...args, join(this.dir, "etc"), join(this.dir, "etc-work")], {
      cwd: join(this.dir, "run"),
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

  #debianContainerd(): Service {
    const config = join(this.dir, "containerd.toml");
    const plugins = ["cri", "aufs", "btrfs", "devmapper", "zfs", "native"].map((name) =>
      name === "cri" ? "io.containerd.grpc.v1.cri" : `io.containerd.snapshotter.v1.${name}`,
    );
    writeFileSync(
      config,
      `version = 2
root = "${this.dir}/containerd-root"
state = "${this.dir}/containerd-state"
disabled_plugins = ${JSON.stringify(plugins)}
[grpc]
  address = "${this.#containerdSocket}"
[ttrpc]
  address = "${this.#containerdSocket}.ttrpc"
`,
    );
    const program = unpackedProgram("containerd")!;
    const env = daemonEnvironment();
    return new Service(join(this.dir, "containerd.log"), () => this.enter(program, "--config", config), {
      ...env,
      PATH: `${dirname(program)}:${env.PATH}`,
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
      `--containerd=${this.#containerdSocket}`,
      `--cgroup-parent=/${this.cgroup}`,
      "--storage-driver=overlay2",
      ...(this.#options.flags ?? []),
    );
  }

  async startContainerd(): Promise<void> {
    if (this.#daemon) return await this.#daemon.start();
    this.#debian!.spawn();
    await eventually(() => existsSync(this.#containerdSocket));
  }

  /** SIGKILL. */
  async killContainerd(): Promise<void> {
    if (this.#daemon) return await this.#daemon.kill();
    await this.#debian!.end("SIGKILL");
    rmSync(this.#containerdSocket, { force: true });
  }

  async startDockerd(): Promise<void> {
    // dockerd refuses to start when the process whose number is here runs, whatever it is by now.
    rmSync(join(this.dir, "dockerd.pid"), { force: true });
    this.#dockerd!.spawn();
    await eventually(
      async () => {
        if (!this.#dockerd!.running) throw new Error("dockerd has ended");
        return (await this.ping()) === "OK";
      },
      { what: "dockerd's answer" },
    ).catch((error) => {
      throw new Error(`${error.message}; ${this.logs}`);
    });
  }

  async endDockerd(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.#dockerd!.end(signal);
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
    return ["dockerd.log", "containerd.log"]
      .map((name) => join(this.dir, name))
      .filter(existsSync)
      .map((path) => `${path}:\n${readFileSync(path, "utf8").split("\n").slice(-40).join("\n")}`)
      .concat(this.#daemon ? [`our daemon's log:\n${this.#daemon.log.split("\n").slice(-40).join("\n")}`] : [])
      .join("\n");
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
    await this.#dockerd?.end("SIGKILL");
    await this.#debian?.end("SIGKILL");
    const territory = { dir: this.dir, stateDir: join(this.dir, "state") };
    if (this.#holder && this.#holder.exitCode === null) {
      const exited = once(this.#holder, "exit");
      kill(this.pid);
      await exited;
    }
    await removeLeftovers(territory);
    await this.#daemon?.[Symbol.asyncDispose]();
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

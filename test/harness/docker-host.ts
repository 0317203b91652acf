/**
 * A machine with Debian's Docker 20.10: dockerd and its containerd. Nothing that the machine's own Docker or containerd has is touched, and
 * all of it goes at the end.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { basename, dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll } from "vitest";
import type { DaemonOptions, TestDaemon } from "./daemon.js";
import { removeLeftovers } from "./leftovers.js";
import { Machine, type Outcome } from "./machine.js";
import { unpackedProgram } from "./paths.js";
import { kill } from "./processes.js";
import { sharedRootfs } from "./rootfs.js";
import { makeContainerd1 } from "./start-containerd1.js";
import { eventually, within } from "./wait.js";

const dockerd = unpackedProgram("dockerd");
/** Whether `scripts/setup --tests` could have Docker; what needs it is skipped else. */
export const hasDocker = dockerd !== undefined;

export interface DockerHostOptions {
  /** More arguments of dockerd. */
  flags?: string[];
  /** Its name on the network; several machines of one test need different ones. */
  hostname?: string;
  /** Whether its containerd is Debian's; undefined: as this run of tests has it (see start-containerd1.ts). */
  isDebians?: boolean;
  /** Of its containerd. */
  containerd?: Omit<DaemonOptions, "listen" | "wrapper">;
}

/** The image that all hosts have: busybox. */
export const image = "busybox:test";

export class DockerHost extends Machine {
  readonly containerd: TestDaemon;
  readonly #socket = join(this.dir, "docker.sock");
  readonly #flags: string[];
  #dockerd: ChildProcess | undefined;
  #dockerdExited: Promise<unknown> = Promise.resolve();

  constructor({ hostname = "docker", containerd, isDebians, flags = [] }: DockerHostOptions) {
    super(hostname);
    this.containerd = makeContainerd1({ ...containerd, wrapper: this.enter() }, isDebians);
    this.#flags = flags;
  }

  override get environment(): Record<string, string> {
    const { PATH, ...others } = super.environment;
    return {
      ...others,
      PATH: `${dirname(dockerd!)}:${PATH}`,
      DOCKER_HOST: `unix://${this.#socket}`,
      DOCKER_CONFIG: join(this.dir, "client"),
      DOCKER_BUILDKIT: "0",
    };
  }

  /** The cgroup of all its containers. */
  get cgroup(): string {
    return `${basename(this.dir)}-docker`;
  }

  override async start(): Promise<void> {
    await super.start();
    // With user namespaces, their roots have to get through it.
    chmodSync(this.dir, 0o711);
    await this.containerd.start();
    await this.startDockerd();
    await this.shell(`tar -C ${sharedRootfs()} -c . | docker import - ${image}`);
  }

  async startDockerd(): Promise<void> {
    const { dir } = this;
    const pidFile = join(dir, "dockerd.pid");
    // It refuses to start when the process whose number is here runs, whatever that is by now.
    rmSync(pidFile, { force: true });
    const [program, ...args] = this.enter(
      ...[dockerd!, `--data-root=${dir}/data`, `--exec-root=${dir}/exec`, `--pidfile=${pidFile}`],
      ...[`--host=unix://${this.#socket}`, `--containerd=${this.containerd.listen.replace("unix://", "")}`],
      ...[`--cgroup-parent=/${this.cgroup}`, "--storage-driver=overlay2", "--experimental", ...this.#flags],
    );
    const log = openSync(join(dir, "dockerd.log"), "a");
    const child = spawn(program!, args, { detached: true, env: this.environment, stdio: ["ignore", log, log] });
    closeSync(log);
    this.#dockerd = child;
    this.#dockerdExited = once(child, "exit");
    const answers = async () => child.exitCode !== null || (await this.get("/_ping")) === "OK";
    await eventually(answers, { what: "dockerd's answer" }).catch((error) => {
      throw new Error(`${error.message}; ${this.logs}`);
    });
    if (child.exitCode !== null) throw new Error(`dockerd has ended with ${child.exitCode}; ${this.logs}`);
  }

  async endDockerd(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.#dockerd?.pid !== undefined) kill(this.#dockerd.pid, signal);
    await within(this.#dockerdExited, `dockerd's end after ${signal}`);
  }

  /** What dockerd answers to a GET. */
  get(path: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socket, path }, (response) => {
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

  async inspect(name: string, format: string): Promise<string> {
    return await this.docker("inspect", "--format", format, name);
  }

  /** Removes all containers: what a test leaves is in nobody's way. */
  async removeContainers(): Promise<void> {
    const ids = await this.docker("ps", "--all", "--quiet");
    if (ids !== "") await this.docker("rm", "--force", "--volumes", ...ids.split("\n"));
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.endDockerd();
    if (this.containerd.running) await this.containerd.kill();
    // The containers first: their shims are the containerd's.
    await removeLeftovers({ dir: this.dir, stateDir: join(this.dir, "state") });
    await this.containerd[Symbol.asyncDispose]();
    await super[Symbol.asyncDispose]();
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

export interface DockerHostFixture {
  readonly host: DockerHost;
}

/** Starts a machine with Docker before the first test of a file, ends it after the last; between them its containers go. */
export function useDockerHost(options: DockerHostOptions = {}): DockerHostFixture {
  let host: DockerHost;
  beforeAll(async () => {
    if (hasDocker) host = await startDockerHost(options);
  });
  afterEach(async () => {
    if (hasDocker) await host.removeContainers();
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
  });
  return {
    get host() {
      return host;
    },
  };
}

/** A real daemon of a test's own: private directory, socket and state directory, gone at the end with all that it started. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { basename, dirname, join } from "node:path";
import { Api, type EventStream } from "./api.js";
import { type BundleOptions, makeBundle } from "./bundle.js";
import {
  describe,
  expectNoMoreDescriptors,
  expectNothingLeft,
  findLeftovers,
  removeLeftovers,
  type Snapshot,
  snapshot,
  type Territory,
} from "./leftovers.js";
import { daemonProgram, findProgram, shimProgram, unpackedProgram } from "./paths.js";
import { kill } from "./processes.js";
import { directoryPrefix } from "./run-name.js";
import { ApiV1 } from "./v1.js";
import { eventually, PATIENCE, sleep, within } from "./wait.js";

// Benches and soaks have no tests that fail.
if (process.env.VITEST !== undefined) await import("./failed-test.js");

export interface DaemonOptions {
  /** After the harness' own (socket, state directory, shim, no metrics), so that they win. */
  flags?: string[];
  /** A state directory to continue; else a new one. */
  stateDir?: string;
  runDir?: string;
  root?: string;
  /** The address to listen on, `unix:///…` or `tcp://…`; else a socket in the private directory. */
  listen?: string;
  /** Added to the environment. */
  env?: Record<string, string>;
  /** A descriptor that becomes its stderr; else that is in {@link TestDaemon.log}. */
  stderr?: number;
  /** A command that gets the daemon's command line as its last arguments and must exec it. */
  wrapper?: string[];
  /** The Node to run the program with; else the one that its first lines name. */
  node?: string;
  /** Another program than dist/bin/containerd.js. */
  program?: string;
}

export interface ExitStatus {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The environment of the daemons: of the caller's only what programs need to be found. */
export function daemonEnvironment(): Record<string, string> {
  const directories = (process.env.PATH ?? "").split(":");
  const criu = unpackedProgram("criu");
  if (criu) directories.unshift(dirname(criu));
  for (const directory of ["/usr/sbin", "/sbin"]) if (!directories.includes(directory)) directories.push(directory);
  return { PATH: directories.join(":"), HOME: process.env.HOME ?? "/root" };
}

export class TestDaemon implements AsyncDisposable {
  /** The private directory: short, since socket paths are limited to 107 bytes. */
  readonly dir: string;
  readonly stateDir: string;
  /** Where its tasks of namespaces are, and what outlives a boot; as with the state directory, another daemon may continue them. */
  readonly runDir: string;
  readonly root: string;
  /** As --listen takes it. */
  readonly listen: string;
  protected readonly options: DaemonOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<ExitStatus> | undefined;
  #api: Api | undefined;
  #v1: ApiV1 | undefined;
  #events: EventStream | undefined;

  constructor(options: DaemonOptions) {
    this.options = { ...options };
    this.dir = mkdtempSync(directoryPrefix());
    this.stateDir = options.stateDir ?? join(this.dir, "state");
    this.runDir = options.runDir ?? join(this.dir, "run");
    this.root = options.root ?? join(this.dir, "root");
    this.listen = options.listen ?? `unix://${join(this.dir, "s")}`;
  }

  /** As grpc-js and ctr take it. */
  get address(): string {
    return this.listen.replace(/^unix:\/\//, "unix:").replace(/^tcp:\/\//, "");
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("the daemon does not run");
    return this.#child.pid;
  }

  /** Resolves when the daemon has ended. */
  get exited(): Promise<ExitStatus> {
    if (!this.#exited) throw new Error("the daemon was never started");
    return this.#exited;
  }

  /** What all daemons of this test have written to stdout and stderr. */
  get log(): string {
    const path = join(this.dir, "log");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  get api(): Api {
    this.#api ??= new Api(this.address);
    return this.#api;
  }

  /** containerd 1.x's API, in a namespace. */
  v1(namespace = "default"): ApiV1 {
    this.#v1 ??= new ApiV1(this.address, namespace);
    return this.#v1.in(namespace);
  }

  /** All events since the state directory was made, then live ones; one subscription for each run of the daemon. */
  get events(): EventStream {
    this.#events ??= this.api.subscribe({ timestamp: { seconds: 0n, nanos: 0 } });
    return this.#events;
  }

  get #territory(): Territory {
    return { dir: this.dir, stateDir: this.stateDir, runDir: this.runDir, pid: this.#child?.pid };
  }

  /** Names a container: unique on the machine, and known as this test's by leftovers.ts. */
  id(name: string): string {
    return `${basename(this.dir)}-${name}`;
  }

  /** Makes a bundle in the private directory; its path is answered. */
  bundle(name: string, options: BundleOptions): string {
    return makeBundle(join(this.dir, "bundles", name), options);
  }

  /** The arguments of the command line, the program first. */
  get command(): string[] {
    const { flags = [], wrapper = [], node, program = daemonProgram } = this.options;
    return [
      ...wrapper,
      ...(node === undefined ? [program] : [node, program]),
      "--listen",
      this.listen,
      "--state-dir",
      this.stateDir,
      "--run-dir",
      this.runDir,
      "--root",
      this.root,
      "--shim",
      shimProgram,
      "--metrics-interval=0",
      ...flags,
    ];
  }

  /** Starts the daemon without waiting for anything. */
  spawn(): void {
    const [program, ...args] = this.command;
    mkdirSync(this.dir, { recursive: true });
    const log = openSync(join(this.dir, "log"), "a");
    const child = spawn(program!, args, {
      // A session of its own: Ctrl-C at the tests reaches them first, and they clean up.
      detached: true,
      env: { ...daemonEnvironment(), ...this.options.env },
      stdio: ["ignore", log, this.options.stderr ?? log],
    });
    closeSync(log);
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once("error", () => resolve({ code: null, signal: null }));
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    this.#exited.then(() => {
      if (this.#child === child) this.#child = undefined;
    });
  }

  /** Starts the daemon and waits until it answers. */
  async start(): Promise<void> {
    this.spawn();
    let ended: ExitStatus | undefined;
    this.exited.then((status) => {
      ended = status;
    });
    // First by a plain connection: a gRPC client that could not connect tries again later, also after it was closed.
    await eventually(async () => ended !== undefined || this.#accepts(), {
      timeout: PATIENCE,
      interval: 5,
      what: `a listener on ${this.listen}`,
    }).catch((error) => {
      throw new Error(`${error.message}; the daemon's log:\n${this.log}`);
    });
    // A child that the last daemon was just starting when it was killed has its listener for another moment: that one may have accepted.
    await eventually(
      async () => {
        if (ended) return true;
        try {
          await this.answers();
          return true;
        } catch (error) {
          this.#disconnect();
          throw error;
        }
      },
      { timeout: PATIENCE },
    );
    if (ended) throw new Error(`the daemon ended with ${ended.code ?? ended.signal}; its log:\n${this.log}`);
  }

  /** Resolves when it answers a call. */
  protected async answers(): Promise<void> {
    await this.api.getServerVersion();
  }

  #accepts(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = this.listen.startsWith("unix://")
        ? connect(this.listen.slice("unix://".length))
        : connect(Number(new URL(this.listen).port), new URL(this.listen).hostname);
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
  }

  #disconnect(): void {
    this.#events?.cancel();
    this.#events = undefined;
    this.#api?.close();
    this.#api = undefined;
    this.#v1?.close();
    this.#v1 = undefined;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const exited = this.exited;
    if (this.#child?.pid !== undefined) kill(this.#child.pid);
    await exited;
    this.#disconnect();
  }

  /** SIGTERM (or another signal); answers how the daemon ended. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<ExitStatus> {
    const exited = this.exited;
    if (this.#child?.pid !== undefined) kill(this.#child.pid, signal);
    const status = await within(exited, `the daemon's end after ${signal}`);
    this.#disconnect();
    return status;
  }

  /**
   * Ends the daemon (SIGTERM, or SIGKILL when asked to) and starts it again with the same socket and state directory, from then on with
   * other flags if there are any here.
   */
  async restart({ kill = false, flags }: { kill?: boolean; flags?: string[] } = {}): Promise<void> {
    if (kill) await this.kill();
    else await this.stop();
    if (flags !== undefined) this.options.flags = flags;
    await this.start();
  }

  /** What the daemon holds now, for {@link expectNothingLeft}. */
  snapshot(): Snapshot {
    return snapshot({ ...this.#territory, pid: this.pid });
  }

  /** Fails when anything of the containers is left; see leftovers.ts. */
  async expectNothingLeft(options: { before?: Snapshot; timeout?: number } = {}): Promise<void> {
    await expectNothingLeft(this.#territory, options);
  }

  /** Fails when the daemon has more descriptors than at the time of `before`. */
  async expectNoMoreDescriptors(before: Snapshot): Promise<void> {
    await expectNoMoreDescriptors(this.pid, before);
  }

  /** All that there is of the containers now, a line for each thing. */
  leftovers(): string[] {
    return describe(findLeftovers(this.#territory));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disconnect();
    if (this.#child?.pid !== undefined) {
      const exited = this.exited;
      kill(this.#child.pid);
      await exited;
    }
    // What a killed daemon was just starting shows up a moment later.
    for (let round = 0; round < 2; round++) {
      await removeLeftovers(this.#territory);
      if (round === 0) await sleep(20);
    }
    if (this.options.stateDir) rmSync(this.options.stateDir, { recursive: true, force: true });
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Starts a daemon; `await using` ends it with everything that it has started. */
export async function startDaemon(options: DaemonOptions = {}): Promise<TestDaemon> {
  if (!existsSync(daemonProgram)) throw new Error(`${daemonProgram} is missing: run npm run build`);
  if (!findProgram("runc")) throw new Error("runc is not installed: run scripts/setup --tests");
  return await started(new TestDaemon(options));
}

/** Starts it; one that does not come up is removed. */
export async function started<Daemon extends TestDaemon>(daemon: Daemon): Promise<Daemon> {
  try {
    await daemon.start();
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  return daemon;
}

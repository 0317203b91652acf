/**
 * What a test needs to play the daemon for a shim: a private folder with a root file system, bundles and process
 * directories, the start channel, and a clean-up that leaves nothing, whatever the test did.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StdioJson } from "../../src/contract/shim/process-json.js";
import { CHANNEL_VARIABLE, type DaemonMessage } from "../../src/contract/shim/start-channel.js";
import { makeSeqPacketPair, receivePacket, sendPacket } from "../../src/system/linux/seqpacket.js";
import { makeBundle, type Spec } from "../harness/bundle.js";
import { shimProgram } from "../harness/paths.js";
import { makeRootfs } from "../harness/rootfs.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually, PATIENCE, sleep, within } from "../harness/wait.js";

/** Waits until the condition holds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  await eventually(condition, { what, interval: 5 });
}

/** The daemon's end of a start channel. */
export class Channel {
  readonly #fd: number;
  /** The shim's end, for its stdio list; closed here once the shim has it. */
  readonly shimEnd: number;
  #open = true;

  constructor() {
    [this.#fd, this.shimEnd] = makeSeqPacketPair();
  }

  /** The next message; an empty one means that the shim has closed its end. */
  async receive(limit = PATIENCE): Promise<string> {
    const deadline = Date.now() + limit;
    for (;;) {
      const message = receivePacket(this.#fd);
      if (message !== undefined) return message;
      if (Date.now() > deadline) throw new Error("no message from the shim");
      await sleep(2);
    }
  }

  send(message: DaemonMessage): void {
    sendPacket(this.#fd, message);
  }

  /** As the daemon's death would. */
  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}

/** The part of process.json that tests vary. */
export interface ProcessOptions {
  exec?: boolean;
  terminal?: boolean;
  stdin?: string;
  stdout?: string;
  stderr?: string;
  /** Where these names lead, when they are no paths. */
  stdio?: StdioJson;
  noPivotRoot?: boolean;
  /** Instead of a process.json made from the rest. */
  processJson?: string;
  /** For an exec: what runs. */
  args?: string[];
  rootUID?: number;
  rootGID?: number;
  checkpoint?: string;
  /** Of an exec. */
  umask?: number;
}

/** Leaves the container in the host's pid namespace, where its init is not a pid 1 with a pid 1's privileges. */
export function withHostPids(config: Spec): void {
  config.linux.namespaces = config.linux.namespaces.filter((namespace) => namespace.type !== "pid");
}

/** Gives the container a user namespace whose root is this user of the host. */
export function withRootAs(uid: number, gid: number): (config: Spec) => void {
  return (config) => {
    config.linux.namespaces.push({ type: "user" });
    config.linux.uidMappings = [{ containerID: 0, hostID: uid, size: 1000 }];
    config.linux.gidMappings = [{ containerID: 0, hostID: gid, size: 1000 }];
  };
}

/** How a shim is started. */
export interface ShimOptions {
  runtime?: string;
  channel?: boolean;
  env?: Record<string, string>;
}

/** A running (or ended) shim and its process directory. */
export class Shim {
  readonly ended: Promise<number | null>;
  readonly #exitFifo: number;
  readonly #controlFifo: number;

  constructor(
    readonly directory: string,
    readonly child: ChildProcess,
    readonly channel: Channel | undefined,
    exitFifo: number,
    controlFifo: number,
  ) {
    this.#exitFifo = exitFifo;
    this.#controlFifo = controlFifo;
    this.ended = new Promise((resolve) => {
      child.once("exit", (code) => resolve(code));
      child.once("error", () => resolve(null));
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  file(name: string): string | undefined {
    const path = join(this.directory, name);
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
  }

  /** The pid of the container's process. */
  get processPid(): number {
    return Number(this.file("pid"));
  }

  get exitStatus(): string | undefined {
    return this.file("exitStatus");
  }

  /** Error messages of shim-log.json. */
  get errors(): string[] {
    return (this.file("shim-log.json") ?? "")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as { level: string; msg: string })
      .filter((entry) => entry.level === "error")
      .map((entry) => entry.msg);
  }

  /** Whether the exit FIFO tells of the end. */
  get hungUp(): boolean {
    try {
      return readSync(this.#exitFifo, Buffer.alloc(1)) === 0;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false;
      throw error;
    }
  }

  control(line: string): void {
    writeSync(this.#controlFifo, `${line}\n`);
  }

  /** Goes through the start with the daemon's part. */
  async start(): Promise<number> {
    const created = await this.channel!.receive();
    if (!created.startsWith("created "))
      throw new Error(`not created: ${created} ${this.errors} ${this.file("log.json")}`);
    this.channel!.send("start");
    const started = await this.channel!.receive();
    if (started !== "started") throw new Error(`not started: ${started}`);
    this.channel!.close();
    return Number(created.slice("created ".length));
  }

  /** Waits for the end; the shim's own exit code. */
  async end(limit = PATIENCE): Promise<number | null> {
    try {
      return await within(this.ended, "the shim's end", limit);
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${this.file("shim-log.json")}`, { cause: error });
    }
  }

  close(): void {
    this.channel?.close();
    closeSync(this.#exitFifo);
    closeSync(this.#controlFifo);
  }
}

/** A private folder with everything a test makes, and the clean-up. */
export class Sandbox {
  readonly path = mkdtempSync(join(tmpdir(), "shimtest-"));
  readonly rootfs = join(this.path, "rootfs");
  /** The runtime's own state, so that nobody else's containers are in reach. */
  readonly runtimeRoot = join(this.path, "runtime");
  readonly #shims: Shim[] = [];
  readonly #children: ChildProcess[] = [];
  #count = 0;

  constructor(readonly runtime = process.env.SHIMTEST_RUNTIME ?? "runc") {
    // Users of a user namespace must find the way to the root file system.
    chmodSync(this.path, 0o755);
    makeRootfs(this.rootfs);
  }

  /** A container id that is nobody else's. */
  id(): string {
    this.#count++;
    return `${this.path.split("/").pop()}-${this.#count}`;
  }

  get runtimeArgs(): string[] {
    return ["--root", this.runtimeRoot];
  }

  /** Calls the runtime; its output. */
  runtimeCall(...args: string[]): { status: number | null; output: string } {
    const result = spawnSync(this.runtime, [...this.runtimeArgs, ...args], { encoding: "utf8" });
    return { status: result.status, output: result.stdout + result.stderr };
  }

  /** Ids of the containers that the runtime knows. */
  get containers(): string[] {
    return existsSync(this.runtimeRoot)
      ? readdirSync(this.runtimeRoot).filter((name) => name.startsWith("shimtest-"))
      : [];
  }

  /** A bundle that runs the command; `change` may alter its config. */
  bundle(id: string, args: string[], change: (config: Spec) => void = () => {}): string {
    const spec = (config: Spec) => {
      config.root = { path: this.rootfs, readonly: false };
      // The test and the container show each other files in the root's.
      config.mounts = config.mounts.filter(({ destination }) => destination !== "/tmp");
      change(config);
    };
    return makeBundle(join(this.path, `bundle-${id}`), { args, spec });
  }

  /** FIFOs as a client makes them. */
  fifo(name: string): string {
    const path = join(this.path, `${name}-${this.#count}`);
    makeFifos(path);
    return path;
  }

  /** Starts a shim as the daemon does. */
  shim(id: string, bundle: string, process: ProcessOptions = {}, options: ShimOptions = {}): Shim {
    const directory = join(this.path, "state", id, process.exec ? `exec${this.#shims.length}` : "init");
    return this.shimIn(directory, id, bundle, process, options);
  }

  shimIn(directory: string, id: string, bundle: string, process: ProcessOptions, options: ShimOptions): Shim {
    mkdirSync(directory, { recursive: true });
    const spec = existsSync(join(bundle, "config.json"))
      ? JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")).process
      : {};
    writeFileSync(
      join(directory, "process.json"),
      process.processJson ??
        JSON.stringify({
          ...spec,
          ...(process.args ? { args: process.args } : {}),
          ...(process.umask === undefined ? {} : { user: { ...spec.user, umask: process.umask } }),
          terminal: process.terminal ?? false,
          exec: process.exec ?? false,
          containerdStdin: process.stdin ?? "",
          containerdStdout: process.stdout ?? "",
          containerdStderr: process.stderr ?? "",
          stdio: process.stdio,
          runtimeArgs: this.runtimeArgs,
          noPivotRoot: process.noPivotRoot ?? false,
          checkpoint: process.checkpoint ?? "",
          rootUID: process.rootUID ?? 0,
          rootGID: process.rootGID ?? 0,
        }),
    );
    makeFifos(join(directory, "exit"), join(directory, "control"));
    const exitFifo = openSync(join(directory, "exit"), constants.O_RDONLY | constants.O_NONBLOCK);
    const controlFifo = openSync(join(directory, "control"), constants.O_RDWR | constants.O_NONBLOCK);
    const channel = (options.channel ?? true) ? new Channel() : undefined;
    const child = spawn(shimProgram, [id, bundle, options.runtime ?? this.runtime], {
      cwd: directory,
      detached: true,
      stdio: ["ignore", "ignore", "inherit", ...(channel ? [channel.shimEnd] : [])],
      env: { ...globalThis.process.env, ...options.env, ...(channel ? { [CHANNEL_VARIABLE]: "3" } : {}) },
    });
    if (channel) closeSync(channel.shimEnd);
    const shim = new Shim(directory, child, channel, exitFifo, controlFifo);
    this.#shims.push(shim);
    return shim;
  }

  /** A process of the client's side, killed at the end of the test. */
  client(command: string, ...args: string[]): ChildProcess {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#children.push(child);
    return child;
  }

  /** Reads a FIFO to its end in another process. */
  reader(path: string): { child: ChildProcess; text: Promise<Buffer> } {
    const child = this.client("cat", path);
    const chunks: Buffer[] = [];
    child.stdout!.on("data", (chunk: Buffer) => chunks.push(chunk));
    const text = new Promise<Buffer>((resolve) => child.once("close", () => resolve(Buffer.concat(chunks))));
    return { child, text };
  }

  async clean(): Promise<void> {
    for (const id of this.containers) this.runtimeCall("delete", "--force", id);
    for (const child of this.#children) child.kill("SIGKILL");
    for (const shim of this.#shims) {
      shim.close();
      const running = () => shim.child.exitCode === null && shim.child.signalCode === null;
      for (let wait = 0; wait < 100 && running(); wait++) await sleep(20);
      if (running()) {
        shim.child.kill("SIGKILL");
        const pid = shim.processPid;
        if (pid > 0 && existsSync(`/proc/${pid}`)) process.kill(pid, "SIGKILL");
      }
    }
    for (const id of this.containers) this.runtimeCall("delete", "--force", id);
    rmSync(this.path, { recursive: true, force: true });
  }
}

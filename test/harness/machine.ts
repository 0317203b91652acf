/**
 * A machine of a test's own, as far as its programs can tell by their network, their name, and what they write to /run, /etc and /var/lib:
 * namespaces that end with everything in them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { daemonEnvironment } from "./daemon.js";
import { removeLeftovers } from "./leftovers.js";
import { kill } from "./processes.js";
import { directoryPrefix } from "./run-name.js";
import { eventually, within } from "./wait.js";

/** What a program did. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** A program that runs: what it has printed so far, and how it ends. */
export interface RunningProgram extends Disposable {
  readonly child: ChildProcess;
  readonly stdout: string;
  readonly outcome: Promise<Outcome>;
  /** Resolves when stdout has shown this. */
  printed(what: string | RegExp): Promise<void>;
}

/**
 * Makes the namespaces, and says so; a process of its own holds them. Its arguments: directories for /etc, the name of the machine.
 */
const HOLD = `
set -e
hostname "$3"
ip link set lo up
for directory in /run /var/lib; do mount -t tmpfs tmpfs $directory; done
mkdir -p /run/lock
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1,workdir=$2" /etc
echo ready
exec sleep infinity`;

export class Machine implements AsyncDisposable {
  readonly dir = mkdtempSync(directoryPrefix());
  /** Where all its programs start, by which they are known as this machine's. */
  readonly #cwd = join(this.dir, "cwd");
  readonly #holder: ChildProcess;
  readonly #ended: Promise<unknown>;
  #said = "";
  readonly #programs = new Set<ChildProcess>();

  constructor(hostname: string) {
    const { dir } = this;
    for (const name of ["cwd", "etc", "etc-work"]) mkdirSync(join(dir, name));
    const args = ["--net", "--uts", "--mount", "--propagation", "private", "sh", "-c", HOLD, "sh"];
    this.#holder = spawn("unshare", [...args, join(dir, "etc"), join(dir, "etc-work"), hostname], {
      cwd: this.#cwd,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#ended = once(this.#holder, "exit");
    for (const stream of [this.#holder.stdout!, this.#holder.stderr!]) {
      stream.on("data", (data) => {
        this.#said += data;
      });
    }
  }

  /** Resolves when it can be used. */
  async start(): Promise<void> {
    await eventually(() => {
      if (this.#holder.exitCode !== null) throw new Error(`no namespaces: ${this.#said}`);
      return this.#said.includes("ready");
    });
  }

  /** The process that holds the namespaces. */
  get pid(): number {
    return this.#holder.pid!;
  }

  /** The environment of the programs. */
  get environment(): Record<string, string> {
    return { ...daemonEnvironment(), HOME: this.dir, TERM: "xterm" };
  }

  /** A command inside the namespaces: its command line. */
  enter(...command: string[]): string[] {
    const of = `/proc/${this.pid}/ns`;
    const namespaces = [`--net=${of}/net`, `--uts=${of}/uts`, `--mount=${of}/mnt`];
    return ["nsenter", ...namespaces, `--wdns=${this.#cwd}`, ...command];
  }

  /** Starts a command. Its stdin is a pipe. */
  spawn(...command: string[]): RunningProgram {
    const [program, ...args] = this.enter(...command);
    const child = spawn(program!, args, { env: this.environment });
    this.#programs.add(child);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (data) => {
      stdout += data;
    });
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    // One that has ended does not read its input.
    child.stdin.on("error", () => {});
    const outcome = new Promise<Outcome>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        this.#programs.delete(child);
        resolve({ code: code ?? -1, stdout, stderr });
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
        await eventually(shown).catch(() => {
          throw new Error(`${command.join(" ")} did not print ${what}, but:\n${stdout}${stderr}`);
        });
      },
      [Symbol.dispose]: () => child.kill("SIGKILL"),
    };
  }

  /** Runs a shell command that has to succeed; answers its stdout without the last newline. What it starts may go on. */
  async shell(script: string): Promise<string> {
    const program = this.spawn("sh", "-c", script);
    program.child.stdin!.end();
    const { code, stdout, stderr } = await within(program.outcome, script);
    if (code !== 0) throw new Error(`${script}: ${code}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** Connects the two by a network: this one is 10.99.0.1, the other one 10.99.0.2. */
  async connect(other: Machine): Promise<void> {
    await this.shell(`ip link add cable type veth peer name cable netns /proc/${other.pid}/ns/net`);
    const up = (address: string) => `ip address add ${address}/24 dev cable; ip link set cable up`;
    await Promise.all([this.shell(up("10.99.0.1")), other.shell(up("10.99.0.2"))]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#programs) child.kill("SIGKILL");
    if (this.#holder.exitCode === null && this.#holder.signalCode === null) kill(this.pid);
    await this.#ended;
    await removeLeftovers({ dir: this.dir, stateDir: join(this.dir, "state") });
    rmSync(this.dir, { recursive: true, force: true });
  }
}

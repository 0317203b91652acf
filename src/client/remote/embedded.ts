import { chmodSync, mkdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import type { Client } from "../client.js";
import { pause } from "../options/duration.js";
import { type Checks, callback, checkOptions, pathText, required } from "../options/option-checks.js";
import { Remote, type RemoteChange } from "./remote.js";
import { type DaemonOptions, daemonChecks } from "./remote-daemon.js";

export interface EmbeddedOptions
  extends Pick<DaemonOptions, "program" | "shim" | "runtime" | "debug" | "args" | "output" | "stopWithLast"> {
  /** Holds images and what containers write, across restarts of the machine. Is made if need be. */
  root: string;
  /**
   * Holds the socket and what is known of running containers, until the machine is restarted; a directory of /run, say. Is made if need be.
   * Everybody may go through it (mode 0711), as the users of containers are nobody's on the host; so they must through those above it.
   */
  state: string;
  /** Told when the daemon has ended or does not answer, and when another one is up. */
  onChange?: ((change: RemoteChange) => void) | undefined;
}

const { program, shim, runtime, debug, args, output, stopWithLast } = daemonChecks;

const embeddedChecks: Checks<EmbeddedOptions> = {
  ...{ program, shim, runtime, debug, args, output, stopWithLast },
  root: required(pathText),
  state: required(pathText),
  onChange: callback,
};

/** May be gone through, not looked into: a container's root, who is somebody else on the host, gets to its root file system that way. */
const PASSABLE = 0o711;

/** How often, and in ms how long after each other, a daemon is started that another program starts at the same moment. */
const TRIES = 20;
const TRY_PAUSE = 250;

/**
 * A daemon of this program's own, for machines where none is installed: the one of the package `containerd-ts`, unless `program` names
 * another. It ends with this program, and is started again when it ends before. Containers go on: the next program with the same
 * directories, or this one when it is started again, finds them. Programs that run at the same time with the same directories share one
 * daemon; when the program ends that has started it, another one starts it again.
 *
 * With `stopWithLast` the daemon that is started here ends with the last program that uses it instead, however that ends, some seconds
 * after it: not before the containers have ended that belong to no program. Whoever is connected uses it, whether it has asked for that or
 * not.
 *
 * @throws TypeError or RangeError for a wrong option; Error when there is no daemon's program or it does not start
 * @example
 * await using daemon = await embedded({ root: "/var/lib/my-app", state: "/run/my-app" });
 * const { stdout } = await daemon.client.run({ image: "alpine:3.20", args: ["echo", "hello"] });
 */
export async function embedded(options: EmbeddedOptions): Promise<Embedded> {
  checkOptions(options, embeddedChecks);
  const { root, state, args = [], onChange, program = daemonProgram(), output = "ignore", ...rest } = options;
  const stateDir = resolve(state);
  makePassable(stateDir);
  const directories = ["--root", resolve(root), "--run-dir", join(stateDir, "run")];
  const start = () =>
    Remote.start({
      ...(rest as Omit<DaemonOptions, "stateDir">),
      ...{ stateDir, program, output, args: [...directories, ...args] },
      ...(onChange && { onChange }),
    });
  for (let tries = 1; ; tries++) {
    try {
      return new Embedded(await start(), options.stopWithLast);
    } catch (error) {
      // Two that are started at once: one of them is refused the directories, and finds the other then.
      if (tries === TRIES || !/ended before it answered/.test(String(error))) throw error;
      await pause(TRY_PAUSE);
    }
  }
}

/** {@link embedded} */
export class Embedded implements AsyncDisposable {
  /** Connected to the daemon; survives its restarts. */
  readonly client: Client;
  readonly #remote: Remote;
  readonly #stopsWithLast: boolean;

  /** @internal */
  constructor(remote: Remote, stopsWithLast = false) {
    this.#remote = remote;
    this.#stopsWithLast = stopsWithLast;
    this.client = remote.client;
  }

  /** The daemon's process id. It changes when it is started again. */
  get pid(): number {
    return this.#remote.pid;
  }

  /** Whether the daemon was running already. */
  get adopted(): boolean {
    return this.#remote.adopted;
  }

  /** Lets go of the daemon, and stops it unless another program has started it, or it stops with its last one; containers go on. */
  async close(): Promise<void> {
    if (this.#remote.adopted || this.#stopsWithLast) await this.#remote.close();
    else await this.#remote.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What is in it has modes of its own. One of somebody else's stays as it is: it is refused. */
function makePassable(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: PASSABLE });
  const { mode, uid } = statSync(directory);
  if (uid === process.geteuid!() && (mode & PASSABLE) !== PASSABLE) chmodSync(directory, (mode & 0o7777) | PASSABLE);
}

/**
 * Of the package that brings it, as this library finds it, or else as the program does: a package manager may keep both apart, and a
 * bundle has left its own place. Else the one on the PATH.
 */
function daemonProgram(): string[] {
  for (const options of [undefined, { paths: [dirname(process.argv[1] ?? "/")] }]) {
    try {
      const { resolve } = createRequire(import.meta.url);
      return [join(dirname(resolve("containerd-ts/package.json", options)), "dist/bin/containerd.js")];
    } catch {}
  }
  return ["containerd"];
}

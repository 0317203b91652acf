import { closeSync, openSync } from "node:fs";
import {
  type AskedNames,
  type HeldPort,
  type NamedEndpoint,
  type Naming,
  NETD_VERSION,
  type NetdAnswer,
  type NetdRequest,
} from "../../../contract/netd/messages.js";
import { openPidFd } from "../../../system/linux/pidfd.js";
import { startTimeOf } from "../../../system/linux/proc-stat.js";
import { NetdConnection, NetdGone } from "./connection.js";
import { complaintOf, endNetd, findNetd, startNetd } from "./netd-process.js";

export type { HeldPort, NamedEndpoint, Naming };

/** A container whose names are answered. */
export interface Attachment extends Naming {
  /** What the container is called here: its namespace and its id. */
  readonly key: string;
  /** A process in its network namespace, with field 22 of its /proc/<pid>/stat: at its end the container is detached by itself. */
  readonly pid: number;
  readonly startTime: string;
}

export interface NetdOptions {
  /** The daemon's run directory. */
  readonly directory: string;
  /** The path of containerd-netd. */
  readonly program: string;
  /** The host's servers are in there; default: /etc/resolv.conf. */
  readonly resolvConf?: string;
  /** Is told what goes wrong without anybody who waits for it. */
  readonly onError: (message: string) => void;
}

/** Somebody has a port who is none of ours. */
export class PortTaken extends Error {
  constructor(
    readonly protocol: "tcp" | "udp",
    readonly address: string,
    readonly port: number,
  ) {
    super(`${protocol} port ${port} of ${address} is taken by a program of the host`);
  }
}

/** How often a request is made again of the successor of one that has died. */
const MAX_TRIES = 3;
/** At the how manieth failure in a row it is told that none comes up. */
const TOLD_FAILURES = 2;
/** In ms: how soon after the start of one the next is started, and after how long without a container netd ends. */
const RESTART_DELAY = 1_000;
const IDLE_TIMEOUT = 1_000;

/**
 * containerd-netd (docs/netd.md), which holds ports and answers names, also while no daemon is there. It is started when it is needed,
 * found again by the next daemon, started anew when it dies, and told then what it has to know; without anything to do it ends. All calls
 * can be repeated.
 */
export class Netd {
  readonly #options: NetdOptions;
  readonly #ports = new Map<string, HeldPort>();
  readonly #attachments = new Map<string, Attachment>();
  /** Those of them that are just being asked for the first time: who asks for them tells them, and hears what is wrong. */
  readonly #new = new Set<Attachment>();
  #connection: Promise<NetdConnection | undefined> | undefined;
  /** All that an earlier daemon's containers need has been told. */
  #isRestored = false;
  #isClosed = false;
  /** How many requests are under way. */
  #asking = 0;
  #startedAt = Number.NEGATIVE_INFINITY;
  #idle: NodeJS.Timeout | undefined;
  /** How often none has come up since the last that did. */
  #failures = 0;

  constructor(options: NetdOptions) {
    this.#options = options;
  }

  /**
   * Holds all of these ports, or none, so that nobody else takes them.
   * @returns their numbers: of a port 0 one that is free on all of its addresses
   * @throws {@link PortTaken}, or an Error
   */
  async hold(ports: readonly HeldPort[]): Promise<number[]> {
    const answer = await this.#ask({ do: "hold", ports });
    if (answer.taken) throw new PortTaken(answer.taken.protocol, answer.taken.address, answer.taken.port);
    const numbers = [...must(answer).ports!];
    for (const [index, port] of numbers.entries()) {
      const held = { ...ports[index]!, port };
      this.#ports.set(portKey(held), held);
    }
    return numbers;
  }

  /** Lets go of ports, which are named as they were asked for, but for their numbers. */
  async release(ports: readonly HeldPort[]): Promise<void> {
    const known = ports.filter((port) => this.#ports.delete(portKey(port)));
    if (known.length > 0) must(await this.#ask({ do: "release", ports: known }));
  }

  /** Has it started for who is about to {@link attach}, and does not wait. What fails does so once more for who does. */
  begin(): void {
    if (this.#connection !== undefined || this.#isClosed) return;
    this.#connect({ starts: true }).then(
      () => this.#endWhenIdle(),
      () => {},
    );
  }

  /** Answers the names of its networks to a container, and its own to the others on them. Throws an Error. */
  async attach(attachment: Attachment): Promise<void> {
    const { key } = attachment;
    this.#attachments.set(key, attachment);
    this.#new.add(attachment);
    try {
      must(await this.#ask(attachRequest(attachment), () => descriptorsOf(attachment)));
    } catch (error) {
      if (this.#attachments.get(key) === attachment) this.#attachments.delete(key);
      throw error;
    } finally {
      this.#new.delete(attachment);
    }
  }

  /** Gives a container that is attached other networks, names or servers. Throws an Error. */
  async update(key: string, naming: Naming): Promise<void> {
    const before = this.#attachments.get(key);
    if (before === undefined) throw new Error(`${key} is not attached`);
    this.#attachments.set(key, { ...before, ...naming });
    must(await this.#ask({ ...naming, do: "update", key }));
  }

  /** What a container with egress has asked for, as far as it is attached. Throws an Error. */
  async egressOf(key: string): Promise<AskedNames> {
    if (!this.#attachments.has(key)) return { asked: [], dropped: 0 };
    const { asked, dropped } = must(await this.#ask({ do: "egress", key })).egress!;
    // An empty list of Lua's is an empty object.
    return { asked: Array.isArray(asked) ? asked : [], dropped };
  }

  /** Has the host forget the connections that were begun from these addresses: by an earlier owner. Throws an Error. */
  async forgetOwner(addresses: readonly string[]): Promise<void> {
    must(await this.#ask({ do: "forget", addresses }));
  }

  /** Fine when it is not attached. */
  async detach(key: string): Promise<void> {
    if (this.#attachments.delete(key)) must(await this.#ask({ do: "detach", key }));
  }

  /**
   * After the start of a daemon, once {@link hold} and {@link attach} have been called for all that is there: what netd has besides is
   * dropped. Throws an Error.
   */
  async restored(): Promise<void> {
    this.#isRestored = true;
    const connection = await (this.#connection ?? this.#connect({ starts: false }));
    try {
      await connection?.ask({ do: "end" });
    } catch (error) {
      // The next is told all of it anyway.
      if (!(error instanceof NetdGone)) throw error;
    }
    this.#endWhenIdle();
  }

  /** At the daemon's end: netd goes on, unless it has nothing to do. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#idle);
    void this.#connection?.then(
      (connection) => connection?.close(),
      () => {},
    );
  }

  /** Throws an Error when there is no netd to be had. */
  async #ask(request: NetdRequest, open?: () => number[]): Promise<NetdAnswer> {
    this.#asking++;
    try {
      for (let tries = 1; ; tries++) {
        try {
          const connection = await (this.#connection ?? this.#connect({ starts: true }));
          if (connection !== undefined) return await connection.ask(request, open);
        } catch (error) {
          if (!(error instanceof NetdGone) || tries === MAX_TRIES) throw error;
        }
      }
    } finally {
      this.#asking--;
      this.#endWhenIdle();
    }
  }

  #connect(how: { starts: boolean }): Promise<NetdConnection | undefined> {
    if (this.#isClosed) return Promise.reject(new Error("the daemon stops"));
    const connection = this.#open(how).then(
      (opened) => {
        if (opened === undefined && this.#connection === connection) this.#connection = undefined;
        return opened;
      },
      (error) => {
        if (this.#connection === connection) this.#connection = undefined;
        this.#failed(error.message);
        throw error;
      },
    );
    this.#connection = connection;
    return connection;
  }

  /** Finds or starts one, and tells it all that it has to know. */
  async #open({ starts }: { starts: boolean }): Promise<NetdConnection | undefined> {
    const { directory, program } = this.#options;
    const found = findNetd(directory);
    if (found !== undefined) {
      try {
        return await this.#tellAll(found);
      } catch (error) {
        if (!(error instanceof NetdGone)) throw error;
        // It has just been killed, or stands still: then so must its sockets end, before another takes their places.
        await endNetd(directory);
      }
    }
    if (!starts) return undefined;
    const wait = this.#startedAt + RESTART_DELAY - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    this.#startedAt = performance.now();
    try {
      return await this.#tellAll(await startNetd(program, directory));
    } catch (error) {
      const complaint = error instanceof NetdGone ? complaintOf(directory) : undefined;
      throw complaint === undefined ? error : new NetdGone(`has failed: ${complaint}`);
    }
  }

  /** Tells one all of it. Throws {@link NetdGone}. */
  async #tellAll(socket: number): Promise<NetdConnection> {
    const { resolvConf = "/etc/resolv.conf" } = this.#options;
    let isReady = false;
    const connection = new NetdConnection(socket, () => {
      if (isReady) void this.#lost();
    });
    try {
      const { version } = await connection.ask({ do: "begin", resolvConf });
      if (version !== NETD_VERSION) throw new NetdGone(`is of another version (${version})`);
      await this.#tellWishes(connection);
      isReady = true;
      this.#failures = 0;
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async #tellWishes(connection: NetdConnection): Promise<void> {
    const told = [...this.#ports.values()].map(async (port) => {
      const { error } = await connection.ask({ do: "hold", ports: [port] });
      if (error !== undefined) this.#options.onError(`a published port is held no more: ${error}`);
    });
    for (const attachment of this.#attachments.values())
      if (!this.#new.has(attachment))
        told.push(
          connection
            .ask(attachRequest(attachment), () => descriptorsOf(attachment))
            .then(({ error }) => {
              if (error !== undefined) throw new Error(error);
            })
            .catch((error) => {
              if (error instanceof NetdGone) throw error;
              // A container that has just ended is about to be detached.
              this.#options.onError(`names of ${attachment.key}: ${error.message}`);
            }),
        );
    await Promise.all(told);
    if (this.#isRestored) await connection.ask({ do: "end" });
  }

  /** It has died, or stands still. Those that it was there for need another, whoever asks. */
  async #lost(): Promise<void> {
    this.#connection = undefined;
    if (this.#isUnneeded) return;
    await endNetd(this.#options.directory);
    this.#tellAnother();
  }

  #tellAnother(): void {
    if (this.#isUnneeded || this.#isClosed || this.#connection !== undefined) return;
    // What goes wrong is told, and tried again, where it does.
    this.#connect({ starts: true }).catch(() => {});
  }

  /** None has come up. */
  #failed(why: string): void {
    if (this.#isUnneeded || this.#isClosed) return;
    // One that was killed right after its start is followed by another, and nobody need know.
    this.#failures++;
    if (this.#failures === TOLD_FAILURES) this.#options.onError(why);
    setTimeout(() => this.#tellAnother(), RESTART_DELAY).unref();
  }

  get #isUnneeded(): boolean {
    return this.#ports.size === 0 && this.#attachments.size === 0;
  }

  #endWhenIdle(): void {
    clearTimeout(this.#idle);
    if (!this.#isUnneeded || this.#connection === undefined || this.#isClosed) return;
    this.#idle = setTimeout(() => {
      if (!this.#isUnneeded || this.#asking > 0) return;
      void this.#connection
        ?.then((connection) => connection?.ask({ do: "quit" }))
        // It may have ended before.
        .catch(() => {});
    }, IDLE_TIMEOUT).unref();
  }
}

function portKey({ protocol, addresses, port }: HeldPort): string {
  return `${protocol} ${addresses.join(",")} ${port}`;
}

function attachRequest({ pid: _pid, startTime: _startTime, ...attachment }: Attachment): NetdRequest {
  return { ...attachment, do: "attach" };
}

function must(answer: NetdAnswer): NetdAnswer {
  if (answer.error !== undefined) throw new Error(answer.error);
  return answer;
}

/** The network namespace of a container's process and a pidfd of that. Throws a system error, or an Error when the process has ended. */
function descriptorsOf({ key, pid, startTime }: Attachment): number[] {
  const pidFd = openPidFd(pid);
  let namespace: number | undefined;
  try {
    namespace = openSync(`/proc/${pid}/ns/net`, "r");
    // The process of the descriptor still has its pid, so the namespace is that process's.
    if (startTimeOf(pid) === startTime) return [namespace, pidFd];
    throw new Error(`the process of ${key} has ended`);
  } catch (error) {
    closeSync(pidFd);
    if (namespace !== undefined) closeSync(namespace);
    throw error;
  }
}

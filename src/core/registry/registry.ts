import { Connections } from "./connections.js";
import type { Credentials } from "./credentials.js";
import { dockerCredentials } from "./docker-config.js";
import { HostSession } from "./host-session.js";
import { hostsOf } from "./hosts.js";
import type { Environment } from "./proxies.js";
import type { Reference } from "./reference.js";
import { Repository } from "./repository.js";
import { Tokens } from "./tokens.js";

export type { BlobSink, Repository } from "./repository.js";

export interface RegistryOptions {
  /** Where directories of hosts are (`hosts.toml`, certificates); the first that has one for a host is taken. */
  hostsDirs?: readonly string[];
  /** As which program it asks. */
  userAgent?: string;
  /** Proxies, the place of Docker's config.json, and the PATH of credential helpers. */
  environment?: Environment;
  /** In ms: after so long without a byte a connection is given up, and the request made again. */
  stallTimeout?: number;
  /** In ms: the first wait before a request is made again; each that follows is twice as long. */
  retryDelay?: number;
}

/** How a client wants to reach a repository. */
export interface Access {
  /** For the registry of the name, not for its mirrors; asked once it wants to know. Without them, what Docker's config.json has. */
  credentials?: () => Promise<Credentials | undefined>;
  /** For each request to the registry of the name. */
  headers?: Readonly<Record<string, string>>;
  /** Where the directories of hosts are, instead of the daemon's. */
  hostsDir?: string;
  /** Without TLS, also where the host is not this machine. */
  plainHttp?: boolean;
}

/** In ms. */
const STALL_TIMEOUT = 30_000;
const RETRY_DELAY = 500;
const USER_AGENT = "containerd-ts";

/** What all pulls and pushes share: connections, and tokens. */
export class Registry {
  readonly #hostsDirs: readonly string[];
  readonly #userAgent: string;
  readonly #environment: Environment;
  readonly #retryDelay: number;
  readonly #connections: Connections;
  readonly #tokens: Tokens;

  constructor(options: RegistryOptions = {}) {
    const { hostsDirs = [], userAgent = USER_AGENT, environment = process.env } = options;
    this.#hostsDirs = hostsDirs;
    this.#userAgent = userAgent;
    this.#environment = environment;
    this.#retryDelay = options.retryDelay ?? RETRY_DELAY;
    this.#connections = new Connections(environment, options.stallTimeout ?? STALL_TIMEOUT);
    this.#tokens = new Tokens(this.#connections, userAgent);
  }

  /**
   * A repository as one pull or push uses it, with the host files and credentials of this moment.
   * @throws Failure (invalid-argument for what is wrong in a host's file: it quotes file and key), or the signal's reason
   */
  async repository(reference: Reference, access: Access = {}, signal?: AbortSignal): Promise<Repository> {
    signal?.throwIfAborted();
    const { hostsDir, headers = {}, plainHttp = false } = access;
    const places = { hostsDirs: hostsDir === undefined ? this.#hostsDirs : [hostsDir], plainHttp };
    const hosts = await hostsOf(reference.host, places, signal);
    const sessions = hosts.map((host) => {
      // Each is shown what is its own: a mirror may be anybody's.
      const name = host.isServer ? reference.host : host.url.host;
      const credentials = async () =>
        (host.isServer ? await access.credentials?.() : undefined) ??
        (await dockerCredentials(name, this.#environment));
      const own = host.isServer ? Object.entries(headers) : [];
      return new HostSession(
        { ...host, headers: [...host.headers, ...own] },
        {
          connections: this.#connections,
          tokens: this.#tokens,
          userAgent: this.#userAgent,
          credentials,
        },
      );
    });
    return new Repository(reference, sessions, this.#retryDelay);
  }

  /** Ends all connections, whatever is under way. */
  async close(): Promise<void> {
    await this.#connections.close();
  }
}

import { Failure } from "../failure/failure.js";
import type { Credentials } from "./credentials.js";
import type { Descriptor } from "./descriptor.js";
import type { Reference } from "./reference.js";

export interface RegistryOptions {
  /** Where directories of hosts are (`hosts.toml`, certificates); the first that has one for a host is taken. */
  hostsDirs?: readonly string[];
  /** As which program it asks. */
  userAgent?: string;
  /** Proxies, the place of Docker's config.json, and the PATH of credential helpers. */
  environment?: Readonly<Record<string, string | undefined>>;
  /** In ms: after so long without a byte a connection is given up, and the request made again. */
  stallTimeout?: number;
  /** In ms: the first wait before a request is made again; each that follows is twice as long. */
  retryDelay?: number;
}

/** How a client wants to reach a repository. */
export interface Access {
  /** For the registry of the name, not for its mirrors. Without them, what Docker's config.json has. */
  credentials?: Credentials;
  /** Without TLS, also where the host is not this machine. */
  plainHttp?: boolean;
}

export interface Transfer {
  signal: AbortSignal;
  /** Told before a request is made again. `delay` in ms. */
  onRetry?: (failure: Failure, delay: number) => void;
}

/** Where a blob goes to. An ingest of the content is one. */
export interface BlobSink {
  /** In bytes: how much it has; there a download goes on. */
  readonly offset: number;
  write(data: Buffer): Promise<void>;
  /** Throws all away that it has. */
  truncate(): Promise<void>;
  /** Of what it has so far. */
  digest(): string;
}

/** Where a blob comes from. */
export type BlobSource = (offset: number) => AsyncIterable<Buffer>;

/** What all pulls and pushes share: connections, tokens, what is known of hosts. */
export class Registry {
  constructor(readonly options: RegistryOptions = {}) {}

  /**
   * A repository as one pull or push uses it, with the host files and credentials of this moment.
   * @throws Failure (invalid-argument for what is wrong in a host's file or config.json: it quotes file and key)
   */
  async repository(reference: Reference, access: Access = {}, signal?: AbortSignal): Promise<Repository> {
    signal?.throwIfAborted();
    return new Repository(reference, access);
  }

  /** Ends all connections. */
  async close(): Promise<void> {}
}

/**
 * One repository at its registry and the mirrors of that. Every request is tried again by itself after what may pass, and then at the next
 * host. What fails in the end: Failure not-found, unauthenticated, permission-denied, resource-exhausted (too many requests), unavailable,
 * invalid-argument; or the signal's reason.
 */
export class Repository {
  constructor(
    readonly reference: Reference,
    readonly access: Access,
  ) {}

  /** What the reference's digest or tag names: a manifest or an index. */
  resolve(_: Transfer): Promise<Descriptor> {
    return unimplemented();
  }

  /** The bytes of a manifest or an index: as long as said (4 MiB at most), and of the digest. */
  manifest(_descriptor: Descriptor, _: Transfer): Promise<Buffer> {
    return unimplemented();
  }

  /**
   * Brings a blob to its sink, from the sink's offset on, and goes on there after broken connections. It is whole then: size and digest are
   * those of the descriptor. One of another digest is thrown away and fetched once more; then Failure wrong-digest, which names both, and the
   * sink is empty. After any other failure the sink keeps what it has, for the next try.
   */
  download(_descriptor: Descriptor, _sink: BlobSink, _: Transfer): Promise<void> {
    return unimplemented();
  }

  /** Whether the registry has the blob, or the manifest. */
  exists(_descriptor: Descriptor, _: Transfer): Promise<boolean> {
    return unimplemented();
  }

  /**
   * Brings a blob to the registry, unless it has it.
   * @param from paths of other repositories of this registry that may have it
   */
  upload(_descriptor: Descriptor, _source: BlobSource, _: Transfer & { from?: readonly string[] }): Promise<void> {
    return unimplemented();
  }

  /** Puts a manifest or an index there, whose blobs and manifests are there already; also under the tag, if one is given. */
  putManifest(_descriptor: Descriptor, _bytes: Buffer, _: Transfer & { tag?: string }): Promise<void> {
    return unimplemented();
  }
}

async function unimplemented(): Promise<never> {
  throw new Failure("unimplemented", "refused", { why: "registries" });
}

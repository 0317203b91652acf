import { parseAddress } from "../contract/address.js";
import type { CallOptions } from "./api/call-options.js";
import { Connection, type ConnectionOptions, closedError, connectionChecks } from "./api/connection.js";
import { V1 } from "./api/v1.js";
import { Images } from "./images/images.js";
import { duration } from "./options/duration.js";
import { anyText, type Checks, checkOptions, nameText } from "./options/option-checks.js";
import { V0 } from "./v0/v0.js";

export interface ClientOptions extends ConnectionOptions {
  /**
   * Milliseconds that waits, events and the closing of a stdin outlast a daemon that is away (being restarted, say)
   * before they fail. Default: for ever.
   */
  patience?: number | undefined;
  /**
   * The namespace of containerd 1.x's API in which images are. Default: that of the environment variable CONTAINERD_NAMESPACE, else
   * "default".
   */
  namespace?: string | undefined;
}

/** As clients of containerd 1.x have it. */
const DEFAULT_NAMESPACE = "default";

export const clientChecks: Checks<ClientOptions> = { ...connectionChecks, patience: duration, namespace: nameText };

/** A daemon, reached over one connection that is made when it is first needed. Make one with {@link connect}. */
export class Client implements AsyncDisposable {
  /** As given, in full: `unix:///run/containerd/containerd.sock`. */
  readonly address: string;
  /** The images of the client's namespace. */
  readonly images: Images;
  /** Containers of bundles, as containerd 0.2 has them. */
  readonly v0: V0;
  /** containerd 1.x's services one by one, in the client's namespace. */
  readonly v1: V1;
  readonly #connection: Connection;

  constructor(address: string, options: ClientOptions = {}) {
    anyText(address, "address");
    checkOptions(options, clientChecks);
    this.#connection = new Connection(parseAddress(address), options);
    this.address = this.#connection.address.text;
    this.v0 = new V0(this.#connection, options.patience);
    this.v1 = new V1(this.#connection, options.namespace ?? (process.env.CONTAINERD_NAMESPACE || DEFAULT_NAMESPACE));
    this.images = new Images(this.v1);
  }

  /** The daemon's version: "0.2.9", and the commit it was built from, where it says so. */
  async version(options?: CallOptions): Promise<{ version: string; revision: string }> {
    const { major, minor, patch, revision } = await this.v0.api.getServerVersion(options);
    return { version: `${major}.${minor}.${patch}`, revision };
  }

  /** Ends everything that is under way with an error; containers go on running. */
  close(): void {
    this.v0.close(closedError());
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

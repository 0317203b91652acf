import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { getSystemErrorMap } from "node:util";
import type { Address } from "../../contract/address.js";
import { withResolvers } from "../with-resolvers.js";

/** For a `tcp://` daemon with TLS. PEM texts. */
export interface TlsOptions {
  /** The authority that signed the daemon's certificate; without it: Node's built-in ones. */
  ca?: Buffer | string | undefined;
  /** The client's own certificate and key, for a daemon that asks for them. */
  cert?: Buffer | string | undefined;
  key?: Buffer | string | undefined;
}

/** Bytes of a socket path that fit in sockaddr_un, with the final NUL. */
const MAX_SOCKET_PATH = 107;

/** Milliseconds in which a daemon refuses the client's certificate, after the handshake. */
const REFUSAL_DELAY = 200;

/**
 * Connects and hangs up, to learn in words why a daemon does not answer: "no such file or directory",
 * "connection refused", "permission denied".
 *
 * @param timeout milliseconds
 * @returns undefined when the connection is accepted.
 */
export async function whyUnreachable(address: Address, timeout: number, tls?: TlsOptions): Promise<string | undefined> {
  if (address.kind === "unix" && Buffer.byteLength(address.path) > MAX_SOCKET_PATH)
    return `the path is longer than ${MAX_SOCKET_PATH} bytes`;
  const { promise, resolve } = withResolvers<string | undefined>();
  const { socket, ready } = open(address, tls);
  let patience: NodeJS.Timeout | undefined;
  socket.setTimeout(timeout, () => resolve(`no answer within ${timeout} ms`));
  socket.once(ready, () => {
    if (ready === "secureConnect") patience = setTimeout(() => resolve(undefined), Math.min(REFUSAL_DELAY, timeout));
    else resolve(undefined);
  });
  socket.once("error", (error: NodeJS.ErrnoException) => resolve(describe(error)));
  try {
    return await promise;
  } finally {
    clearTimeout(patience);
    socket.on("error", () => {});
    socket.destroy();
  }
}

function open(address: Address, tls: TlsOptions | undefined): { socket: Socket; ready: "connect" | "secureConnect" } {
  if (address.kind === "unix") return { socket: connect(address.path), ready: "connect" };
  const { host, port } = address;
  if (!tls) return { socket: connect({ host, port }), ready: "connect" };
  return { socket: connectTls({ ...tls, host, port, ALPNProtocols: ["h2"] }), ready: "secureConnect" };
}

function describe(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOTFOUND") return "no such host";
  // Several addresses were tried (localhost: ::1 and 127.0.0.1); the last one's reason stands for all.
  const cause = error instanceof AggregateError ? (error.errors.at(-1) as NodeJS.ErrnoException) : error;
  // OpenSSL's own: "…:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:…".
  const alert = /:SSL routines:[^:]*:([^:]+):/.exec(cause.message)?.[1];
  return getSystemErrorMap().get(cause.errno ?? 0)?.[1] ?? (alert ? `TLS: ${alert}` : cause.message);
}

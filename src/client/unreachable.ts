import { connect, type Socket } from "node:net";
import { getSystemErrorMap } from "node:util";
import type { Address } from "./address.js";

/** Bytes of a socket path that fit in sockaddr_un, with the final NUL. */
const longestSocketPath = 107;

/**
 * Connects and hangs up, to learn in words why a daemon does not answer: "no such file or directory",
 * "connection refused", "permission denied".
 *
 * @param timeout milliseconds
 * @returns undefined when the connection is accepted.
 */
export async function whyUnreachable(address: Address, timeout: number): Promise<string | undefined> {
  if (address.kind === "unix" && Buffer.byteLength(address.path) > longestSocketPath)
    return `the path is longer than ${longestSocketPath} bytes`;
  const { promise, resolve } = withResolvers<string | undefined>();
  const socket: Socket =
    address.kind === "unix" ? connect(address.path) : connect({ host: address.host, port: address.port });
  socket.setTimeout(timeout, () => resolve(`no answer within ${timeout} ms`));
  socket.once("connect", () => resolve(undefined));
  socket.once("error", (error: NodeJS.ErrnoException) => resolve(describe(error)));
  try {
    return await promise;
  } finally {
    socket.on("error", () => {});
    socket.destroy();
  }
}

function describe(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOTFOUND") return "no such host";
  // Several addresses were tried (localhost: ::1 and 127.0.0.1); the last one's reason stands for all.
  const cause = error instanceof AggregateError ? (error.errors.at(-1) as NodeJS.ErrnoException) : error;
  return getSystemErrorMap().get(cause.errno ?? 0)?.[1] ?? cause.message;
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

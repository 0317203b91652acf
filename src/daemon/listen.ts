import { chmodSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { type Server, ServerCredentials } from "@grpc/grpc-js";
import { hasCode } from "../linux/libc.js";

/** An address split at `://`. */
export interface ListenAddress {
  protocol: "unix" | "tcp";
  address: string;
}

/** @throws Error that quotes an address that can't be listened on */
export function parseListenAddress(text: string): ListenAddress {
  const at = text.indexOf("://");
  if (at < 0) throw new Error(`bad listen address format ${text}, expected proto://address`);
  const protocol = text.slice(0, at);
  const address = text.slice(at + "://".length);
  if (protocol !== "unix" && protocol !== "tcp")
    throw new Error(`bad listen address ${text}: protocol ${JSON.stringify(protocol)} is not supported`);
  if (address === "") throw new Error(`bad listen address ${text}: no address`);
  return { protocol, address };
}

/**
 * Binds the server. A socket file that nobody listens on any more is replaced.
 * @returns removes what must not stay behind
 * @throws Error when the address is taken or can't be had
 */
export async function listen(server: Server, { protocol, address }: ListenAddress): Promise<() => void> {
  if (protocol === "tcp") {
    await bind(server, address);
    return () => {};
  }
  mkdirSync(dirname(address), { recursive: true, mode: 0o755 });
  await clearSocket(address);
  await bind(server, `unix:${address}`);
  chmodSync(address, 0o660);
  return () => unlinkIfThere(address);
}

function bind(server: Server, target: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(new Error(`listen ${target}: ${error.message}`)) : resolve(port),
    );
  });
}

/** Removes the socket of a daemon that is gone. Throws Error when somebody answers on it, or when it is no socket. */
async function clearSocket(path: string): Promise<void> {
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (info === undefined) return;
  if (!info.isSocket()) throw new Error(`listen unix ${path}: there is something else than a socket`);
  const answers = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => resolve(!hasCode(error, "ECONNREFUSED") && !hasCode(error, "ENOENT")));
  });
  if (answers) throw new Error(`listen unix ${path}: address already in use: another daemon answers there`);
  unlinkIfThere(path);
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}

import { tmpdir } from "node:os";
import { defaultAddress } from "../contract/address.js";
import { removeAbandonedFoldersOnce } from "./bundle/owned-folders.js";
import { Client, type ClientOptions } from "./client.js";

/**
 * A client of the daemon at this address: `unix:///path/to.sock`, the bare path of a socket, or `tcp://host:port`.
 * Without one: that of the environment variable CONTAINERD_ADDRESS, else `unix:///run/containerd/containerd.sock`. It connects at the first
 * call; a daemon that cannot be reached is that call's error.
 *
 * @throws TypeError for an address that is none.
 * @example
 * await using client = connect();
 * console.log(await client.version());
 */
export function connect(
  address: string = process.env.CONTAINERD_ADDRESS || defaultAddress,
  options: ClientOptions = {},
): Client {
  removeAbandonedFoldersOnce(tmpdir());
  return new Client(address, options);
}

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { Client, TlsOptions } from "../../client/index.js";
import { defaultAddress } from "../../contract/address.js";

/** What is written before the command: `ctr --address … containers`. */
export interface GlobalFlags {
  address: string;
  /** Milliseconds. */
  connTimeout: number;
  debug?: boolean;
  namespace: string;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
}

/** Milliseconds that events and attached processes wait for a daemon that is away, because it is restarted, say. */
export const RESTART_TIMEOUT = 10_000;

export function globalFlags(command: Command): GlobalFlags {
  return command.optsWithGlobals<GlobalFlags>();
}

/** A client of the daemon that the flags name; connects at its first call. */
export async function openClient(command: Command): Promise<Client> {
  const { address: given, connTimeout, namespace, tlsCa, tlsCert, tlsKey } = globalFlags(command);
  // A variable that is there and empty says nothing.
  const address = given || defaultAddress;
  const tls = tlsOptions(address, { ca: tlsCa, cert: tlsCert, key: tlsKey });
  // Loaded here and not at the start, so that help and bad command lines are answered without it.
  const { connect } = await import("../../client/index.js");
  return connect(address, {
    ...{ connectTimeout: connTimeout, patience: RESTART_TIMEOUT },
    // As with the address.
    namespace: namespace || "default",
    ...(tls && { tls }),
  });
}

/** What is in the files, if any is given. */
function tlsOptions(address: string, files: Record<keyof TlsOptions, string | undefined>): TlsOptions | undefined {
  const given = Object.entries(files).filter((entry): entry is [string, string] => entry[1] !== undefined);
  if (given.length === 0) return undefined;
  if (!address.startsWith("tcp://")) throw new Error(`--tls-${given[0]![0]} is for tcp:// addresses, not "${address}"`);
  if (!files.cert !== !files.key) throw new Error("--tls-cert and --tls-key go together");
  return Object.fromEntries(given.map(([name, file]) => [name, readFileSync(file)]));
}

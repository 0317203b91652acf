import type { Command } from "commander";
import type { Client } from "../client/index.js";

/** What is written before the command: `ctr --address … containers`. */
export interface GlobalFlags {
  address: string;
  /** Milliseconds. */
  connTimeout: number;
  debug?: boolean;
}

/** Milliseconds that events and attached processes outlast a daemon that is away, say because it is restarted. */
export const patience = 10_000;

export function globalFlags(command: Command): GlobalFlags {
  return command.optsWithGlobals<GlobalFlags>();
}

/** A client of the daemon that the flags name; connects at its first call. */
export async function openClient(command: Command): Promise<Client> {
  const { address, connTimeout } = globalFlags(command);
  // Loaded here and not at the start, so that help and bad command lines are answered without it.
  const { connect } = await import("../client/index.js");
  return connect(address, { connectTimeout: connTimeout, patience });
}

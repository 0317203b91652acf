import type { Command } from "commander";
import { openClient } from "../command-line/global-flags.js";
import { printJson } from "../output/print-json.js";

/** `ctr state` and `ctr containers state`. */
export async function printState(command: Command, id = ""): Promise<void> {
  const client = await openClient(command);
  await printJson(await client.v0.api.state({ id }));
}

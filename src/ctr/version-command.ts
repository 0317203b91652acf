import { Command } from "commander";
import { printable } from "../terminal/printable.js";
import { addExamples } from "./example.js";
import { openClient } from "./global-flags.js";
import { print } from "./print.js";

export function versionCommand(): Command {
  const command = new Command("version").description("print the daemon's version");
  command.action(async () => {
    const client = await openClient(command);
    const { version, revision } = await client.version();
    const line = `daemon version ${version}${revision && ` commit: ${revision}`}`;
    await print(`${printable(line)}\n`);
  });
  return addExamples(command, "ctr version");
}

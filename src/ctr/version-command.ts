import { Command } from "commander";
import { printable } from "../contract/terminal/printable.js";
import { addExamples } from "./command-line/example.js";
import { openClient } from "./command-line/global-flags.js";
import { print } from "./output/print.js";

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

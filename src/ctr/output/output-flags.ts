import type { Command } from "commander";
import { printable, printableJson } from "../../contract/terminal/printable.js";
import { print } from "./print.js";

/** How a list is printed: as a table unless one of them is given. */
export interface OutputFlags {
  json?: boolean;
  quiet?: boolean;
}

export function addOutputFlags(command: Command, names: string): Command {
  return command
    .option("--json", "print JSON, one object a line, instead of a table")
    .option("-q, --quiet", `print ${names} only, one a line`);
}

/** The flags of a list, also when they stand before the name of its command: `ctr containers --json list`. */
export function outputFlags(command: Command): OutputFlags {
  const { json = false, quiet = false } = command.optsWithGlobals<OutputFlags>();
  if (json && quiet) throw new Error("--json and --quiet do not go together");
  return { json, quiet };
}

/** Prints objects without 64-bit numbers as JSON, one a line. */
export async function printJsonLines(objects: readonly object[]): Promise<void> {
  await print(objects.map((object) => `${printableJson(JSON.stringify(object))}\n`).join(""));
}

/** Prints names one a line: as they are for a program, with what a terminal would obey escaped for people. */
export async function printNames(names: readonly string[]): Promise<void> {
  const shown = process.stdout.isTTY ? names.map(printable) : names;
  await print(shown.map((name) => `${name}\n`).join(""));
}

import type { Command } from "commander";

/** Ends a command's help with command lines that can be tried. */
export function addExamples(command: Command, ...lines: string[]): Command {
  const heading = lines.length === 1 ? "Example" : "Examples";
  return command.addHelpText("after", `\n${heading}:\n${lines.map((line) => `  $ ${line}`).join("\n")}`);
}

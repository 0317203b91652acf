import { resolve } from "node:path";
import type { Command } from "commander";

/**
 * @param from the flag that gives the value, or the command whose argument it is
 * @throws Error `<what> cannot be empty`, with the flag or how the command is used
 */
export function required(value: string | undefined, what: string, from: string | Command): string {
  if (value !== undefined && value !== "") return value;
  const how = typeof from === "string" ? `give it with ${from}` : commandLine(from);
  throw new Error(`${what} cannot be empty: ${how}`);
}

/** As help has it: `ctr containers start [flags] ID BUNDLE`. */
export function commandLine(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at; at = at.parent) names.unshift(at.name());
  return `${names.join(" ")} ${command.usage()}`;
}

/** The daemon has a working directory of its own, so it gets the whole path; "" when there is none, for its default. */
export function wholePath(path: string | undefined): string {
  return path ? resolve(path) : "";
}

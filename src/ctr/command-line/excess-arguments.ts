import type { Command } from "commander";
import { signalNumber } from "../../contract/signals.js";
import { commandLine } from "./arguments.js";

/** What to say of arguments that a command does not take: the first of them, and what to type. The command's line has been read. */
export function excessArguments(command: Command): string {
  const word = command.args[command.registeredArguments.length] ?? "";
  return `unexpected argument "${word}": ${hint(command, word)}`;
}

function hint(command: Command, word: string): string {
  // As with runc and the ctr of others; with docker exec and run.
  if (command.name() === "kill" && isSignal(word)) return `type: ctr containers kill --signal ${word} ID`;
  if (command.name() === "start") return "the command to run is in the bundle's config.json (process.args)";
  return `type: ${commandLine(command)}`;
}

function isSignal(word: string): boolean {
  try {
    return signalNumber(word) > 0;
  } catch {
    return false;
  }
}

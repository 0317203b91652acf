import type { Command, Option } from "commander";
import { FlagError } from "./flag-error.js";

const TRUE_WORDS = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const FALSE_WORDS = new Set(["0", "f", "F", "FALSE", "false", "False"]);

/**
 * Rewrites a command line in Go's flag style into one that commander reads the same way. `argv` is what follows the
 * program's name; the flags and subcommands are looked up in `program`.
 *
 * Go's style: one dash or two (`-id x`, `--id x`, `-id=x`), the next word is a flag's value whatever it looks like,
 * `--debug=false`, no clusters of one-letter flags. Flags end at `--`; they may follow arguments, but not those of a
 * command that takes a command line as its arguments (commander's `passThroughOptions()`): its flags end at the first
 * argument. In the result each level's flags stand first, then `--` if there are arguments, so that nothing of them
 * can be taken for a flag.
 *
 * Variadic and repeated flags keep their order; a flag's variadic never swallows arguments.
 *
 * @throws FlagError with Go's words: `flag provided but not defined: -x`, `flag needs an argument: -x`,
 *   `invalid boolean value "maybe" for -x`.
 * @example
 * program.enablePositionalOptions();
 * await program.parseAsync(goArgv(process.argv.slice(2), program), { from: "user" });
 */
export function goArgv(argv: readonly string[], program: Command): string[] {
  const flags: string[] = [];
  const operands: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index]!;
    if (word === "--") {
      operands.push(...argv.slice(index + 1));
      break;
    }
    if (word === "-" || !word.startsWith("-")) {
      const command = operands.length === 0 ? findCommand(program, word) : undefined;
      if (command) return [...flags, word, ...goArgv(argv.slice(index + 1), command)];
      if (operands.length === 0 && word === "help" && program.commands.length > 0)
        return [...flags, ...argv.slice(index)];
      if (passesThrough(program)) {
        operands.push(...argv.slice(index));
        break;
      }
      operands.push(word);
      continue;
    }
    const { name, value } = split(word);
    const option = findOption(program, name);
    const cluster = option === undefined ? clusterOf(program, word) : undefined;
    if (cluster) {
      // What the last one says comes next, as if it had been written so.
      argv = [...argv.slice(0, index + 1), ...cluster, ...argv.slice(index + 1)];
    } else if (!option) {
      if (name === "help" || name === "h") flags.push("--help");
      else throw new FlagError(`flag provided but not defined: -${name}`, name);
    } else if (!option.required && !option.optional) {
      setBoolean(flags, option, name, value);
    } else if (value !== undefined) {
      flags.push(`${longName(option)}=${value}`);
    } else {
      const next = argv[++index];
      if (next === undefined) throw new FlagError(`flag needs an argument: -${name}`);
      flags.push(`${longName(option)}=${next}`);
    }
  }
  return operands.length === 0 ? flags : [...flags, "--", ...operands];
}

const takesClusters = new WeakSet<Command>();

/** Has a command take clusters of one-letter flags, as Docker's do: `-it`, `-p80:80`. */
export function allowClusters(command: Command): void {
  takesClusters.add(command);
}

/** The flags of `-dit` or `-p80:80`, one by one; undefined for what is none. */
function clusterOf(program: Command, word: string): string[] | undefined {
  if (!takesClusters.has(program) || !/^-[a-zA-Z]./.test(word)) return undefined;
  const flags: string[] = [];
  for (let at = 1; at < word.length; at++) {
    const option = findOption(program, word[at]!);
    if (option === undefined) return undefined;
    if (option.required) {
      const rest = word.slice(at + 1);
      return rest === "" ? [...flags, `-${word[at]}`] : [...flags, `${longName(option)}=${rest.replace(/^=/, "")}`];
    }
    flags.push(longName(option));
  }
  return flags;
}

/** Where a command line leads: its command, the first argument of that, and what follows it. */
export interface Destination {
  command: Command;
  /** Undefined: there is none. */
  first?: string;
  /** The name of a flag that there is not, right before {@link first}, which may be meant as its value. */
  unknownFlag?: string;
  rest: readonly string[];
}

/** Follows the names of commands in a command line, over flags known and unknown, to the first word that is neither. */
export function destination(argv: readonly string[], command: Command): Destination {
  let unknownFlag: string | undefined;
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index]!;
    if (word === "--") break;
    if (word === "-" || !word.startsWith("-")) {
      const rest = argv.slice(index + 1);
      const subcommand = findCommand(command, word);
      if (subcommand) return destination(rest, subcommand);
      return { command, first: word, rest, ...(unknownFlag !== undefined && { unknownFlag }) };
    }
    const { name, value } = split(word);
    const option = findOption(command, name);
    unknownFlag = option === undefined && value === undefined ? name : undefined;
    if (value === undefined && option?.required) index++;
  }
  return { command, rest: [] };
}

/** Whether a word, as it stands in a command line of Go's, is a flag that this command has. */
export function isFlagOf(command: Command, word: string): boolean {
  return word.startsWith("-") && findOption(command, split(word).name) !== undefined;
}

function split(word: string): { name: string; value?: string } {
  const bare = word.replace(/^--?/, "");
  const equals = bare.indexOf("=", 1);
  return equals === -1 ? { name: bare } : { name: bare.slice(0, equals), value: bare.slice(equals + 1) };
}

function findCommand(program: Command, word: string): Command | undefined {
  return program.commands.find((command) => command.name() === word || command.aliases().includes(word));
}

function findOption(program: Command, name: string): Option | undefined {
  return program.options.find((option) => option.long === `--${name}` || option.short === `-${name}`);
}

function longName(option: Option): string {
  if (option.long === undefined) throw new Error(`flag ${option.flags} has no long name`);
  return option.long;
}

/** The last one counts, as in Go: `--debug --debug=false` is off. */
function setBoolean(flags: string[], option: Option, name: string, value: string | undefined): void {
  const long = longName(option);
  const earlier = flags.indexOf(long);
  if (earlier !== -1) flags.splice(earlier, 1);
  if (value === undefined || TRUE_WORDS.has(value)) flags.push(long);
  else if (!FALSE_WORDS.has(value)) throw new FlagError(`invalid boolean value "${value}" for -${name}`);
}

function passesThrough(program: Command): boolean {
  // commander has a setter for it and no getter.
  return (program as Command & { _passThroughOptions?: boolean })._passThroughOptions === true;
}

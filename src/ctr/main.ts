import { type Command, CommanderError } from "commander";
import type { ContainerdError, ErrorKind } from "../client/index.js";
import { destination, goArgv } from "../contract/go/argv.js";
import { FlagError } from "../contract/go/flag-error.js";
import { printable } from "../contract/terminal/printable.js";
import { excessArguments } from "./command-line/excess-arguments.js";
import { ctrProgram } from "./command-line/program.js";
import { findUnknownCommand, hintForFlag } from "./command-line/unknown-command.js";
import { ExitStatusError } from "./ending.js";
import { runtimeWords } from "./output/runtime-words.js";
import { RUN_FAILED } from "./run/failed-run.js";

/** What a shell reports for a program that nobody reads from any more. */
const BROKEN_PIPE_STATUS = 141;

const program = ctrProgram();

async function run(argv: string[]): Promise<void> {
  const unknown = findUnknownCommand(argv, program);
  const words = unknown === undefined ? goArgv(argv, program) : [unknown];
  if (words.length === 0) program.outputHelp();
  else await program.parseAsync(words, { from: "user" });
}

/** The exit status for an error, after it has been told. */
async function report(given: unknown): Promise<number> {
  const { error, status } =
    given instanceof ExitStatusError ? { error: given.cause, status: given.status } : { error: given, status: 1 };
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  // A group without a command: as ctr alone.
  if (error instanceof CommanderError && error.code === "commander.help") {
    givenCommand().outputHelp();
    return 0;
  }
  const { exitCode, code, stack } = error as { exitCode?: unknown; code?: unknown; stack?: string };
  // Told to end by a signal: whoever sent it knows.
  if ((error as Error).name === "Interrupted" && typeof exitCode === "number") return exitCode;
  if (code === "EPIPE") return BROKEN_PIPE_STATUS;
  const detail = program.opts().debug
    ? `${code === undefined ? "" : `code: ${code}\n`}${printableLines(`${stack}`)}\n`
    : "";
  await new Promise((resolve) => process.stderr.write(`[ctr] ${messageOf(error)}\n${detail}`, resolve));
  const isOfFlags = error instanceof FlagError || error instanceof CommanderError;
  return isOfFlags && givenCommand().name() === "run" ? RUN_FAILED : status;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return printable(String(error));
  if (error instanceof CommanderError && error.code === "commander.excessArguments")
    return printable(excessArguments(givenCommand()));
  // Commander's have a second line, with a command or flag that was perhaps meant.
  if (error instanceof CommanderError) return printableLines(error.message.replace(/^error: /, ""));
  const hint = error instanceof FlagError && error.undefinedFlag !== undefined && flagHint(error.undefinedFlag);
  return printable(hint ? `${error.message}: ${hint}` : runtimeWords(inOwnWords(error)));
}

function flagHint(flag: string): string | undefined {
  return hintForFlag(flag, givenCommand().name());
}

function givenCommand(): Command {
  return destination(process.argv.slice(2), program).command;
}

/** What the client library adds for these is as good for people; for others it is advice to programs. */
const EXPLAINED_KINDS: ReadonlySet<ErrorKind> = new Set([
  "bad-rootfs",
  "bundle-not-found",
  "command-not-found",
  "id-in-use",
  "runtime-not-found",
]);

/** As the daemon has said it, and what helps. */
function inOwnWords(error: Error): string {
  const { name, message, cause } = error;
  if (name !== "ContainerdError") return message;
  const { kind, containerId } = error as ContainerdError;
  if (kind === "not-found" && containerId && /containers?( not found)?$/.test(message))
    return `${message}: "${containerId}"`;
  return cause instanceof Error && !EXPLAINED_KINDS.has(kind) ? cause.message : message;
}

function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

// Node's advice to programmers is none to users.
process.noDeprecation = true;
// Errors of the streams are told by the writes that fail.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});
process.on("uncaughtException", (error) => report(error).then(process.exit));

run(process.argv.slice(2))
  .then(() => Number(process.exitCode ?? 0), report)
  // What has been printed is out by now. Not waiting for the connection's orderly end saves some milliseconds.
  .then(process.exit);

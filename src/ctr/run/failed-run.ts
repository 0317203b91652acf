import { ExitStatusError } from "../ending.js";

/** As Docker's users know them: the command is not there, it can't be run, and everything else. */
const STATUSES: Record<string, number> = { "command-not-found": 127, "not-executable": 126 };
export const RUN_FAILED = 125;

/** A run that has failed before its command ran: with what to type, and the exit status that tells which of these it was. */
export function failedRun(error: unknown, name: string | undefined): unknown {
  // Told to end: no failure.
  if (!(error instanceof Error) || error.name === "Interrupted") return error;
  const { kind } = error as { kind?: string };
  const status = STATUSES[kind ?? ""] ?? RUN_FAILED;
  if (kind !== "id-in-use" || name === undefined) return new ExitStatusError(error, status);
  const told = `the name "${name}" is taken: choose another with --name (${error.message})`;
  return new ExitStatusError(new Error(told, { cause: error }), status);
}

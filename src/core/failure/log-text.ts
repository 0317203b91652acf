import { goQuote } from "../../contract/go/quote.js";
import { errorText } from "../../system/linux/libc.js";

/** Environments that must not be logged with an error: whatever a config.json has there. */
const environments = new WeakMap<Error, unknown>();

/** Environment that is too short to be told from any other text is no secret either. */
const SHORTEST = 4;

/**
 * Marks an error of a runtime that was given this environment: a runtime may quote it ("invalid environment variable: …"). The caller,
 * whose environment it is, gets the message as it is; {@link logText} leaves it out.
 * @param environment `NAME=value` strings
 */
export function concealEnvironment(error: unknown, environment: readonly string[] | null | undefined): void {
  if (error instanceof Error && environment) environments.set(error, environment);
}

/** An error's text for the log: without the environment of the process that it is about. */
export function logText(error: unknown): string {
  let text = errorText(error);
  const environment = error instanceof Error ? environments.get(error) : undefined;
  for (const entry of Array.isArray(environment) ? environment : []) {
    if (typeof entry !== "string" || entry.length < SHORTEST) continue;
    // As it is, and as it stands in quotes, and in quotes of quotes.
    const quoted = inQuotes(entry);
    for (const form of new Set([inQuotes(quoted), quoted, entry])) text = text.replaceAll(form, "<environment>");
  }
  return text;
}

function inQuotes(text: string): string {
  return goQuote(text).slice(1, -1);
}

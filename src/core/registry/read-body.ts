import { printable } from "../../contract/terminal/printable.js";
import { Failure } from "../failure/failure.js";
import type { Answer } from "./connections.js";
import { connectionFault, Fault, parseRetryAfter, shownUrl, statusFault } from "./fault.js";

/** How many times longer than for the next byte is waited for all of a small body. */
const PATIENCE = 4;

/**
 * An answer's body, which is small.
 * @param limit in bytes
 * @throws Fault, also for one that is longer; the signal's reason
 */
export async function readBody(
  { url, body }: Answer,
  limit: number,
  { signal, stallTimeout }: { signal: AbortSignal; stallTimeout: number },
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  // Who sends one byte at a time never stands still.
  const timeout = PATIENCE * stallTimeout;
  const late = new Failure("unavailable", "registry-failed", {
    url: shownUrl(url),
    why: `not all came in ${timeout} ms`,
  });
  const timer = setTimeout(() => body.destroy(new Fault(late, { passes: true })), timeout);
  try {
    for await (const part of body as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > limit) throw tooLong(url, limit);
      parts.push(part);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw connectionFault(url, error, stallTimeout);
  } finally {
    clearTimeout(timer);
    body.destroy();
  }
  return Buffer.concat(parts);
}

function tooLong(url: URL, limit: number): Fault {
  const why = `the answer is longer than ${limit} bytes`;
  return new Fault(new Failure("failed-precondition", "registry-failed", { url: shownUrl(url), why }));
}

/** In bytes: of what says why something went wrong. */
const MAX_ERROR = 64 << 10;
/** In characters: how much of it is shown. */
const SHOWN = 300;

/**
 * Makes a fault of an answer that was not wanted, with what the server has said.
 * @param conceal takes out what we have told the server in confidence: it may say it back
 */
export async function answerFault(
  answer: Answer,
  conceal: (text: string) => string,
  options: { signal: AbortSignal; stallTimeout: number },
): Promise<Fault> {
  const { url, status, headers } = answer;
  let text = "";
  try {
    text = (await readBody(answer, MAX_ERROR, options)).toString("utf8");
  } catch (error) {
    // What is known is enough.
    if (options.signal.aborted) throw error;
  }
  const said = printable(conceal(errorsOf(text)).slice(0, SHOWN));
  return statusFault(url, status, said, parseRetryAfter(headers.get("retry-after")));
}

/** What a registry says in its own form; a page for people says nothing to us. */
function errorsOf(text: string): string {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return /^[^<]{1,200}$/s.test(text) ? text.trim() : "";
  }
  const { errors, details, message } = (body ?? {}) as { errors?: unknown; details?: unknown; message?: unknown };
  if (!Array.isArray(errors)) return [details, message].find((said) => typeof said === "string") ?? "";
  return errors
    .slice(0, 5)
    .map((error: { code?: unknown; message?: unknown } | null) =>
      [error?.code, error?.message].filter((part) => typeof part === "string" && part !== "").join(": "),
    )
    .filter((text) => text !== "")
    .join("; ");
}

import { STATUS_CODES } from "node:http";
import { printable } from "../../contract/terminal/printable.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { Failure, type FailureKind } from "../failure/failure.js";

/** How a request has failed, for those who may make it again. */
export class Fault extends Error {
  readonly failure: Failure;
  /** Whether the same request may succeed later. */
  readonly passes: boolean;
  /** In ms: how long the server wants us to wait. */
  readonly retryAfter: number | undefined;
  /** Nobody is there who could answer. */
  readonly isUnreached: boolean;
  /** What came is not what it should be: all of it may be fetched once more. */
  readonly isWrong: boolean;

  constructor(
    failure: Failure,
    options: { passes?: boolean; retryAfter?: number | undefined; isUnreached?: boolean; isWrong?: boolean } = {},
  ) {
    super(failure.message);
    this.failure = failure;
    this.passes = options.passes ?? false;
    this.retryAfter = options.retryAfter;
    this.isUnreached = options.isUnreached ?? false;
    this.isWrong = options.isWrong ?? false;
  }
}

/** A URL for people: without what may be secret in one (a signature in its query, a password). */
export function shownUrl(url: URL): string {
  return printable(`${url.protocol}//${url.host}${url.pathname}`);
}

const UNREACHED = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"];
/** That the certificate is not good, or that we have none: it will be so again. */
const CERTIFICATE =
  /^(?:CERT_|ERR_TLS_CERT|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|ERR_SSL_)/;
const STALLED = ["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"];

/** Of what has happened to a connection. */
export function connectionFault(url: URL, error: unknown, stallTimeout: number): Fault {
  if (error instanceof Fault) return error;
  const code = String((error as { code?: unknown }).code ?? "");
  const of = (why: string) =>
    new Failure("unavailable", "registry-failed", { url: shownUrl(url), why }, { cause: error });
  if (STALLED.includes(code)) return new Fault(of(`nothing came for ${stallTimeout} ms`), { passes: true });
  if (CERTIFICATE.test(code) || code === "EPROTO") return new Fault(of(`TLS: ${tlsText(error)}`));
  // A header that a client wants to be sent, for one.
  if (hasCode(error, "UND_ERR_INVALID_ARG"))
    return new Fault(new Failure("invalid-argument", "registry-failed", { url: shownUrl(url), why: errorText(error) }));
  // Endless headers, and what is no HTTP.
  if (hasCode(error, "UND_ERR_HEADERS_OVERFLOW")) return new Fault(of("the headers of the answer are too long"));
  if (error instanceof Error && error.name === "HTTPParserError")
    return new Fault(of("the answer is no HTTP"), { passes: true });
  return new Fault(of(connectionText(error)), { passes: true, isUnreached: UNREACHED.includes(code) });
}

function connectionText(error: unknown): string {
  // Of a name with several addresses.
  const errors = error instanceof AggregateError ? error.errors : [error];
  return [...new Set(errors.map((error) => printable(errorText(error))))].join(", ");
}

function tlsText(error: unknown): string {
  const { reason } = error as { reason?: unknown };
  return printable(typeof reason === "string" ? reason : errorText(error));
}

const KINDS: Readonly<Record<number, FailureKind>> = {
  401: "unauthenticated",
  403: "permission-denied",
  404: "not-found",
  429: "resource-exhausted",
};
/** That it can't do this, now or later. */
const LASTING = [501, 505];

/** Of an answer that is none of those which were wanted. */
export function statusFault(url: URL, status: number, said: string, retryAfter?: number): Fault {
  const passes = status === 408 || status === 429 || (status >= 500 && !LASTING.includes(status));
  const kind = KINDS[status] ?? (status >= 500 || passes ? "unavailable" : "failed-precondition");
  const why = `${status}${said === "" ? ` ${STATUS_CODES[status] ?? ""}`.trimEnd() : `: ${said}`}`;
  return new Fault(new Failure(kind, "registry-failed", { url: shownUrl(url), why }), { passes, retryAfter });
}

/** In ms. */
const LONGEST_WAIT = 60_000;

/** What `Retry-After` says, in ms: seconds, or a date; never more than a minute. */
export function parseRetryAfter(text: string | undefined, now = Date.now()): number | undefined {
  if (text === undefined) return undefined;
  const wait = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), LONGEST_WAIT);
}

import { type CallOptions, callChecks } from "../api/call-options.js";
import { portAndProtocol } from "../networks/published-port.js";
import { positiveDuration } from "../options/duration.js";
import {
  anyText,
  type Check,
  type Checks,
  callback,
  checkOptions,
  flag,
  listOf,
  required,
  text,
  that,
  whole,
  wrong,
} from "../options/option-checks.js";

/** A port is listened on, as seen from the host, where it is published or has an address there, and in the container. */
export interface WaitForPort {
  /** In the container: 80, or "53/udp". */
  port: number | `${number}/${"tcp" | "udp"}`;
}

/** A line was printed, to stdout or stderr, since the container was made. */
export interface WaitForLog {
  /** What is in the line. */
  log: string | RegExp;
  /** How often. Default: 1. */
  times?: number | undefined;
}

/** What came of a request. */
export interface ProbeResponse {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Of 1 MiB at most. */
  body: string;
}

/** A request is answered. */
export interface WaitForHttp {
  /** The path, with its query: "/health". */
  http: string;
  /** In the container. Default: the only one that it publishes. */
  port?: number | undefined;
  /** Default: any from 200 to 399. Redirections are not followed. */
  status?: number | readonly number[] | ((status: number) => boolean) | undefined;
  /** Whether an answer of such a status is the right one. */
  predicate?: ((response: ProbeResponse) => boolean | Promise<boolean>) | undefined;
  /** Default: "GET". */
  method?: string | undefined;
  headers?: Readonly<Record<string, string>> | undefined;
  /** Whether it is asked over TLS, with any certificate. Default: false. */
  tls?: boolean | undefined;
}

/** A command that is run in the container ends with status 0. */
export interface WaitForCommand {
  command: readonly string[];
}

export interface WaitForAll {
  all: readonly WaitStrategy[];
}

export interface WaitForAny {
  any: readonly WaitStrategy[];
}

/** "ports": all that it publishes over TCP are listened on; "health": its health check has succeeded. */
export type WaitStrategy =
  | "ports"
  | "health"
  | WaitForPort
  | WaitForLog
  | WaitForHttp
  | WaitForCommand
  | WaitForAll
  | WaitForAny;

/** A list is all of them. */
export type WaitFor = WaitStrategy | readonly WaitStrategy[];

export interface WaitForOptions extends CallOptions {
  /** Milliseconds. Default: 60,000. */
  timeout?: number | undefined;
}

export const waitForChecks: Checks<WaitForOptions> = { ...callChecks, timeout: positiveDuration };

const WHAT = '"ports", "health", { port }, { log }, { http }, { command }, { all }, { any } or a list of them';

const httpChecks: Checks<WaitForHttp> = {
  http: required(text("a path that begins with /", (value) => /^\/[^\s]*$/.test(value))),
  port: whole("a port, 1 to 65535", 1, 65_535),
  status: (value, name) => {
    const status = whole("a status, 100 to 599", 100, 599);
    if (Array.isArray(value)) listOf(status)(value, name);
    else if (typeof value !== "function") status(value, name);
  },
  predicate: callback,
  method: text("the method of a request", (value) => /^[A-Z]+$/.test(value)),
  headers: (value, name) => {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw wrong(name, "an object of texts", value);
    for (const [header, content] of Object.entries(value)) anyText(content, `${name}.${header}`);
  },
  tls: flag,
};

const logChecks: Checks<WaitForLog> = {
  log: required(
    that(
      "a text that is not empty, or a RegExp",
      (value) => (typeof value === "string" && value !== "") || value instanceof RegExp,
    ),
  ),
  times: whole("a positive whole number", 1),
};

const portChecks: Checks<WaitForPort> = { port: required((value) => void portAndProtocol(value as number)) };

const words: Check = (value, name) => {
  listOf(anyText, "a command: a list of texts")(value, name);
  if ((value as unknown[]).length === 0) throw wrong(name, "a command: a list of texts that is not empty", value);
};

export const waitForCheck: Check = (value, name) => {
  if (Array.isArray(value)) several(value, name);
  else strategy(value, name);
};

const several: Check = (value, name) => {
  listOf(strategy)(value, name);
  if ((value as unknown[]).length === 0) throw wrong(name, "a list that is not empty", value);
};

function strategy(value: unknown, name: string): void {
  if (value === "ports" || value === "health") return;
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(name, WHAT, value);
  if ("port" in value && !("http" in value)) checkOptions<WaitForPort>(value, portChecks, name);
  else if ("log" in value) checkOptions<WaitForLog>(value, logChecks, name);
  else if ("http" in value) checkOptions<WaitForHttp>(value, httpChecks, name);
  else if ("command" in value) checkOptions<WaitForCommand>(value, { command: required(words) }, name);
  else if ("all" in value) checkOptions<WaitForAll>(value, { all: required(several) }, name);
  else if ("any" in value) checkOptions<WaitForAny>(value, { any: required(several) }, name);
  else throw wrong(name, WHAT, value);
}

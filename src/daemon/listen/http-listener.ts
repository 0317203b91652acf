import { lookup } from "node:dns/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { BlockList, isIP, isIPv6 } from "node:net";
import { hostname } from "node:os";
import type { Logger } from "pino";
import { errorText } from "../../system/linux/libc.js";
import { type ListenAddress, parseListenAddress } from "./address.js";
import { listening } from "./listening.js";
import { listenUnix } from "./unix-socket.js";

/** How many connections may be open: more than scrapers and people with curl make. */
const MAX_CONNECTIONS = 64;
/** In ms: how long a request's header may take to come. */
const HEADERS_TIMEOUT = 5_000;

export interface HttpOptions {
  /** The flag that the address is from, for messages: "--metrics-address". */
  flag: string;
  /** `host:port`, `tcp://host:port` or `unix:///path`. */
  address: string;
  /** Also listen where other machines can connect to. */
  insecure: boolean;
  group?: string | undefined;
  log: Logger;
}

/** Who can have sent a request: "unix" only who may open the socket, "tcp" anybody who reaches the port. */
export type Reach = "unix" | "tcp";

/** Answers a request; what it throws is logged, and answered with 500. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse, reach: Reach) => Promise<void> | void;

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/**
 * Serves HTTP on one address. There are no passwords here: so it is a unix socket or this machine's own loopback address. One that can't be
 * had just now (the port is taken) is logged: that is no reason to leave containers without their supervisor.
 * @returns ends it
 * @throws Error for an address that makes no sense, or that other machines can connect to without `insecure`
 */
export async function listenHttp(options: HttpOptions, handle: HttpHandler): Promise<() => void> {
  const { flag, log } = options;
  const address = await parse(options);
  const reach = address.protocol === "unix" ? "unix" : "tcp";
  const isOurs = address.protocol === "unix" ? () => true : ourNames(address);
  const server = createServer({ headersTimeout: HEADERS_TIMEOUT }, async (request, response) => {
    try {
      if (request.method !== "GET" && request.method !== "HEAD") {
        response.setHeader("allow", "GET, HEAD");
        answer(response, 405, "only GET\n");
      } else if (isFromWebPage(request)) {
        // It could not read the answer, but the question alone starts a profile.
        answer(response, 403, "this address does not answer to web pages\n");
      } else if (!isOurs(request.headers.host)) {
        // A web page that has its own name resolve to this address must not read from here through somebody's browser.
        answer(response, 403, `this address does not answer to the name ${JSON.stringify(request.headers.host)}\n`);
      } else {
        await handle(request, response, reach);
      }
    } catch (error) {
      log.warn({ flag, url: request.url, error: errorText(error) }, "containerd: http request");
      if (response.headersSent) response.destroy();
      else answer(response, 500, `${errorText(error)}\n`);
    }
  });
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await bind(server, address, options.group);
    const bound = server.address();
    const port = bound !== null && typeof bound === "object" ? { port: bound.port } : {};
    log.info({ flag, address: options.address, ...port }, "containerd: http endpoint");
  } catch (error) {
    log.error({ flag, error: errorText(error) }, "containerd: http endpoint");
  }
  server.on("error", (error) => log.error({ flag, error: errorText(error) }, "containerd: http endpoint"));
  return () => {
    server.close();
    server.closeAllConnections();
  };
}

/** Sends a short text. */
export function answer(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(text);
}

type UnixAddress = Extract<ListenAddress, { protocol: "unix" }>;
/** `host` is a number, or empty for all addresses; `name` is what the user wrote. */
type TcpAddress = Extract<ListenAddress, { protocol: "tcp" }> & { name: string };
type HttpAddress = UnixAddress | TcpAddress;

async function parse({ flag, address: text, insecure }: HttpOptions): Promise<HttpAddress> {
  const refuse = (why: string) => new Error(`${flag} ${text}: ${why}`);
  let address: ListenAddress;
  try {
    address = parseListenAddress(text.includes("://") ? text : `tcp://${text}`);
  } catch {
    throw refuse("expected host:port, tcp://host:port or unix:///path");
  }
  if (address.protocol === "fd") throw refuse("sockets of the service manager are for --listen only");
  if (address.protocol === "unix") return address;
  const host = address.host === "" || isIP(address.host) ? address.host : await resolve(address.host, refuse);
  if (!isLoopback(host) && !insecure)
    throw refuse("other machines could connect to this address: use 127.0.0.1 or unix://, or say --insecure-debug");
  return { ...address, host, name: address.host };
}

async function resolve(host: string, refuse: (why: string) => Error): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (error) {
    throw refuse(errorText(error));
  }
}

function isLoopback(host: string): boolean {
  return isIP(host) !== 0 && loopback.check(host, isIPv6(host) ? "ipv6" : "ipv4");
}

/** Whether a browser sends this for a page of somebody else's: scrapers and curl send none of it, and what a person types in has "none". */
function isFromWebPage({ headers }: IncomingMessage): boolean {
  const site = headers["sec-fetch-site"] ?? "none";
  return headers.origin !== undefined || headers.referer !== undefined || (site !== "none" && site !== "same-origin");
}

/**
 * Tells whether a request's `Host` is what this address is called: by a number, which no name server can lead elsewhere, as localhost, by
 * the name that the flag has, or, where others can connect, by the machine's own. One without (HTTP/1.0) comes from no browser.
 */
function ourNames({ host, name }: TcpAddress): (header: string | undefined) => boolean {
  const onlyLocal = isLoopback(host);
  const names = ["localhost", name, onlyLocal ? "" : hostname()].map((each) => each.toLowerCase()).filter(Boolean);
  return (header) => {
    const given = header?.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
    return (
      given === undefined || names.includes(given.toLowerCase()) || (onlyLocal ? isLoopback(given) : isIP(given) !== 0)
    );
  };
}

async function bind(server: Server, address: HttpAddress, group: string | undefined): Promise<void> {
  if (address.protocol === "unix") return await listenUnix(server, address.path, group);
  const host = address.host === "" ? {} : { host: address.host };
  await listening(server, address.text, { ...host, port: address.port });
}

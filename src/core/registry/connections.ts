import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { Readable } from "node:stream";
import { connect as connectTls, type SecureContext } from "node:tls";
import type { Pool } from "undici";
import { bareHost } from "./local-hosts.js";
import { type Environment, proxyFor } from "./proxies.js";
import { secureContext, type Tls, TlsFiles } from "./tls.js";

export interface Outgoing {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: string | Buffer | AsyncIterable<Buffer>;
  readonly signal: AbortSignal;
  /** In ms; 0: for ever, since somebody else looks after it. */
  readonly headersTimeout?: number;
}

export interface Answer {
  readonly url: URL;
  readonly status: number;
  /** Names in lower case; of one that came several times, the values with commas between them. */
  readonly headers: ReadonlyMap<string, string>;
  /** To be read to its end, or destroyed. */
  readonly body: Readable;
}

/** The server speaks no TLS. */
export class NoTls extends Error {}

/** At most so many at a time to one host; what wants more waits. */
const CONNECTIONS = 16;
/** In ms: then a connection that nobody uses is closed. */
const KEEP_ALIVE = 4_000;
/** In ms. */
const CONNECT_TIMEOUT = 15_000;

/** And how to make a request by it: nothing may come between finding it and that, which could be its end. */
interface OpenPool {
  pool: Pool;
  request: typeof import("undici/lib/api/api-request.js").default;
}

/** HTTP connections to all hosts: a few for each, closed soon after their last use. */
export class Connections {
  readonly #environment: Environment;
  /** In ms. */
  readonly stallTimeout: number;
  readonly #pools = new Map<string, Promise<OpenPool>>();

  constructor(environment: Environment, stallTimeout: number) {
    this.#environment = environment;
    this.stallTimeout = stallTimeout;
  }

  /** @throws the signal's reason, {@link NoTls}, or an error of Node, undici or {@link proxyFor} */
  async request(url: URL, tls: Tls, outgoing: Outgoing): Promise<Answer> {
    const { method, headers, body, signal, headersTimeout = this.stallTimeout } = outgoing;
    signal.throwIfAborted();
    const proxy = proxyFor(url, this.#environment);
    // For a proxy, what is not encrypted is a request of its own.
    const viaProxy = proxy !== undefined && url.protocol === "http:" && proxy.protocol === "http:";
    const path = `${url.pathname}${url.search}`;
    const sent: string[] = [];
    for (const [name, value] of headers) sent.push(name, value);
    if (viaProxy) sent.push("host", url.host, ...proxyAuthorization(proxy));
    try {
      const { pool, request } = await this.#pool(url, tls, proxy, viaProxy);
      const answer = await request.call(pool, {
        method,
        path: viaProxy ? `${url.origin}${path}` : path,
        headers: sent,
        body:
          typeof body === "object" && !Buffer.isBuffer(body)
            ? Readable.from(body, { objectMode: false })
            : (body ?? null),
        signal,
        headersTimeout,
        bodyTimeout: this.stallTimeout,
      });
      // What is destroyed before its end says so.
      answer.body.on("error", () => {});
      return { url, status: answer.statusCode, headers: headerMap(answer.headers), body: answer.body };
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }

  #pool(url: URL, tls: Tls, proxy: URL | undefined, viaProxy: boolean): Promise<OpenPool> {
    const key = [url.origin, url.protocol === "https:" ? tls.id : "", proxy?.href ?? ""].join(" ");
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = this.#makePool(key, url, tls, proxy, viaProxy);
      this.#pools.set(key, pool);
      pool.catch(() => this.#pools.delete(key));
    }
    return pool;
  }

  async #makePool(key: string, url: URL, tls: Tls, proxy: URL | undefined, viaProxy: boolean): Promise<OpenPool> {
    const [{ default: Pool }, { default: request }] = await Promise.all([
      import("undici/lib/dispatcher/pool.js"),
      import("undici/lib/api/api-request.js"),
    ]);
    let context: Promise<SecureContext> | undefined;
    const open = async () => {
      const tunnel = proxy === undefined || viaProxy ? undefined : proxy;
      const socket = await (tunnel === undefined
        ? openSocket(viaProxy ? proxy! : url)
        : openTunnel(tunnel, url, this.#environment));
      if (url.protocol !== "https:") return socket;
      try {
        context ??= secureContext(tls, this.#environment.SSL_CERT_FILE || undefined);
        return await secured(socket, await context, url, !tls.skipVerify);
      } catch (error) {
        socket.destroy();
        throw error;
      }
    };
    const pool = new Pool(viaProxy ? proxy!.origin : url.origin, {
      connections: CONNECTIONS,
      keepAliveTimeout: KEEP_ALIVE,
      keepAliveMaxTimeout: KEEP_ALIVE,
      connect: (_, callback) => {
        open().then(
          (socket) => callback(null, socket),
          (error: Error) => callback(error, null),
        );
      },
    });
    // One that nobody uses is not kept: there may be a host for each image.
    const leave = () => {
      const { connected, size, queued } = pool.stats;
      if (connected + size + queued > 0 || this.#pools.get(key) === undefined) return;
      this.#pools.delete(key);
      pool.close().catch(() => {});
    };
    pool.on("disconnect", leave);
    pool.on("connectionError", leave);
    return { pool, request };
  }

  /** Ends all, whatever is under way. */
  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.allSettled(pools.map(async (opened) => (await opened).pool.destroy()));
  }
}

async function openSocket(url: URL): Promise<Socket> {
  const host = bareHost(url.hostname);
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  const socket = connectTcp({ host, port, noDelay: true, keepAlive: true });
  await opened(socket, "connect", url);
  return socket;
}

async function secured(socket: Socket, context: SecureContext, url: URL, isVerified: boolean): Promise<Socket> {
  const host = bareHost(url.hostname);
  // What happens to it is told by the one above it.
  socket.on("error", () => {});
  const secure = connectTls({
    socket,
    secureContext: context,
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ALPNProtocols: ["http/1.1"],
    rejectUnauthorized: isVerified,
  });
  try {
    await opened(secure, "secureConnect", url);
    return secure;
  } catch (error) {
    throw isNoTls(error) ? new NoTls(`${url.host} speaks no TLS`, { cause: error }) : error;
  }
}

/** Through a proxy: `CONNECT`. */
async function openTunnel(proxy: URL, url: URL, environment: Environment): Promise<Socket> {
  const path = `${url.hostname}:${url.port || (url.protocol === "https:" ? 443 : 80)}`;
  const headers = Object.fromEntries(pairs(["host", path, ...proxyAuthorization(proxy)]));
  const isTls = proxy.protocol === "https:";
  const options = {
    ...{ method: "CONNECT", agent: false as const, path, headers },
    ...{ host: bareHost(proxy.hostname), port: proxy.port || (isTls ? 443 : 80) },
    ...(isTls ? { secureContext: await secureContext(TlsFiles.none, environment.SSL_CERT_FILE || undefined) } : {}),
  };
  const call = (isTls ? tlsRequest : plainRequest)(options);
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => call.destroy(connectTimeout(proxy)), CONNECT_TIMEOUT);
    const fail = (error: Error) => {
      clearTimeout(timer);
      call.destroy();
      reject(error);
    };
    call.once("error", fail);
    call.once("response", ({ statusCode }) => fail(new Error(`the proxy ${proxy.host} answered with ${statusCode}`)));
    call.once("connect", ({ statusCode }, socket: Socket, head) => {
      clearTimeout(timer);
      if (statusCode !== 200) {
        socket.destroy();
        return fail(new Error(`the proxy ${proxy.host} answered with ${statusCode}`));
      }
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    call.end();
  });
}

function proxyAuthorization({ username, password }: URL): string[] {
  if (username === "") return [];
  const user = [username, password].map(decoded).join(":");
  return ["proxy-authorization", `Basic ${Buffer.from(user).toString("base64")}`];
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    // A password with a `%` as it is.
    return part;
  }
}

function pairs(list: readonly string[]): [string, string][] {
  return list.flatMap((name, index) => (index % 2 === 0 ? [[name, list[index + 1]!] as [string, string]] : []));
}

/** Waits for a socket's `event`; one that does not come to it is destroyed. */
function opened(socket: Socket, event: "connect" | "secureConnect", url: URL): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(connectTimeout(url)), CONNECT_TIMEOUT);
    const settle = (error?: Error) => {
      clearTimeout(timer);
      socket.off("error", settle);
      socket.off("close", closed);
      if (error === undefined) resolve();
      else {
        socket.on("error", () => {});
        socket.destroy();
        reject(error);
      }
    };
    const closed = () => settle(Object.assign(new Error("the connection was closed"), { code: "ECONNRESET" }));
    socket.once(event, () => settle());
    socket.once("error", settle);
    socket.once("close", closed);
  });
}

function connectTimeout(url: URL): Error {
  return Object.assign(new Error(`${url.host}: no connection within ${CONNECT_TIMEOUT} ms`), {
    code: "UND_ERR_CONNECT_TIMEOUT",
  });
}

/** It did not understand our first words. */
function isNoTls(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code ?? "");
  return (
    ["EPROTO", "ECONNRESET"].includes(code) ||
    /^ERR_SSL_(?:WRONG_VERSION|PACKET_LENGTH|HTTP_|UNKNOWN_PROTOCOL|BAD_)/.test(code)
  );
}

function headerMap(headers: Readonly<Record<string, string | string[] | undefined>>): Map<string, string> {
  const map = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) map.set(name.toLowerCase(), Array.isArray(value) ? value.join(", ") : value);
  }
  return map;
}

/** What stands between a daemon and a registry: it counts what is asked for, holds answers up, and cuts connections. */
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { TestRegistry } from "./registry.js";
import { eventually } from "./wait.js";

export interface Asked {
  method: string;
  /** Behind `/v2/`. */
  path: string;
  range: string | undefined;
}

export class RegistryProxy implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly #registry: TestRegistry;
  readonly #server = createServer((asked, answer) => this.#handle(asked, answer));
  readonly #connections = new Set<Socket>();
  /** Blobs whose answers stop after so many bytes, until they are let go. */
  readonly #held = new Map<string, { bytes: number; go: Promise<void>; release: () => void }>();
  /** Blobs whose connections end after so many bytes, how often. */
  readonly #cut = new Map<string, { bytes: number; times: number }>();

  constructor(registry: TestRegistry) {
    this.#registry = registry;
    this.#server.on("connection", (socket) => {
      this.#connections.add(socket);
      socket.once("close", () => this.#connections.delete(socket));
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** As names of images have it. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How often a blob was asked for, and from which byte on. */
  fetches(digest: string): (string | undefined)[] {
    return this.asked
      .filter(({ method, path }) => method === "GET" && path.endsWith(`/blobs/${digest}`))
      .map(({ range }) => range);
  }

  /** A blob's answers stop after so many bytes, until this is called. */
  hold(digest: string, bytes: number): () => void {
    let release = () => {};
    const go = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#held.set(digest, { bytes, go, release });
    return () => {
      this.#held.delete(digest);
      release();
    };
  }

  /** The next answers with a blob break off after so many bytes. */
  cut(digest: string, bytes: number, times = 1): void {
    this.#cut.set(digest, { bytes, times });
  }

  async waitForFetch(digest: string): Promise<void> {
    await eventually(() => this.fetches(digest).length > 0, { what: `a request for ${digest}` });
  }

  #handle(asked: IncomingMessage, answer: ServerResponse): void {
    const { method = "", url = "", headers } = asked;
    this.asked.push({ method, path: url.replace(/^\/v2\//, ""), range: headers.range });
    const digest = method === "GET" ? /\/blobs\/(sha256:\w+)$/.exec(url)?.[1] : undefined;
    const call = request(new URL(url, this.#registry.url), {
      method,
      headers: { ...headers, host: headers.host },
      agent: false,
    });
    call.once("error", () => answer.destroy());
    call.once("response", (response) => {
      answer.writeHead(response.statusCode!, response.headers);
      void this.#body(digest, response, answer).catch(() => answer.destroy());
    });
    answer.once("close", () => call.destroy());
    asked.pipe(call);
  }

  async #body(digest: string | undefined, response: IncomingMessage, answer: ServerResponse): Promise<void> {
    let sent = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      const held = digest === undefined ? undefined : this.#held.get(digest);
      const cut = digest === undefined ? undefined : this.#cut.get(digest);
      const limit = Math.min(cut && cut.times > 0 ? cut.bytes : Infinity, held?.bytes ?? Infinity) - sent;
      if (limit < chunk.length) {
        answer.write(chunk.subarray(0, Math.max(0, limit)));
        if (cut && cut.times > 0) {
          cut.times--;
          // What was written is on its way.
          setImmediate(() => answer.socket?.destroySoon());
          return;
        }
        await held!.go;
        answer.write(chunk.subarray(Math.max(0, limit)));
      } else if (!answer.write(chunk)) await drained(answer);
      sent += chunk.length;
      if (answer.destroyed) return;
    }
    answer.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { release } of this.#held.values()) release();
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
  }
}

/** Resolves when it takes more, or nothing any more. */
async function drained(answer: ServerResponse): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  await Promise.race([once(answer, "drain", { signal }), once(answer, "close", { signal })]);
  over.abort();
}

export async function startProxy(registry: TestRegistry): Promise<RegistryProxy> {
  const proxy = new RegistryProxy(registry);
  await proxy.start();
  return proxy;
}

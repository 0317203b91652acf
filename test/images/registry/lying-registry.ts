/** A registry that does what a test says: what no real one can be made to do. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { SmallImage } from "./image.js";

export interface SeenRequest {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
}

/** Answers, or leaves it to the next by returning false. `count` is how many requests of this kind came before. */
export type Lie = (request: IncomingMessage, response: ServerResponse, count: number) => unknown;

export class LyingRegistry implements AsyncDisposable {
  readonly image: SmallImage;
  readonly seen: SeenRequest[] = [];
  /** By the kind of what is asked for. */
  readonly lies: { manifests?: Lie; blobs?: Lie; all?: Lie } = {};
  /** How many connections there were at most. */
  mostSockets = 0;
  readonly sockets = new Set<Socket>();
  readonly #counts = new Map<string, number>();
  readonly #server: Server;

  constructor(image: SmallImage) {
    this.image = image;
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#server.on("connection", (socket) => {
      this.sockets.add(socket);
      this.mostSockets = Math.max(this.mostSockets, this.sockets.size);
      socket.on("error", () => {});
      socket.on("close", () => this.sockets.delete(socket));
    });
  }

  async start(): Promise<this> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** Of the requests for this kind: method and Range. */
  asked(kind: "manifests" | "blobs"): string[] {
    return this.seen
      .filter(({ path }) => path.includes(`/${kind}/`))
      .map(({ method, headers }) => `${method} ${headers.range ?? ""}`.trim());
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = "", url: path = "", headers } = request;
    this.seen.push({ method, path, headers });
    const kind = path.includes("/manifests/") ? "manifests" : path.includes("/blobs/") ? "blobs" : "all";
    const count = this.#counts.get(kind) ?? 0;
    this.#counts.set(kind, count + 1);
    if (this.lies.all !== undefined && this.lies.all(request, response, count) !== false) return;
    const lie = kind === "all" ? undefined : this.lies[kind];
    if (lie !== undefined && lie(request, response, count) !== false) return;
    this.answerTruly(request, response);
  }

  /** As a registry should. */
  answerTruly({ method, url = "", headers }: IncomingMessage, response: ServerResponse): void {
    const { manifest, manifestBytes, blobs } = this.image;
    const [, kind, name] = /\/(manifests|blobs)\/([^/?]+)/.exec(url) ?? [];
    const bytes = kind === "manifests" ? manifestBytes : blobs.get(name ?? "");
    if (bytes === undefined) return void response.writeHead(404).end();
    const type = kind === "manifests" ? manifest.mediaType : "application/octet-stream";
    const [, first] = /^bytes=(\d+)-$/.exec(headers.range ?? "") ?? [];
    const part = bytes.subarray(Number(first ?? 0));
    response.writeHead(first === undefined ? 200 : 206, {
      "content-type": type,
      "content-length": part.length,
      ...(kind === "manifests" ? { "docker-content-digest": manifest.digest } : {}),
      ...(first === undefined ? {} : { "content-range": `bytes ${first}-${bytes.length - 1}/${bytes.length}` }),
    });
    response.end(method === "HEAD" ? undefined : part);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

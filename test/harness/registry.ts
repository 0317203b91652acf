/** Debian's docker-registry on 127.0.0.1: plain, with TLS, with names and passwords, or with tokens of a test's own server. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { unpackedProgram } from "./paths.js";
import { kill } from "./processes.js";
import { directoryPrefix } from "./run-name.js";
import { eventually, within } from "./wait.js";

const program = unpackedProgram("docker-registry");
/** Whether `scripts/setup --tests` could have it; what needs it is skipped else. */
export const hasRegistry = program !== undefined;

/** Who a registry with passwords lets in. */
export const USER = { username: "tester", password: "hunter2-hunter2" } as const;
const HTPASSWD = "tester:$2b$04$abcdefghijklmnopqrstuuho/ppTcmsBIj2TNMdOGwEUcNR/Zfi5u\n";

export interface RegistryOptions {
  tls?: { cert: string; key: string; ca: string };
  /** {@link USER} only. */
  htpasswd?: boolean;
  /** Tokens that are signed with the key of the certificate in this file. */
  token?: { realm: string; service: string; issuer: string; rootcertbundle: string };
}

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

interface Manifest {
  config?: Descriptor;
  layers?: Descriptor[];
  manifests?: Descriptor[];
}

export class TestRegistry implements AsyncDisposable {
  readonly dir = mkdtempSync(directoryPrefix());
  readonly #options: RegistryOptions;
  #child: ChildProcess | undefined;
  #port = 0;
  /** What it has logged, its requests among it. */
  log = "";

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#port;
  }

  /** As names of images have it. */
  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get url(): string {
    return `http${this.#options.tls === undefined ? "" : "s"}://${this.host}`;
  }

  /** Starts it, anew with the same port and contents after {@link stop}. */
  async start(): Promise<void> {
    const { dir } = this;
    const { tls, htpasswd, token } = this.#options;
    writeFileSync(join(dir, "htpasswd"), HTPASSWD);
    const auth = {
      ...(htpasswd ? { htpasswd: { realm: "test", path: join(dir, "htpasswd") } } : {}),
      ...(token === undefined ? {} : { token }),
    };
    const config = {
      version: "0.1",
      log: { level: "info" },
      storage: {
        filesystem: { rootdirectory: join(dir, "data") },
        delete: { enabled: true },
        maintenance: { uploadpurging: { enabled: false } },
      },
      http: {
        addr: `127.0.0.1:${this.#port}`,
        secret: "of a test",
        ...(tls === undefined ? {} : { tls: { certificate: tls.cert, key: tls.key } }),
      },
      ...(Object.keys(auth).length === 0 ? {} : { auth }),
    };
    mkdirSync(join(dir, "data"), { recursive: true });
    // JSON is YAML.
    writeFileSync(join(dir, "config.yml"), JSON.stringify(config));
    this.log = "";
    const child = spawn(program!, ["serve", join(dir, "config.yml")], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (data) => {
        this.log += data;
      });
    }
    this.#port = await eventually(() => {
      if (child.exitCode !== null) throw new Error(`docker-registry has ended: ${this.log}`);
      const [, port] = /listening on 127\.0\.0\.1:(\d+)/.exec(this.log) ?? [];
      return port === undefined ? undefined : Number(port);
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    kill(child.pid);
    await within(ended, "docker-registry's end");
  }

  /**
   * Puts an OCI image layout there, as {@link USER} where it wants to know.
   * @param name path and tag
   * @returns what the tag names
   */
  async push(layout: string, name: string): Promise<Descriptor> {
    const [path = "", tag = "latest"] = name.split(":");
    const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as { manifests: Descriptor[] };
    await this.#pushManifest(layout, path, manifests[0]!, tag);
    return manifests[0]!;
  }

  async #pushManifest(layout: string, path: string, descriptor: Descriptor, reference: string): Promise<void> {
    const bytes = readFileSync(blobPath(layout, descriptor.digest));
    const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString()) as Manifest;
    for (const part of config === undefined ? layers : [config, ...layers]) {
      await this.pushBlob(path, readFileSync(blobPath(layout, part.digest)));
    }
    for (const part of manifests) await this.#pushManifest(layout, path, part, part.digest);
    await this.pushManifest(path, reference, descriptor.mediaType, bytes);
  }

  /** @returns its digest */
  async pushBlob(path: string, bytes: Buffer): Promise<string> {
    const digest = digestOf(bytes);
    const { status, location = "" } = await this.request("POST", `/v2/${path}/blobs/uploads/`);
    if (status !== 202) throw new Error(`an upload to ${path} was answered with ${status}`);
    const put = new URL(location, this.url);
    put.searchParams.set("digest", digest);
    const answer = await this.request("PUT", `${put.pathname}${put.search}`, bytes, "application/octet-stream");
    if (answer.status !== 201) throw new Error(`a blob of ${path} was answered with ${answer.status}: ${answer.body}`);
    return digest;
  }

  async pushManifest(path: string, reference: string, mediaType: string, bytes: Buffer): Promise<void> {
    const { status, body } = await this.request("PUT", `/v2/${path}/manifests/${reference}`, bytes, mediaType);
    if (status !== 201) throw new Error(`the manifest of ${path} was answered with ${status}: ${body}`);
  }

  /** One request, as {@link USER} where the registry has passwords. */
  request(method: string, path: string, content?: Buffer, type?: string): Promise<Answer> {
    const { tls, htpasswd } = this.#options;
    const headers = {
      "content-length": content?.length ?? 0,
      ...(type === undefined ? {} : { "content-type": type }),
    };
    const options = {
      method,
      headers,
      agent: false as const,
      ...(htpasswd ? { auth: `${USER.username}:${USER.password}` } : {}),
    };
    return new Promise((resolve, reject) => {
      const call =
        tls === undefined
          ? plainRequest(new URL(path, this.url), options)
          : tlsRequest(new URL(path, this.url), { ...options, ca: readFileSync(tls.ca) });
      call.once("error", reject);
      call.once("response", (response) => {
        const parts: Buffer[] = [];
        response.once("error", reject);
        response.on("data", (data) => parts.push(data));
        response.once("end", () => {
          const { statusCode = 0, headers } = response;
          resolve({ status: statusCode, location: headers.location, body: Buffer.concat(parts) });
        });
      });
      call.end(content);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

interface Answer {
  status: number;
  location: string | undefined;
  body: Buffer;
}

export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function blobPath(layout: string, digest: string): string {
  return join(layout, "blobs", ...digest.split(":"));
}

/** Starts one; `await using` ends it. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const registry = new TestRegistry(options);
  try {
    await registry.start();
  } catch (error) {
    await registry[Symbol.asyncDispose]();
    throw error;
  }
  return registry;
}

/** Starts one before the first test of a file, ends it after the last. */
export function useRegistry(options: RegistryOptions = {}): { readonly registry: TestRegistry } {
  let registry: TestRegistry;
  beforeAll(async () => {
    if (hasRegistry) registry = await startRegistry(options);
  });
  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
  });
  return {
    get registry() {
      return registry;
    },
  };
}

/** Pulls and pushes at Debian's docker-registry: plain, with TLS, with names and passwords. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import type { Credentials } from "../../../src/core/registry/credentials.js";
import { parseReference } from "../../../src/core/registry/reference.js";
import { Registry, type RegistryOptions } from "../../../src/core/registry/registry.js";
import { Authority } from "../../harness/certificates.js";
import { hasRegistry, startRegistry, type TestRegistry, USER, useRegistry } from "../../harness/registry.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { makeImage, pushImage } from "./image.js";
import { MemorySink } from "./sink.js";

const dir = mkdtempSync(directoryPrefix());
const authority = new Authority(dir, "registries");
const server = authority.issue("server");
const credentials = async (): Promise<Credentials> => ({ kind: "password", ...USER });
const signal = new AbortController().signal;

/** The first byte of a connection with TLS, and what who has none answers. */
const TLS_HANDSHAKE = 22;
const NO_TLS = "HTTP/1.1 400 Bad Request\r\n\r\n";

const clients: Registry[] = [];
/** Without anything that this machine has configured. */
function makeClient(options: RegistryOptions = {}): Registry {
  const client = new Registry({ environment: { HOME: dir, PATH: process.env.PATH }, retryDelay: 1, ...options });
  clients.push(client);
  return client;
}

/** A directory of hosts that says of one what `files` say. */
function hostsDir(host: string, files: Record<string, string>): string {
  const place = mkdtempSync(join(dir, "certs.d-"));
  mkdirSync(join(place, host));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(place, host, name), text);
  return place;
}

afterAll(async () => {
  for (const client of clients) await client.close();
  rmSync(dir, { recursive: true });
});

const kinds = {
  plain: useRegistry(),
  TLS: useRegistry({ tls: { ...server, ca: authority.ca } }),
  "passwords over TLS": useRegistry({ tls: { ...server, ca: authority.ca }, htpasswd: true }),
};
const isTls = (kind: string) => kind !== "plain";
const optionsOf = (kind: string, registry: TestRegistry): RegistryOptions =>
  isTls(kind) ? { hostsDirs: [hostsDir(registry.host, { "hosts.toml": `ca = "${authority.ca}"` })] } : {};

describe.skipIf(!hasRegistry).each(Object.keys(kinds) as (keyof typeof kinds)[])("%s", (kind) => {
  const fixture = kinds[kind];

  test("a pull: tag, digest, manifest, blobs", async () => {
    const { registry } = fixture;
    const image = makeImage();
    await pushImage(registry, image, "pull/image:v1");
    const client = makeClient(optionsOf(kind, registry));
    const tagged = await client.repository(parseReference(`${registry.host}/pull/image:v1`), { credentials });
    expect(await tagged.resolve({ signal })).toEqual(image.manifest);
    // The digest wins.
    const name = `${registry.host}/pull/image:none@${image.manifest.digest}`;
    const repository = await client.repository(parseReference(name), { credentials });
    const descriptor = await repository.resolve({ signal });
    expect(descriptor).toEqual(image.manifest);
    expect(await repository.manifest(descriptor, { signal })).toEqual(image.manifestBytes);
    for (const blob of [image.config, image.layer]) {
      const sink = new MemorySink();
      await repository.download(blob, sink, { signal });
      expect(sink.data).toEqual(image.blobs.get(blob.digest));
    }
  });

  test("a download goes on where the sink is", async () => {
    const { registry } = fixture;
    const image = makeImage();
    await pushImage(registry, image, "range/image");
    const client = makeClient(optionsOf(kind, registry));
    const repository = await client.repository(parseReference(`${registry.host}/range/image`), { credentials });
    const whole = image.blobs.get(image.layer.digest)!;
    const sink = new MemorySink(whole.subarray(0, 60_000));
    let came = 0;
    sink.onWrite = (data) => {
      came += data.length;
    };
    await repository.download(image.layer, sink, { signal });
    expect(sink.data).toEqual(whole);
    expect(came).toBe(40_000);
    // Nothing comes for what is whole already; what is no beginning of it is thrown away.
    await repository.download(image.layer, sink, { signal });
    expect(came).toBe(40_000);
    const wrong = new MemorySink(Buffer.alloc(60_000));
    await repository.download(image.layer, wrong, { signal });
    expect(wrong.data).toEqual(whole);
    expect(wrong.truncated).toBe(1);
  });

  test("the registry is killed in the middle, and comes back: the download goes on", async () => {
    const { registry } = fixture;
    const image = makeImage(8 << 20);
    await pushImage(registry, image, "killed/image");
    const client = makeClient(optionsOf(kind, registry));
    const repository = await client.repository(parseReference(`${registry.host}/killed/image`), { credentials });
    const sink = new MemorySink();
    let came = 0;
    sink.onWrite = async (data) => {
      const before = came;
      came += data.length;
      if (before > 1 << 20 || came <= 1 << 20) return;
      await registry.stop();
      await registry.start();
    };
    const retried: string[] = [];
    await repository.download(image.layer, sink, { signal, onRetry: ({ message }) => retried.push(message) });
    expect(sink.digest()).toBe(image.layer.digest);
    expect(came).toBe(8 << 20);
    expect(sink.truncated).toBe(0);
    expect(retried.length).toBeGreaterThan(0);
  });

  test("what is not there", async () => {
    const { registry } = fixture;
    const client = makeClient(optionsOf(kind, registry));
    const repository = await client.repository(parseReference(`${registry.host}/no/such:tag`), { credentials });
    const { layer } = makeImage();
    await expect(repository.resolve({ signal })).rejects.toMatchObject({ kind: "not-found" });
    await expect(repository.download(layer, new MemorySink(), { signal })).rejects.toMatchObject({ kind: "not-found" });
    await expect(repository.download(layer, new MemorySink(), { signal })).rejects.toThrow(
      `${registry.url}/v2/no/such/blobs/${layer.digest}: 404`,
    );
  });

  test("a push: blobs, mounted ones, manifest", async () => {
    const { registry } = fixture;
    const image = makeImage(3_000_000);
    const client = makeClient(optionsOf(kind, registry));
    const push = async (path: string, ...from: string[]) => {
      const repository = await client.repository(parseReference(`${registry.host}/${path}`), { credentials });
      let read = 0;
      for (const blob of [image.config, image.layer]) {
        const source = async function* (offset: number) {
          const bytes = image.blobs.get(blob.digest)!;
          for (let at = offset; at < bytes.length; at += 65_536) {
            const part = bytes.subarray(at, at + 65_536);
            read += part.length;
            yield part;
          }
        };
        await repository.upload(blob, source, { signal, from });
        expect(await repository.exists(blob, { signal })).toBe(true);
      }
      expect(await repository.exists(image.manifest, { signal })).toBe(false);
      await repository.putManifest(image.manifest, image.manifestBytes, { signal, tag: "v1" });
      expect(await repository.exists(image.manifest, { signal })).toBe(true);
      expect(await repository.resolve({ signal }).catch((error) => error.kind)).toBe("not-found");
      const tagged = await client.repository(parseReference(`${registry.host}/${path}:v1`), { credentials });
      expect(await tagged.resolve({ signal })).toEqual(image.manifest);
      return read;
    };
    const all = image.config.size + image.layer.size;
    expect(await push("push/first")).toBe(all);
    expect(await push("push/mounted", "push/first")).toBe(0);
    // A repository that has none of it, or is not there: it is brought.
    expect(await push("push/second", "push/nowhere")).toBe(all);
  });
});

describe.skipIf(!hasRegistry)("who is let in", () => {
  test("without credentials, or with wrong ones: an error that shows none of them", async () => {
    const { registry } = kinds["passwords over TLS"];
    const client = makeClient(optionsOf("TLS", registry));
    const reference = parseReference(`${registry.host}/a/b`);
    const anonymous = await client.repository(reference);
    await expect(anonymous.resolve({ signal })).rejects.toMatchObject({ kind: "unauthenticated" });
    await expect(anonymous.resolve({ signal })).rejects.toThrow("without credentials");
    const wrong: Credentials = { kind: "password", username: "tester", password: "wrong-password" };
    const stranger = await client.repository(reference, { credentials: async () => wrong });
    const error = await stranger.resolve({ signal }).catch((error) => error);
    expect(error).toMatchObject({ kind: "unauthenticated" });
    expect(JSON.stringify([error.message, error.facts, error.stack])).not.toMatch(/wrong-password|dGVzdGVy/);
  });

  test("a certificate of nobody that is trusted; skip_verify", async () => {
    const { registry } = kinds.TLS;
    const reference = parseReference(`${registry.host}/a/b`);
    const resolve = async (options: RegistryOptions) =>
      (await makeClient(options).repository(reference)).resolve({ signal });
    await expect(resolve({})).rejects.toMatchObject({ kind: "unavailable", message: expect.stringContaining("TLS:") });
    const skipping = hostsDir(registry.host, { "hosts.toml": "skip_verify = true" });
    await expect(resolve({ hostsDirs: [skipping] })).rejects.toMatchObject({ kind: "not-found" });
    // The machine's authorities are those of a file.
    const environment = { HOME: dir, SSL_CERT_FILE: authority.ca };
    await expect(resolve({ environment })).rejects.toMatchObject({ kind: "not-found" });
    // Docker's own layout.
    const ofDocker = hostsDir(registry.host, { "ca.crt": readFileSync(authority.ca, "utf8") });
    await expect(resolve({ hostsDirs: ["/nowhere", ofDocker] })).rejects.toMatchObject({ kind: "not-found" });
  });

  test("a plain registry on this machine is found out, and is asked at once where a client says it", async () => {
    const { registry } = kinds.plain;
    for (const access of [{}, { plainHttp: true }]) {
      const repository = await makeClient().repository(parseReference(`${registry.host}/a/b`), access);
      await expect(repository.resolve({ signal })).rejects.toMatchObject({ kind: "not-found" });
    }
  });

  test("the same by many requests at once", async () => {
    const { registry } = kinds.plain;
    const image = makeImage();
    await pushImage(registry, image, "plain/at-once");
    const repository = await makeClient().repository(parseReference(`${registry.host}/plain/at-once`));
    const download = async () => {
      const sink = new MemorySink();
      await repository.download(image.layer, sink, { signal });
      return sink.digest();
    };
    expect(new Set(await Promise.all(Array.from({ length: 10 }, download)))).toEqual(new Set([image.layer.digest]));
  });

  test("one that hears last that there is no TLS goes on as those before it", async () => {
    let held: Socket | undefined;
    const registry = createServer((_, response) => {
      response.writeHead(404).end();
      held?.end(NO_TLS);
    });
    const front = createTcpServer((socket) =>
      socket
        .on("error", () => {})
        .once("data", (first) => {
          if (first[0] !== TLS_HANDSHAKE) {
            socket.unshift(first);
            registry.emit("connection", socket);
          } else if (held === undefined) held = socket;
          else socket.end(NO_TLS);
        }),
    );
    await once(front.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => {
      front.close();
    });
    const { port } = front.address() as AddressInfo;
    const repository = await makeClient().repository(parseReference(`127.0.0.1:${port}/a/b`));
    const answers = await Promise.allSettled([1, 2].map(() => repository.resolve({ signal })));
    expect(answers.map((answer) => (answer as PromiseRejectedResult).reason.kind)).toEqual(["not-found", "not-found"]);
  });

  test("a registry that had TLS does not lose it: what listens there instead is shown nothing", async () => {
    await using registry = await startRegistry({ tls: { ...server, ca: authority.ca }, htpasswd: true });
    const repository = await makeClient(optionsOf("TLS", registry)).repository(parseReference(`${registry.host}/a/b`), {
      credentials,
    });
    await expect(repository.resolve({ signal })).rejects.toMatchObject({ kind: "not-found" });
    await registry.stop();
    let requests = 0;
    const impostor = createServer((_, response) => {
      requests++;
      response.writeHead(404).end();
    });
    await once(impostor.listen(registry.port, "127.0.0.1"), "listening");
    try {
      await expect(repository.resolve({ signal })).rejects.toMatchObject({ kind: "unavailable" });
      expect(requests).toBe(0);
    } finally {
      impostor.closeAllConnections();
      impostor.close();
    }
  });
});

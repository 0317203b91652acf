/** Mirrors, as hosts.toml names them, and proxies, as the environment does. */

import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as makeRequest, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Credentials } from "../../../src/core/registry/credentials.js";
import { parseReference } from "../../../src/core/registry/reference.js";
import { Registry, type RegistryOptions } from "../../../src/core/registry/registry.js";
import { Authority } from "../../harness/certificates.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { makeImage } from "./image.js";
import { type Lie, LyingRegistry } from "./lying-registry.js";
import { MemorySink } from "./sink.js";

const dir = mkdtempSync(directoryPrefix());
const image = makeImage(300_000);
const whole = image.blobs.get(image.layer.digest)!;
const credentials: Credentials = { kind: "password", username: "somebody", password: "pass-word-of-a-test" };
const signal = new AbortController().signal;

let registry: LyingRegistry;
let mirror: LyingRegistry;
let client: Registry | undefined;

beforeEach(async () => {
  registry = await new LyingRegistry(image).start();
  mirror = await new LyingRegistry(image).start();
});
afterEach(async () => {
  await client?.close();
  await registry[Symbol.asyncDispose]();
  await mirror[Symbol.asyncDispose]();
});
afterAll(() => rmSync(dir, { recursive: true }));

const makeClient = async (options: RegistryOptions) => {
  await client?.close();
  client = new Registry({ environment: { HOME: dir }, retryDelay: 1, ...options });
  return client;
};
const place = (directory: string, text: string) => {
  const hostsDir = mkdtempSync(join(dir, "certs.d-"));
  mkdirSync(join(hostsDir, directory));
  writeFileSync(join(hostsDir, directory, "hosts.toml"), text);
  return hostsDir;
};
/** Opens the registry's repository where its hosts.toml has the mirror, with more in it. */
const open = async (more = "", server = registry.url, options: RegistryOptions = {}) => {
  const text = `server = "${server}"\n[host."${mirror.url}"]\n${more}`;
  const made = await makeClient({ hostsDirs: [place(registry.host, text)], ...options });
  return await made.repository(parseReference(`${registry.host}/a/b:v1`), { credentials: async () => credentials });
};
const pull = async (repository: Awaited<ReturnType<typeof open>>) => {
  const descriptor = await repository.resolve({ signal });
  expect(descriptor).toEqual(image.manifest);
  expect(await repository.manifest(descriptor, { signal })).toEqual(image.manifestBytes);
  const sink = new MemorySink();
  await repository.download(image.layer, sink, { signal });
  expect(sink.data.equals(whole)).toBe(true);
  return sink;
};
const paths = ({ seen }: LyingRegistry) => seen.map(({ method, path }) => `${method} ${path}`);

describe("mirrors", () => {
  test("a mirror is asked for all, is told whose image it is, and gets neither credentials nor another's headers", async () => {
    mirror.lies.all = ({ headers }, response) =>
      headers["x-own"] === "1, 2" ? false : void response.writeHead(400).end();
    await pull(await open(`[host."${mirror.url}".header]\nx-own = ["1", "2"]`));
    expect(registry.seen).toEqual([]);
    const ns = `?ns=${encodeURIComponent(registry.host)}`;
    expect(paths(mirror)).toEqual([
      `HEAD /v2/a/b/manifests/v1${ns}`,
      `GET /v2/a/b/manifests/${image.manifest.digest}${ns}`,
      `GET /v2/a/b/blobs/${image.layer.digest}${ns}`,
    ]);
    // One that asks who we are gets nothing, and the registry is asked.
    mirror.lies.all = (_, response) =>
      void response.writeHead(401, { "www-authenticate": `Bearer realm="${mirror.url}/token",service="x"` }).end();
    registry.lies.all = ({ headers }, response) =>
      headers.authorization === undefined
        ? void response.writeHead(401, { "www-authenticate": "Basic realm=x" }).end()
        : false;
    await pull(await open());
    expect(mirror.seen.every(({ headers }) => headers.authorization === undefined)).toBe(true);
    expect(registry.seen.every(({ path, headers }) => !path.includes("ns=") && headers["x-own"] === undefined)).toBe(
      true,
    );
  });

  test.each<[what: string, lie: Lie | undefined]>([
    ["is not there", undefined],
    ["has nothing", (_, response) => response.writeHead(404).end()],
    ["is broken", (_, response) => response.writeHead(500).end()],
    ["is silent", () => {}],
    ["refuses", (_, response) => response.writeHead(403).end()],
    ["has other things", (_, response) => response.writeHead(200).end(Buffer.alloc(300_000))],
    ["is no registry", ({ socket }) => socket.end("hello\r\n")],
  ])("a mirror that %s: the registry is asked", async (what, lie) => {
    const repository = await open("", registry.url, { stallTimeout: 1000 });
    if (lie === undefined) await mirror[Symbol.asyncDispose]();
    else mirror.lies.all = lie;
    await pull(repository);
    // Who does not answer is not waited for again and again.
    if (/silent|broken/.test(what)) expect(mirror.seen.length).toBeLessThanOrEqual(2);
  });

  test("a mirror that goes in the middle of a blob: the registry goes on there", async () => {
    mirror.lies.blobs = (_, response, count) => {
      if (count > 0) return void response.socket!.destroy();
      response.writeHead(200, { "content-length": whole.length });
      response.write(whole.subarray(0, 150_000), () => setImmediate(() => response.destroy()));
      return undefined;
    };
    const sink = await pull(await open());
    expect(sink.truncated).toBe(0);
    expect(registry.asked("blobs")).toEqual(["GET bytes=150000-"]);
  });

  test("who can only resolve is not pulled from; who may not push is not pushed to", async () => {
    await pull(await open('capabilities = ["resolve"]'));
    expect(paths(mirror).map((path) => path.split(" ")[0])).toEqual(["HEAD"]);
    const closed = await open('capabilities = ["pull"]', `${registry.url}"\ncapabilities = ["pull"] #`);
    await expect(closed.putManifest(image.manifest, image.manifestBytes, { signal })).rejects.toMatchObject({
      kind: "failed-precondition",
      message: `no host may be asked for ${registry.host}'s images to push them`,
    });
  });

  test("all fail: the error says of each why", async () => {
    mirror.lies.all = (_, response) => void response.writeHead(403).end();
    registry.lies.all = (_, response) => void response.writeHead(404).end();
    const error = await (await open()).resolve({ signal }).catch((error) => error);
    expect(error.kind).toBe("not-found");
    expect(error.message).toContain(`${mirror.host}: ${mirror.url}/v2/a/b/manifests/v1: 403`);
    expect(error.message).toContain(`${registry.host}: ${registry.url}/v2/a/b/manifests/v1: 404`);
  });

  test("override_path, _default, a directory without a colon, the first place with one's own", async () => {
    const reference = parseReference(`${registry.host}/a/b:v1`);
    const asked = async (hostsDirs: string[]) => {
      mirror.seen.length = 0;
      const repository = await (await makeClient({ hostsDirs })).repository(reference);
      await repository.resolve({ signal });
      return paths(mirror);
    };
    const ns = `?ns=${encodeURIComponent(registry.host)}`;
    const odd = place("_default", `[host."${mirror.url}/odd/path"]\noverride_path = true`);
    expect(await asked([odd])).toEqual([`HEAD /odd/path/a/b/manifests/v1${ns}`]);
    const own = place(registry.host.replace(/:(\d+)$/, "_$1_"), `[host."${mirror.url}/own"]`);
    for (const hostsDirs of [
      [odd, own],
      [own, odd],
      ["/nowhere", own],
    ])
      expect(await asked(hostsDirs)).toEqual([`HEAD /own/v2/a/b/manifests/v1${ns}`]);
  });

  test("what is wrong in a file is said with file and key", async () => {
    const ca = place(registry.host, 'ca = "missing.pem"');
    await expect(
      (await makeClient({ hostsDirs: [ca] })).repository(parseReference(`${registry.host}/a`)),
    ).rejects.toThrow(new RegExp(`^${join(ca, registry.host, "hosts.toml")}: ca: open .*/missing.pem: no such file`));
    writeFileSync(join(ca, registry.host, "missing.pem"), "nonsense");
    await expect(
      (await makeClient({ hostsDirs: [ca] })).repository(parseReference(`${registry.host}/a`)),
    ).rejects.toThrow("has no certificate in PEM");
  });
});

test("a client's certificate, by hosts.toml and in Docker's layout", async () => {
  const authority = new Authority(dir, "clients");
  const server = authority.issue("server");
  const own = authority.issue("own");
  const read = (path: string) => readFileSync(path);
  const seen: string[] = [];
  const tls = createTlsServer(
    {
      cert: read(server.cert),
      key: read(server.key),
      ca: read(authority.ca),
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      seen.push(`${(request.socket as import("node:tls").TLSSocket).authorized}`);
      registry.answerTruly(request, response);
    },
  );
  await once(tls.listen(0, "127.0.0.1"), "listening");
  const host = `127.0.0.1:${(tls.address() as AddressInfo).port}`;
  try {
    const resolve = async (hostsDir: string) =>
      await (await (await makeClient({ hostsDirs: [hostsDir] })).repository(parseReference(`${host}/a/b:v1`))).resolve({
        signal,
      });
    await resolve(place(host, `ca = "${authority.ca}"\nclient = [["${own.cert}", "${own.key}"]]`));
    await resolve(place(host, `ca = "${authority.ca}"`));
    const ofDocker = mkdtempSync(join(dir, "certs.d-"));
    mkdirSync(join(ofDocker, host));
    for (const [name, from] of [
      ["ca.crt", authority.ca],
      ["client.cert", own.cert],
      ["client.key", own.key],
    ] as const)
      writeFileSync(join(ofDocker, host, name), read(from));
    await resolve(ofDocker);
    expect(seen).toEqual(["true", "false", "true"]);
  } finally {
    tls.closeAllConnections();
    tls.close();
  }
});

describe("proxies", () => {
  let proxy: Server;
  let proxied: string[];
  let url: string;
  const authority = new Authority(dir, "proxied");
  const identity = authority.issue("server");

  beforeEach(async () => {
    proxied = [];
    proxy = createServer(({ method, url = "", headers }, response) => {
      proxied.push(`${method} ${url} ${headers["proxy-authorization"]}`);
      if (url.includes("refused")) return void response.writeHead(407).end();
      const to = new URL(url);
      // All names are this machine's to it.
      const { "proxy-authorization": _, ...sent } = headers;
      const forwarded = makeRequest({
        host: "127.0.0.1",
        port: to.port,
        path: `${to.pathname}${to.search}`,
        method,
        headers: sent,
      });
      forwarded.on("response", (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      forwarded.on("error", () => response.destroy());
      forwarded.end();
    });
    proxy.on("connect", ({ url = "", headers }, socket) => {
      proxied.push(`CONNECT ${url} ${headers["proxy-authorization"]}`);
      if (url.includes("refused")) return void socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      const target = connect(Number(url.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.pipe(target).pipe(socket);
      });
      for (const one of [socket, target]) one.on("error", () => {});
      socket.on("close", () => target.destroy());
    });
    await once(proxy.listen(0, "127.0.0.1"), "listening");
    url = `http://user:p%40ss@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    await client?.close();
    proxy.closeAllConnections();
    proxy.close();
  });

  const login = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
  const through = async (host: string, access: object, options: RegistryOptions = {}) => {
    const environment = { HOME: dir, HTTP_PROXY: url, HTTPS_PROXY: url };
    const made = await makeClient({ environment, ...options });
    return await made.repository(parseReference(`${host}/a/b:v1`), access);
  };

  test("plain: the proxy makes the requests", async () => {
    const host = `registry.test:${registry.port}`;
    const sink = new MemorySink();
    const repository = await through(host, { plainHttp: true });
    expect(await repository.resolve({ signal })).toEqual(image.manifest);
    await repository.download(image.layer, sink, { signal });
    expect(sink.data.equals(whole)).toBe(true);
    expect(proxied[0]).toBe(`HEAD http://${host}/v2/a/b/manifests/v1 ${login}`);
    expect(
      registry.seen.every(({ headers }) => headers["proxy-authorization"] === undefined && headers.host === host),
    ).toBe(true);
  });

  test("TLS: the proxy sees nothing but where it goes", async () => {
    const tls = createTlsServer(
      { cert: readFileSync(identity.cert), key: readFileSync(identity.key) },
      (request, response) => registry.answerTruly(request, response),
    );
    await once(tls.listen(0, "127.0.0.1"), "listening");
    const { port } = tls.address() as AddressInfo;
    try {
      const host = `registry.test:${port}`;
      // Its certificate is one for 127.0.0.1.
      const options = { hostsDirs: [place(host, `ca = "${authority.ca}"\nskip_verify = true`)] };
      const repository = await through(host, {}, options);
      expect(await repository.resolve({ signal })).toEqual(image.manifest);
      expect(proxied).toEqual([`CONNECT ${host} ${login}`]);
    } finally {
      tls.closeAllConnections();
      tls.close();
    }
  });

  test("a proxy that refuses", async () => {
    const error = await (await through("refused.test:5000", {})).resolve({ signal }).catch((error) => error);
    expect(error).toMatchObject({ kind: "unavailable", message: expect.stringContaining("answered with 403") });
    const plain = await (await through("refused.test:5000", { plainHttp: true }))
      .resolve({ signal })
      .catch((error) => error);
    expect(plain.message).toContain("407");
    for (const { message, stack } of [error, plain]) expect(message + stack).not.toMatch(/p@ss|p%40ss|dXNlcj/);
  });

  test("a stranger can't send us to this machine, nor our credentials over the network as they are", async () => {
    const host = `registry.test:${registry.port}`;
    const repository = await through(host, { plainHttp: true, credentials: async () => credentials });
    for (const location of [
      mirror.url,
      `http://localhost:${mirror.port}`,
      "http://169.254.169.254/",
      "http://[::1]:1/",
    ]) {
      registry.lies.all = (_, response) => void response.writeHead(302, { location }).end();
      await expect(repository.download(image.layer, new MemorySink(), { signal })).rejects.toThrow(
        "this machine's own",
      );
      const challenge = `Bearer realm="${location}/token",service="x"`;
      registry.lies.all = (_, response) => void response.writeHead(401, { "www-authenticate": challenge }).end();
      await expect(repository.resolve({ signal })).rejects.toThrow("this machine's own");
    }
    expect(mirror.seen).toEqual([]);
    const tls = createTlsServer(
      { cert: readFileSync(identity.cert), key: readFileSync(identity.key) },
      (_, response) => {
        const realm = `http://token.test:${mirror.port}/token`;
        response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}"`, location: realm }).end();
      },
    );
    await once(tls.listen(0, "127.0.0.1"), "listening");
    try {
      const host = `registry.test:${(tls.address() as AddressInfo).port}`;
      const options = { hostsDirs: [place(host, "skip_verify = true")] };
      const secure = await through(host, { credentials: async () => credentials }, options);
      await expect(secure.resolve({ signal })).rejects.toThrow(
        `http://token.test:${mirror.port}/token, which is not encrypted`,
      );
      tls.removeAllListeners("request");
      tls.on("request", (_, response) =>
        response.writeHead(302, { location: `http://blobs.test:${mirror.port}/x` }).end(),
      );
      await expect(secure.download(image.layer, new MemorySink(), { signal })).rejects.toThrow(
        "which is not encrypted",
      );
      expect(mirror.seen).toEqual([]);
    } finally {
      tls.closeAllConnections();
      tls.close();
    }
  });

  test("without TLS nothing is asked of a host that is not this machine, unless a client says so", async () => {
    const host = `registry.test:${registry.port}`;
    await expect((await through(host, {})).resolve({ signal })).rejects.toThrow(/TLS/);
    expect(registry.seen).toEqual([]);
  });
});

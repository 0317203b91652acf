/** Who reaches a port or a socket, and what they can't do with that: stay, crowd others out, or be taken for a client. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect as connectClient } from "../../src/client/index.js";
import { Opening } from "../../src/services/grpc/authority/opening.js";
import { frame, greeting, preface, SETTINGS } from "../grpc/authority/wire-client.js";
import { Authority, type Identity, read } from "../harness/certificates.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { openDescriptors } from "../harness/processes.js";
import { directoryPrefix } from "../harness/run-name.js";
import { eventually, PATIENCE, within } from "../harness/wait.js";
import { get, portOf } from "../operations/http-get.js";

let dir: string;
let authority: Authority;
let client: Identity;
let daemon: TestDaemon;
let port: number;

beforeAll(async () => {
  dir = mkdtempSync(directoryPrefix());
  authority = new Authority(dir, "ours");
  const server = authority.issue("server", { purpose: "serverAuth" });
  client = authority.issue("client", { purpose: "clientAuth" });
  const tls = ["--tls-cert", server.cert, "--tls-key", server.key, "--tls-ca", authority.ca];
  daemon = await startDaemon({ flags: ["--listen", "tcp://127.0.0.1:0", "--debug", ...tls] });
  port = await eventually(() => Number(/port=(\d+)/.exec(daemon.log)?.[1]) || undefined);
  // It answers before that, and opens what it keeps open meanwhile.
  await eventually(() => daemon.log.includes("supervisor running"));
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

/** Connections of this process's, ended with the test. */
class Crowd implements Disposable {
  readonly sockets: (Socket | TLSSocket)[] = [];

  add<T extends Socket>(socket: T): T {
    this.sockets.push(socket.on("error", () => {}));
    return socket;
  }

  get open(): number {
    return this.sockets.filter((socket) => !socket.destroyed && !socket.closed).length;
  }

  [Symbol.dispose](): void {
    for (const socket of this.sockets) socket.destroy();
  }
}

const connectTcp = () => connect(port, "127.0.0.1");
const tlsOptions = (identity?: Identity) => ({
  port,
  host: "127.0.0.1",
  ca: readFileSync(authority.ca),
  ALPNProtocols: ["h2"],
  ...(identity && read(identity)),
});

async function version(identity: Identity, connectTimeout = PATIENCE): Promise<string> {
  await using connection = connectClient(`tcp://127.0.0.1:${port}`, {
    tls: { ca: readFileSync(authority.ca), ...read(identity) },
    connectTimeout,
  });
  return (await connection.version()).version;
}

/** To a client that is refused it looks as if nobody were there: it tries for a while. */
async function expectRefused(identity: Identity): Promise<void> {
  await expect(version(identity, 3_000)).rejects.toMatchObject({ code: "UNAVAILABLE" });
}

/** Those who may, by TLS and by the unix socket. */
async function othersAreServed(): Promise<void> {
  expect(await version(client)).toMatch(/^0\.2\./);
  expect((await daemon.api.getServerVersion()).minor).toBe(2);
}

describe("on the TLS port", () => {
  test("handshakes that fail leave no connection", async () => {
    using crowd = new Crowd();
    const before = openDescriptors(daemon.pid).size;
    for (let n = 0; n < 200; n++)
      crowd.add(connectTcp()).on("connect", function (this: Socket) {
        // No TLS, and no end of it from this side.
        this.write("GET / HTTP/1.1\r\n\r\n");
      });
    await eventually(() => crowd.open === 0);
    await eventually(() => openDescriptors(daemon.pid).size <= before);
    await othersAreServed();
  });

  test.each([
    ["without forward secrecy", "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA"],
    ["without authenticated encryption", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256"],
  ])("TLS 1.2 %s is refused", async (_, ciphers) => {
    const outcome = (options: object) =>
      new Promise<string>((resolve) => {
        const socket = connectTls({ ...tlsOptions(client), maxVersion: "TLSv1.2", ...options })
          .on("secureConnect", () => resolve("connected"))
          .on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
        socket.once("close", () => resolve("closed")).on("secureConnect", () => socket.destroy());
      });
    expect(await outcome({ ciphers })).not.toBe("connected");
    expect(await outcome({})).toBe("connected");
  });

  test("handshakes that are never begun, or never ended, are a few hundred at most, and over after 10 s", async () => {
    using crowd = new Crowd();
    const before = openDescriptors(daemon.pid).size;
    // The beginning of a ClientHello of 512 bytes.
    const hello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    for (let n = 0; n < 1000; n++) {
      const socket = crowd.add(connectTcp());
      if (n % 2 === 0) socket.write(hello);
    }
    await eventually(() => crowd.sockets.every((socket) => !socket.connecting));
    await eventually(() => crowd.open <= 256);
    await eventually(() => openDescriptors(daemon.pid).size <= before + 256 + 2);
    await othersAreServed();
    await eventually(() => crowd.open === 0, { interval: 100 });
    await eventually(() => openDescriptors(daemon.pid).size <= before + 2);
  });
});

// Side by side: each waits for the end of the daemon's patience, or the client's.
describe.concurrent("on the TLS port, who waits", () => {
  test.skipIf(!full)("a client that has a certificate and says nothing is hung up on", async () => {
    using crowd = new Crowd();
    const silent = crowd.add(connectTls(tlsOptions(client)));
    const torn = crowd.add(connectTls(tlsOptions(client)));
    const begun = crowd.add(connectTls(tlsOptions(client)));
    torn.write(preface.subarray(0, 10));
    begun.write(greeting);
    for (const socket of [silent, torn, begun]) socket.resume();
    await eventually(() => silent.destroyed && torn.destroyed, { interval: 100 });
    expect(begun.destroyed).toBe(false);
  });

  test.each([
    ["a server's", "serverAuth"],
    ["another purpose's", "emailProtection"],
    ["one without a purpose", ""],
  ])("%s certificate is no client's", async (name, purpose) => {
    const identity = authority.issue(name.replaceAll(/\W/g, "-"), { purpose });
    await expectRefused(identity);
  });

  test("the authority's own certificate is no client's", async () => {
    const identity = { cert: authority.ca, key: authority.ca.replace(".pem", ".key") };
    await expectRefused(identity);
  });
});

test("TCP leaves the last descriptors to the unix socket", async () => {
  using crowd = new Crowd();
  const limit = openDescriptors(daemon.pid).size + 60;
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, `--nofile=${limit}:4096`]);
  try {
    for (let n = 0; n < 200; n++) crowd.add(connectTls(tlsOptions(client))).write(greeting);
    await eventually(() => crowd.sockets.every((socket) => !socket.connecting));
    await eventually(() => crowd.open < 60);
    // A new connection, and something that takes a descriptor of the daemon's.
    await using connection = connectClient(daemon.listen);
    expect((await connection.version()).version).toMatch(/^0\.2\./);
    expect(openDescriptors(daemon.pid).size).toBeLessThan(limit - limit / 8);
  } finally {
    execFileSync("prlimit", ["--pid", `${daemon.pid}`, "--nofile=4096:4096"]);
  }
});

test.each([
  ["a form or a script of its own", { origin: "http://evil.example" }],
  ["an image", { "sec-fetch-site": "cross-site" }],
  ["an image, in an old browser", { referer: "http://evil.example/page" }],
  ["a page of another port", { "sec-fetch-site": "same-site" }],
  ["a name that leads here", { host: "evil.example" }],
])("a web page can't start a profile by %s", async (_, headers) => {
  await using profiled = await startDaemon({ flags: ["--pprof-address", "127.0.0.1:0"] });
  const at = await portOf(profiled, "--pprof-address");
  const path = "/debug/pprof/profile?seconds=0.1";
  expect((await get(at, path, { headers })).status).toBe(403);
  expect((await get(at, path, { headers: { "sec-fetch-site": "none" } })).status).toBe(200);
});

describe("frames before the first request", () => {
  const update = frame(8, 0, 0, Buffer.from([0, 0, 0, 1]));

  test("are a few kilobytes for whoever has something to say; more ends the connection", async () => {
    using crowd = new Crowd();
    const socket = crowd.add(connect(join(daemon.dir, "s")));
    socket.resume();
    socket.write(greeting);
    const flood = Buffer.concat(Array.from({ length: 10_000 }, () => update));
    socket.write(flood);
    await within(new Promise((resolve) => socket.once("close", resolve)), "the end of the connection");
    await othersAreServed();
  });

  test("that come byte by byte cost no more for each when they are many", () => {
    /** In ms of CPU, for each byte. */
    const cost = (bytes: Buffer, most: number) => {
      const opening = new Opening();
      opening.settingsSent();
      const began = process.cpuUsage();
      let count = 0;
      for (; count < Math.min(bytes.length, most); count++)
        if (opening.write(bytes.subarray(count, count + 1)) === "refuse") break;
      const { user, system } = process.cpuUsage(began);
      return (user + system) / count;
    };
    const bytes = Buffer.concat([preface, frame(SETTINGS, 0, 0), ...Array.from({ length: 6_000 }, () => update)]);
    cost(bytes, 4_000);
    const few = Math.min(...[1, 2, 3].map(() => cost(bytes, 8_000)));
    expect(Math.min(...[1, 2, 3].map(() => cost(bytes, bytes.length)))).toBeLessThan(4 * few + 1);
  });
});

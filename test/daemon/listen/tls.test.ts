/** Who may connect to the daemon over TCP: holders of a certificate of its authority. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../../src/client/index.js";
import { Authority, type Identity, read } from "../../harness/certificates.js";
import { daemonEnvironment, startDaemon, TestDaemon } from "../../harness/daemon.js";
import { daemonProgram } from "../../harness/paths.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { eventually, PATIENCE } from "../../harness/wait.js";

let dir: string;
let ours: Authority;
let foreign: Authority;
let server: Identity;
let client: Identity;
let port: number;
let daemon: TestDaemon;

const tlsFlags = ({ cert, key }: Identity, { ca }: Authority) => ["--tls-cert", cert, "--tls-key", key, "--tls-ca", ca];

beforeAll(async () => {
  dir = mkdtempSync(directoryPrefix());
  ours = new Authority(dir, "ours");
  foreign = new Authority(dir, "foreign");
  server = ours.issue("server");
  client = ours.issue("client");
  port = await freePort();
  daemon = new TestDaemon({ listen: `tcp://127.0.0.1:${port}`, flags: ["--debug", ...tlsFlags(server, ours)] });
  daemon.spawn();
  await eventually(() => daemon.log.includes("supervisor running"));
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

function refused(...args: string[]): string {
  const { status, stderr } = spawnSync(process.execPath, [daemonProgram, "--state-dir", join(dir, "state"), ...args], {
    encoding: "utf8",
    timeout: PATIENCE,
    env: daemonEnvironment(),
  });
  expect(status, stderr).toBe(1);
  return stderr.trim();
}

/** The version, as a client with these certificates gets it. */
async function version(
  tls: { ca: string } & Partial<Identity>,
  address = `tcp://127.0.0.1:${port}`,
  connectTimeout = PATIENCE,
): Promise<string> {
  await using connection = connect(address, {
    tls: {
      ca: readFileSync(tls.ca),
      ...(tls.cert && tls.key ? read({ cert: tls.cert, key: tls.key }) : {}),
    },
    connectTimeout,
  });
  return (await connection.version()).version;
}

/** To a client that is refused it looks as if nobody were there: it tries for a while. */
async function getsNothing(tls: Parameters<typeof version>[0]): Promise<void> {
  await expect(version(tls, undefined, 3_000)).rejects.toMatchObject({ code: "UNAVAILABLE" });
}

describe("a client", () => {
  test("with a certificate of our authority is served, over and over", async () => {
    for (let round = 0; round < 3; round++) expect(await version({ ca: ours.ca, ...client })).toMatch(/^0\.2\./);
  });

  test("without a certificate gets nothing", async () => {
    await getsNothing({ ca: ours.ca });
  });

  test("with a foreign certificate gets nothing", async () => {
    await getsNothing({ ca: ours.ca, ...foreign.issue("client") });
  });

  test("with a certificate that has ended gets nothing", async () => {
    await getsNothing({ ca: ours.ca, ...ours.issue("late", { days: 0 }) });
  });

  test("without TLS gets nothing", async () => {
    await using connection = connect(`tcp://127.0.0.1:${port}`, { connectTimeout: 2000 });
    await expect(connection.version()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("finds out when the daemon is not the one it trusts", async () => {
    await getsNothing({ ca: foreign.ca, ...client });
  });

  test.each<[string, Partial<Identity>]>([
    ["without a certificate", {}],
    ["with a foreign one", { cert: "foreign" }],
  ])("%s is not sent a single byte of HTTP/2", async (_, { cert }) => {
    const received: Buffer[] = [];
    await new Promise<void>((resolve) => {
      const socket = connectTls({
        port,
        host: "127.0.0.1",
        ca: readFileSync(ours.ca),
        ALPNProtocols: ["h2"],
        ...(cert ? read(foreign.issue("raw")) : {}),
      });
      socket.on("secureConnect", () => socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"));
      socket.on("data", (chunk) => received.push(chunk));
      socket.on("error", () => {});
      socket.on("close", () => resolve());
    });
    expect(Buffer.concat(received)).toHaveLength(0);
    await expect.poll(() => daemon.log).toContain("TCP connection refused");
  });

  test("of an old TLS is refused", async () => {
    const code = await new Promise<string>((resolve) => {
      connectTls({
        port,
        host: "127.0.0.1",
        ca: readFileSync(ours.ca),
        ...read(client),
        minVersion: "TLSv1",
        maxVersion: "TLSv1.1",
        ciphers: "DEFAULT@SECLEVEL=0",
      })
        .on("secureConnect", () => resolve("connected"))
        .on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
    expect(code).toMatch(/PROTOCOL|ALERT/);
  });
});

describe("a daemon", () => {
  const address = "tcp://127.0.0.1:1";

  test("without TLS listens on TCP only when that is said", async () => {
    expect(refused("--listen", address)).toMatch(/--tls-cert, --tls-key and --tls-ca, or --insecure-tcp/);
    await using insecure = await startDaemon({
      listen: `tcp://127.0.0.1:${await freePort()}`,
      flags: ["--insecure-tcp"],
    });
    expect((await insecure.api.getServerVersion()).minor).toBe(2);
  });

  test("says what is wrong with its files", () => {
    const garbage = join(dir, "garbage");
    writeFileSync(garbage, "no PEM");
    expect(refused("--listen", address, "--tls-cert", server.cert)).toContain("go together");
    expect(refused("--listen", address, ...tlsFlags({ ...server, cert: "/nowhere" }, ours))).toContain(
      "--tls-cert: open /nowhere: no such file or directory",
    );
    expect(refused("--listen", address, ...tlsFlags({ ...server, key: garbage }, ours))).toContain("--tls-key");
    expect(refused("--listen", address, ...tlsFlags({ ...server, key: client.key }, ours))).toMatch(
      /--tls-cert, --tls-key: .*mismatch/,
    );
    expect(
      refused("--listen", address, "--tls-cert", server.cert, "--tls-key", server.key, "--tls-ca", garbage),
    ).toContain("--tls-ca");
  });
});

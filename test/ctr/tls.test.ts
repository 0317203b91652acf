import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { findProgram } from "../harness/paths.js";
import { ctr, ctrError } from "./ctr.js";

const dir = mkdtempSync(join(tmpdir(), "tls-"));
const cert = join(dir, "cert.pem");
const key = join(dir, "key.pem");

beforeAll(() => {
  if (!findProgram("openssl")) return;
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-addext", "extendedKeyUsage=serverAuth,clientAuth", "-keyout", key, "-out", cert],
    ],
    { stdio: "ignore" },
  );
});
afterAll(() => rmSync(dir, { recursive: true }));

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

test("tcp:// without TLS", async () => {
  await using daemon = await startDaemon({ listen: `tcp://127.0.0.1:${await freePort()}`, flags: ["--insecure-tcp"] });
  expect(await ctr(daemon, "version")).toContain("daemon version");
});

test.skipIf(!findProgram("openssl"))("tcp:// with TLS: the daemon and the caller show certificates", async () => {
  const listen = `tcp://127.0.0.1:${await freePort()}`;
  await using plain = await startDaemon();
  // The harness speaks no TLS: it only starts this one.
  const { TestDaemon } = await import("../harness/daemon.js");
  await using daemon = new TestDaemon({ listen, flags: ["--tls-cert", cert, "--tls-key", key, "--tls-ca", cert] });
  daemon.spawn();
  await expect
    .poll(() => ctr(daemon, "--tls-ca", cert, "--tls-cert", cert, "--tls-key", key, "version"))
    .toContain("daemon version");
  const unreachable = `cannot reach containerd at ${listen}: `;
  expect(await ctrError(daemon, "--tls-ca", cert, "version")).toMatch(
    new RegExp(`^${unreachable}TLS: tlsv13 alert certificate required$`),
  );
  expect(await ctrError(daemon, "--tls-cert", cert, "--tls-key", key, "version")).toMatch(
    new RegExp(`^${unreachable}self-signed certificate`),
  );
  // It waits for as long as it may.
  expect(await ctrError(daemon, "--conn-timeout", "2s", "version")).toMatch(
    new RegExp(`^${unreachable}no answer .*; does it want TLS\\?$`),
  );
  expect(await ctrError(daemon, "--tls-cert", cert, "version")).toBe("--tls-cert and --tls-key go together");
  expect(await ctrError(plain, "--tls-ca", cert, "version")).toContain("--tls-ca is for tcp:// addresses");
});

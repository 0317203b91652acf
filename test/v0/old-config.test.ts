/** Bundles from before runtime-spec 1.0 (Docker up to 17.05), which runc 1.x would refuse. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** CAP_KILL (5), CAP_NET_BIND_SERVICE (10), CAP_AUDIT_WRITE (29), as the bundles of the harness have them. */
const mask = ((1n << 5n) | (1n << 10n) | (1n << 29n)).toString(16).padStart(16, "0");

test("capabilities as a list become those of the process", async () => {
  await using container = await startContainer(daemon, {
    name: "old",
    args: ["grep", "Cap", "/proc/self/status"],
    oldFormat: true,
    stdio: true,
  });
  const sets = Object.fromEntries(
    (await container.output()).stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => line.split(/:\s+/)),
  );
  expect(await container.exit()).toBe(0);
  expect(sets).toMatchObject({ CapInh: mask, CapPrm: mask, CapEff: mask, CapBnd: mask });
});

test("the bundle's own file stays as it is, State shows the list", async () => {
  const before = daemon.snapshot();
  await using container = await startContainer(daemon, { name: "same", args: ["sleep", "1000"], oldFormat: true });
  const config = readFileSync(join(container.bundle, "config.json"), "utf8");
  expect(JSON.parse(config).process.capabilities).toEqual(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
  const state = await daemon.api.state({ id: container.id });
  expect(state.containers[0]?.processes[0]?.capabilities).toEqual([
    "CAP_AUDIT_WRITE",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
  ]);
  await container.kill();
  expect(await container.exit()).toBe(137);
  expect(readFileSync(join(container.bundle, "config.json"), "utf8")).toBe(config);
  await daemon.expectNothingLeft({ before });
});

test("a relative root path is still the bundle's", async () => {
  await using container = await startContainer(daemon, {
    name: "relative",
    args: ["sh", "-c", "echo written >/file; cat /file"],
    oldFormat: true,
    ownRootfs: true,
    stdio: true,
  });
  expect((await container.output()).stdout.toString()).toBe("written\n");
  expect(await container.exit()).toBe(0);
  expect(readFileSync(join(container.bundle, "rootfs/file"), "utf8")).toBe("written\n");
});

test("an old bundle's process goes on over a restart of the daemon", async () => {
  await using container = await startContainer(daemon, { name: "restart", args: ["sleep", "1000"], oldFormat: true });
  await daemon.restart();
  expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
  await container.kill();
  expect(await container.exit()).toBe(137);
});

import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { busybox } from "../../../../test/harness/rootfs.js";
import { containerFiles } from "./container-files.js";
import { findInit } from "./init-program.js";

const none = { mode: "none" as const };

test("hosts, hostname and resolv.conf without a network", async () => {
  const extraHosts = ["db:10.0.0.7", "six:::1", "other=[fe80::1]"];
  const { hosts, hostname, resolvConf } = await containerFiles({ network: none, extraHosts }, "web");
  expect(hosts).toMatch(/^127\.0\.0\.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n/);
  expect(hosts).toMatch(/\n10\.0\.0\.7\tdb\n::1\tsix\nfe80::1\tother\n$/);
  expect([hostname, resolvConf]).toEqual(["web\n", ""]);
});

test("the host's names with the host's network", async () => {
  const { hosts } = await containerFiles({ network: { mode: "host" }, extraHosts: ["db:10.0.0.7"] }, "web");
  expect(hosts).toMatch(/localhost(?:.|\n)*\n10\.0\.0\.7\tdb\n$/);
});

test.each([
  ["db", "it must be NAME:ADDRESS, like db:10.0.0.7"],
  ["a b:1.2.3.4", "it must be NAME:ADDRESS"],
  ["db:1.2.3", '"1.2.3" must be an IPv4 or IPv6 address'],
  ["db:1.2.3.4\n5.6.7.8 other", "must be an IPv4 or IPv6 address"],
  ["db:host-gateway", "host-gateway is the host's address in the container's network"],
])("refuses %j", async (entry, message) => {
  await expect(containerFiles({ network: none, extraHosts: [entry] }, "web")).rejects.toThrow(message);
});

test("an init program: one that needs nothing of the container", () => {
  const directory = mkdtempSync(join(tmpdir(), "init-test-"));
  try {
    expect(() => findInit(directory)).toThrow(/^no init program is installed.*install catatonit/);
    // A script needs its shell, and a dynamic program its loader.
    writeFileSync(join(directory, "catatonit"), "#!/bin/sh\n", { mode: 0o755 });
    copyFileSync(process.execPath, join(directory, "docker-init"));
    expect(() => findInit(directory)).toThrow(/^no init program/);
    copyFileSync(busybox(), join(directory, "tini-static"));
    chmodSync(join(directory, "tini-static"), 0o755);
    expect(findInit(directory)).toBe(join(directory, "tini-static"));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

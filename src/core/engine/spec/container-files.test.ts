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

test("on networks a container is called by its addresses, and asks the server of its own", async () => {
  const places = [
    { address: "10.1.0.2", address6: "fd00::2", gateway: "10.1.0.1" },
    { address: "10.2.0.2", address6: "", gateway: "10.2.0.1" },
  ];
  const network = { mode: "attached" as const, networks: [] };
  const extraHosts = ["host.docker.internal:host-gateway"];
  const wishes = { network, extraHosts, domainname: "example.com", dnsSearch: ["example.org"], dnsOptions: ["rotate"] };
  const { hosts, resolvConf } = await containerFiles(wishes, "web", undefined, places);
  const own = ["10.1.0.2", "fd00::2", "10.2.0.2"].map((address) => `${address}\tweb.example.com web`);
  expect(hosts.split("\n").slice(-5)).toEqual([...own, "10.1.0.1\thost.docker.internal", ""]);
  expect(resolvConf).toBe("nameserver 127.0.0.11\nsearch example.org\noptions rotate ndots:0\n");
});

test("servers, search and options in place of the host's", async () => {
  const { resolvConf } = await containerFiles(
    { network: { mode: "host" }, extraHosts: [], dns: ["10.0.0.1"], dnsSearch: ["."], dnsOptions: ["timeout:1"] },
    "web",
  );
  const lines = resolvConf.split("\n").filter((line) => /^(?:nameserver|search|options)/.test(line));
  expect(lines).toEqual(["nameserver 10.0.0.1", "options timeout:1"]);
});

test.each([
  ["dns", ["1.2.3"]],
  ["dnsSearch", ["a b"]],
  ["dnsOptions", ["x\nnameserver 1.2.3.4"]],
])("refuses %s %j", async (option, value) => {
  const made = containerFiles({ network: none, extraHosts: [], [option]: value }, "web");
  await expect(made).rejects.toThrow(`invalid ${option}[0]`);
});

test.each([
  ["db", "it must be NAME:ADDRESS, like db:10.0.0.7"],
  ["a b:1.2.3.4", "it must be NAME:ADDRESS"],
  ["db:1.2.3", '"1.2.3" must be an IPv4 or IPv6 address'],
  ["db:1.2.3.4\n5.6.7.8 other", "must be an IPv4 or IPv6 address"],
  ["db:host-gateway", "host-gateway is the host's address on the container's first network: it has none"],
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

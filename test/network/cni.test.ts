/** Containers on networks that the system has configured (CNI), by Debian's plugins. All is in network namespaces of the test's own. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { kill } from "../harness/processes.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

let host: NetworkNamespace;
let daemon: TestDaemon;
/** Of the test's own: configurations, a plugin, and what host-local writes down. */
let directory: string;

beforeAll(async () => {
  host = await makeNetworkNamespace();
  directory = join(tmpdir(), `ctd-cni-${process.pid}`);
  for (const name of ["conf", "bin", "leases"]) mkdirSync(join(directory, name), { recursive: true });
  const ipam = {
    ...{ type: "host-local", dataDir: join(directory, "leases") },
    ranges: [[{ subnet: "10.88.0.0/16" }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  const bridge = {
    type: "bridge",
    bridge: "cni-test",
    isGateway: true,
    ipMasq: true,
    capabilities: { ips: true },
    ipam,
  };
  const portmap = { type: "portmap", capabilities: { portMappings: true } };
  configure("10-system.conflist", {
    cniVersion: "0.4.0",
    name: "system",
    plugins: [bridge, portmap, { type: "told" }],
  });
  // What it was called with, for the test; it fails as it is told.
  const script = `#!/bin/sh
    stdin=$(cat)
    echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $([ -e "$CNI_NETNS" ] && echo namespace)" >> ${directory}/told
    error='{"cniVersion":"0.4.0","code":7,"msg":"no room","details":"none at all"}'
    [ -e ${directory}/fail ] && [ "$CNI_COMMAND" = ADD ] && { echo "$error"; exit 1; }
    [ "$CNI_COMMAND" = ADD ] && echo "$stdin" | busybox sed 's/.*"prevResult":\\({.*}\\).*/\\1/'
    exit 0`;
  writeFileSync(join(directory, "bin", "told"), script);
  chmodSync(join(directory, "bin", "told"), 0o755);
  const flags = ["--cni-conf-dir", join(directory, "conf"), "--cni-plugin-dir", join(directory, "bin")];
  daemon = await startDaemon({ wrapper: host.enter(), flags: [...flags, "--cni-plugin-dir", "/usr/lib/cni"] });
  await importImage(daemon);
});

afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

function configure(file: string, content: object): void {
  writeFileSync(join(directory, "conf", file), JSON.stringify(content));
}

const told = () => readFileSync(join(directory, "told"), "utf8").trimEnd().split("\n");
const leases = () => readdirSync(join(directory, "leases", "system")).filter((name) => name.startsWith("10."));
const on = (network: string, more = {}) => ({ network, aliases: [], address: "", address6: "", mac: "", ...more });
const port = { protocol: "tcp", containerPort: 80, hostAddress: "", hostPort: 8080, hostPortEnd: 0 };
const serving = (config: Config = {}): Config => ({
  ...{ args: texts("httpd", "-f", "-p", "80", "-h", "/etc"), networks: [on("system")], ...config },
});

async function running(config: Config): Promise<string> {
  const id = newId(daemon);
  await daemon.v1().engine.run({ create: requestFor({ id, config }), stdio: NO_STDIO });
  return id;
}

/** What a server says its host is called. */
async function ask(address: string): Promise<string> {
  const script = `printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 10 ${address} 80 | busybox tail -n 1`;
  return await eventually(async () => {
    const { stdout, stderr } = await host.attempt(["busybox", "sh", "-c", script]);
    if (stdout === "") throw new Error(stderr);
    return stdout;
  });
}

async function expectNothingOfContainers(): Promise<void> {
  expect(leases()).toEqual([]);
  expect((await host.devices()).filter((name) => name.startsWith("veth"))).toEqual([]);
  const rules = await host.shell("iptables -t nat -S");
  expect(rules.split("\n").filter((line) => /-A CNI-[0-9a-f]|-A CNI-DN|10\.88\.0\./.test(line))).toEqual([]);
  expect(rules).toContain("-N CNI-OTHERS");
  expect(existsSync(join(daemon.runDir, "cni")) ? readdirSync(join(daemon.runDir, "cni", "default")) : []).toEqual([]);
}

test("a network of the system: a container is reached, its port too, also after a kill; nothing of it is left", async () => {
  await host.shell("iptables -t nat -N CNI-OTHERS");
  const id = await running(serving({ ports: [port] }));
  const address = "10.88.0.2/16";
  const { endpoints } = await daemon.v1().engine.get({ id });
  expect(endpoints).toMatchObject([{ network: "system", device: "eth0", address }]);
  expect(endpoints[0]!.mac).toMatch(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  expect(await ask("10.88.0.2")).toBe(`${id.slice(0, 12)}\n`);
  expect(await host.shell("iptables -t nat -S")).toMatch(/-A CNI-DN-.*--dport 8080 .*10\.88\.0\.2:80/);
  await daemon.kill();
  await daemon.start();
  expect((await daemon.v1().engine.get({ id })).endpoints).toMatchObject([{ network: "system", address }]);
  await daemon.v1().engine.remove({ id, force: true });
  expect(told()).toEqual([`ADD default..${id} eth0 namespace`, `DEL default..${id} eth0 namespace`]);
  await expectNothingOfContainers();
});

test.skipIf(!full)("what ends while the daemon is away is undone by the next one", async () => {
  const id = await running(serving());
  const { pid } = await daemon.v1().engine.get({ id });
  await daemon.kill();
  kill(pid);
  await daemon.start();
  await eventually(async () => expect((await daemon.v1().engine.get({ id })).status).toBe("stopped"));
  await eventually(() => expect(leases()).toEqual([]));
  // Once more, on the same network, and with an address that it names.
  await daemon.v1().engine.start({ id, stdio: NO_STDIO });
  await daemon.v1().engine.remove({ id, force: true });
  const named = await running(serving({ networks: [on("system", { address: "10.88.0.77" })] }));
  expect((await daemon.v1().engine.get({ id: named })).endpoints).toMatchObject([{ address: "10.88.0.77/16" }]);
  await daemon.v1().engine.remove({ id: named, force: true });
  await expectNothingOfContainers();
});

test.skipIf(!full)("what fails is told as the plugin says, and undone", async () => {
  writeFileSync(join(directory, "fail"), "");
  const before = told().length;
  const id = newId(daemon);
  const run = (config: Config) =>
    refusal(daemon.v1().engine.run({ create: requestFor({ id, config }), stdio: NO_STDIO }));
  expect(await run(serving())).toContain('network "system": plugin "told": ADD: no room (none at all), code 7');
  rmSync(join(directory, "fail"));
  expect(told().slice(before)).toEqual([`ADD default..${id} eth0 namespace`, `DEL default..${id} eth0 namespace`]);
  await expectNothingOfContainers();
  expect((await daemon.v1().engine.list()).containers).toEqual([]);
  configure("20-missing.conf", { cniVersion: "1.0.0", name: "missing", type: "no-such-plugin" });
  configure("30-old.conf", { cniVersion: "0.2.0", name: "old", type: "bridge" });
  expect(await run(serving({ networks: [on("missing")] }))).toContain('plugin "no-such-plugin" is not in ');
  expect(await run(serving({ networks: [on("old")] }))).toContain('is of CNI "0.2.0"');
  expect(await run(serving({ networks: [on("missing", { mac: "02:42:ac:11:00:09" })] }))).toContain("mac: network");
  expect(await run(serving({ networks: [on("nobody")] }))).toContain('"nobody"');
  writeFileSync(join(directory, "conf", "40-broken.conf"), "{");
  expect(await run(serving({ networks: [on("nobody")] }))).toContain("40-broken.conf");
  rmSync(join(directory, "conf", "40-broken.conf"));
  // Loopback of the system is a network as others are.
  configure("50-loopback.conf", { cniVersion: "0.3.1", name: "lo", type: "loopback" });
  const lone = await running(serving({ networks: [on("lo")] }));
  await daemon.v1().engine.remove({ id: lone, force: true });
  await expectNothingOfContainers();
});

test.skipIf(!full)("together with a network of ours: each has a device of its own", async () => {
  const id = await running(serving({ networks: [on("bridge"), on("system")] }));
  const { endpoints } = await daemon.v1().engine.get({ id });
  expect(endpoints).toMatchObject([
    { network: "bridge", device: "eth0" },
    { network: "system", device: "eth1" },
  ]);
  await daemon.v1().engine.remove({ id, force: true });
  await expectNothingOfContainers();
});

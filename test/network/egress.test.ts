/** Containers that reach only what they are to reach: daemon and containers in one network namespace, what is outside in another. */
import type { ChildProcess } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type Client, type Container, type ContainerOptions, connect } from "../../src/client/index.js";
import { runProgram } from "../client/typescript-program.js";
import { expectNoNetworks } from "../harness/check-networks.js";
import { importRootfs } from "../harness/client.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { kill } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

const IMAGE = "test/egress:latest";
const OUTSIDE = "10.99.0.2";
const SECOND = "10.99.0.3";

let host: NetworkNamespace;
let outside: NetworkNamespace;
let server: ChildProcess;
let daemon: TestDaemon;
let client: Client;
/** What the servers outside have seen, a line each. */
const seen: string[] = [];

beforeAll(async () => {
  [host, outside] = await Promise.all([makeNetworkNamespace(), makeNetworkNamespace()]);
  await host.connect(outside);
  await host.shell(`ip route add default via ${OUTSIDE}; ip route add default via fd99::2`);
  await outside.shell(`
    ip address add ${SECOND}/24 dev cable; ip address add 169.254.169.254/32 dev cable
    ip route add default via 10.99.0.1; ip route add default via fd99::1`);
  server = outside.spawn(process.execPath, fileURLToPath(new URL("egress-server.mjs", import.meta.url)));
  server.stdout!.on("data", (data) => seen.push(...String(data).split("\n")));
  server.stderr!.pipe(process.stderr);
  await eventually(() => seen.includes("ready"));
  daemon = await startDaemon({ wrapper: host.enter() });
  // Sandboxes have ids of their own, which have to get to their files.
  chmodSync(daemon.dir, 0o711);
  client = connect(daemon.listen);
  await importRootfs(client, IMAGE);
});

afterAll(async () => {
  client?.close();
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
  await outside?.[Symbol.asyncDispose]();
});

/** A container that sleeps; it is removed after the test. */
async function start(options: ContainerOptions): Promise<Container> {
  const container = await client.containers.start({
    ...{ image: IMAGE, args: ["sleep", "1000000"], stopSignal: "SIGKILL", dns: [OUTSIDE] },
    ...options,
  });
  // By the client that is there then.
  onTestFinished(async () => {
    const left = (await client.containers.list()).find(({ id }) => id === container.id);
    await left?.remove({ force: true });
  });
  return container;
}

type Reached = "open" | "refused" | "silent";

async function reach(container: Container, address: string, port: number): Promise<Reached> {
  const { stdout, stderr } = await container.exec(["nc", "-w", "3", address, String(port)], { timeout: 60_000 });
  if (stdout.startsWith("hello")) return "open";
  return /refused|unreachable|No route/i.test(stderr) ? "refused" : "silent";
}

/** The process that answers names on the host. */
function netd(): number | undefined {
  const own = readlinkSync(host.path);
  return readdirSync("/proc")
    .map(Number)
    .find((pid) => {
      try {
        const isIt = readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("containerd-netd");
        return isIt && readlinkSync(`/proc/${pid}/ns/net`) === own;
      } catch {
        return false;
      }
    });
}

/** The addresses of a name, or what the resolver says. */
async function resolve(container: Container, name: string, ...server: string[]): Promise<string[] | string> {
  const { stdout, stderr } = await container.exec(["nslookup", "-type=a", name, ...server], { timeout: 60_000 });
  const addresses = [...stdout.matchAll(/^Address: (\S+)$/gm)].map(([, address]) => address!);
  return addresses.length > 0
    ? addresses
    : (/NXDOMAIN|SERVFAIL|timed out/.exec(stdout + stderr)?.[0] ?? stdout + stderr);
}

test("only names that are listed are resolved, only their addresses reached; the rest is refused at once, and told", async () => {
  const container = await start({ network: { egress: ["*.allowed.test:80", `${SECOND}:5432`] } });
  expect(await reach(container, OUTSIDE, 80)).toBe("refused");
  expect(await resolve(container, "alias-10-99-0-2.allowed.test")).toEqual([OUTSIDE]);
  expect(await reach(container, OUTSIDE, 80)).toBe("open");
  expect(await reach(container, SECOND, 5432)).toBe("open");
  expect(await resolve(container, "ip-10-99-0-3.other.test")).toBe("NXDOMAIN");
  expect(seen).not.toContain("ip-10-99-0-3.other.test 1");
  for (const [address, port] of [
    [OUTSIDE, 5432],
    [SECOND, 80],
    ["10.99.0.1", 80],
    ["172.17.0.1", 22],
    ["169.254.169.254", 80],
  ] as const)
    expect([address, await reach(container, address, port)]).toEqual([address, "refused"]);
  const { attempts, dropped } = await container.egress();
  expect(dropped).toBe(0);
  const told = attempts.map(({ name, address, port, protocol, allowed }) =>
    name ? `${name} ${allowed}` : `${protocol} ${address} ${port}`,
  );
  expect(told).toEqual(
    expect.arrayContaining([
      ...[
        "alias-10-99-0-2.allowed.test true",
        "ip-10-99-0-3.other.test false",
        `tcp ${OUTSIDE} 5432`,
        `tcp ${SECOND} 80`,
      ],
      ...["tcp 10.99.0.1 80", "tcp 172.17.0.1 22", "tcp 169.254.169.254 80"],
    ]),
  );
  await container.remove({ force: true });
  await expectNoNetworks(host);
});

test.skipIf(!full)("it is refused where it would keep nobody, and so is what is no name", async () => {
  const wanted = (options: ContainerOptions) => client.containers.create({ image: IMAGE, ...options });
  const network = { egress: ["a.test"] };
  await expect(wanted({ network, privileged: true })).rejects.toThrow('egress "a.test": a privileged container');
  await expect(wanted({ network: { egress: ["a.test", "b c"] } })).rejects.toThrow('egress "b c"');
  await expect(wanted({ network: { egress: ["a.test:0"] } })).rejects.toThrow('egress "a.test:0": the port');
  await expect(wanted({ network: { egress: [], network: "nowhere" } })).rejects.toThrow("nowhere");
  await expect(wanted({ network: { egress: ["a"], network: "host" } as never })).rejects.toThrow("network.network");
  const open = await start({ network: "bridge" });
  await expect(open.egress()).rejects.toThrow("has no egress");
});

test.skipIf(!full)("who joins its network shares what it may reach, and no more", async () => {
  const container = await start({ network: { egress: [`${OUTSIDE}:80`] } });
  const joined = await start({ network: { container: container.id }, dns: [] });
  expect([await reach(joined, OUTSIDE, 80), await reach(joined, SECOND, 80)]).toEqual(["open", "refused"]);
});

test.skipIf(!full)(
  "there is no way around: resolvers, TCP, IPv6, the host, other containers, published ports",
  async () => {
    await client.networks.create({ name: "six", ipv6: true });
    onTestFinished(() => client.networks.remove("six"));
    const other = await start({
      network: "six",
      args: ["nc", "-ll", "-p", "80", "-e", "echo", "hello"],
      ports: ["8080:80"],
    });
    const container = await start({ network: { egress: ["*.allowed.test"], network: "six" } });
    const [{ address, address6, gateway, gateway6 }] = (await other.inspect()).endpoints as [never];
    const plain = (text: string) => text.replace(/\/.*/, "");
    // Another resolver, over UDP and TCP.
    expect(await resolve(container, "ip-10-99-0-3.other.test", OUTSIDE)).not.toContain(SECOND);
    expect(await reach(container, OUTSIDE, 53)).toBe("refused");
    const closed: [string, number][] = [
      ["fd99::2", 80],
      ["169.254.169.254", 80],
      [gateway, 80],
      [gateway6, 80],
      ["fd99::1", 80],
      [plain(address), 80],
      [plain(address6), 80],
    ];
    for (const [to, port] of closed) expect([to, await reach(container, to, port)]).toEqual([to, "refused"]);
    // Where the kernel has bridges' packets go through the rules of IP (br_netfilter), it is the bridge that drops these.
    for (const to of ["10.99.0.1", gateway]) expect([to, await reach(container, to, 8080)]).not.toEqual([to, "open"]);
    // Names that lead to the host, to other containers, to what is nobody's outside.
    for (const to of ["10.99.0.1", gateway as string, plain(address), "169.254.169.254", "127.0.0.1"]) {
      const name = `ip-${to.replaceAll(".", "-")}.allowed.test`;
      expect(await resolve(container, name)).toEqual([to]);
      expect([to, await reach(container, to, 80)]).toEqual([to, "refused"]);
    }
    // Others are as they were.
    const third = await start({ network: "six" });
    expect(await reach(third, plain(address), 80)).toBe("open");
    expect(seen.filter((line) => line === "hello fd99::1")).toEqual([]);
  },
);

test.skipIf(!full)("its own ports can be published, and the host reaches it", async () => {
  const container = await start({
    ...{ network: { egress: [] }, args: ["nc", "-ll", "-p", "80", "-e", "echo", "hello"], ports: ["8081:80"] },
  });
  const from = (namespace: NetworkNamespace, address: string) =>
    namespace.attempt(["busybox", "nc", "-w", "3", address, "8081"]);
  await eventually(async () => (await from(host, "127.0.0.1")).stdout === "hello\n");
  expect((await from(outside, "10.99.0.1")).stdout).toBe("hello\n");
  expect(await reach(container, "10.99.0.2", 80)).toBe("refused");
});

test.skipIf(!full)(
  "with NET_ADMIN and NET_RAW of its own, too: other addresses, other devices, another resolver in its place",
  async () => {
    const other = await start({ network: "bridge" });
    const container = await start({
      ...{ network: { egress: [`${SECOND}:80`] }, capabilities: { add: ["NET_ADMIN", "NET_RAW"] }, userns: "host" },
    });
    const [{ address, mac }] = (await other.inspect()).endpoints as [never];
    const own = (await container.inspect()).endpoints[0]!;
    const taken = String(address).replace(/\/.*/, "");
    const run = (script: string) => container.exec(["sh", "-c", script], { timeout: 60_000 });
    const before = seen.length;
    for (const foreign of [taken, "172.17.0.200"]) {
      await run(`ip address add ${foreign}/32 dev eth0`);
      await run(`ip route replace default via 172.17.0.1 dev eth0 src ${foreign}`);
      expect([foreign, await reach(container, SECOND, 80)]).not.toEqual([foreign, "open"]);
      await run(`ip address del ${foreign}/32 dev eth0; ip route replace default via 172.17.0.1 dev eth0`);
    }
    await run(`ip link set eth0 down; ip link set eth0 address ${mac}; ip link set eth0 up`);
    await run("ip route replace 172.17.0.1 dev eth0; ip route replace default via 172.17.0.1 dev eth0");
    expect(await reach(container, SECOND, 80)).not.toBe("open");
    expect(seen.slice(before).filter((line) => line.startsWith("hello"))).toEqual([]);
    await run(`ip link set eth0 down; ip link set eth0 address ${own.mac}; ip link set eth0 up`);
    await run("ip route replace 172.17.0.1 dev eth0; ip route replace default via 172.17.0.1 dev eth0");
    expect(await reach(container, SECOND, 80)).toBe("open");
    // Straight to the other one, as on a bridge without rules.
    await run(`ip route add ${taken} dev eth0`);
    expect(await reach(container, taken, 80)).not.toBe("open");
    await run("ip link add shadow type macvlan; ip link delete eth0");
    expect(await reach(container, SECOND, 80)).not.toBe("open");
  },
);

test.skipIf(!full)(
  "a killed daemon, a killed netd: what was open stays, nothing opens; their successors go on",
  async () => {
    const container = await start({ network: { egress: ["*.allowed.test:81", "*.allowed.test:80"] } });
    expect(await resolve(container, "ip-10-99-0-2.allowed.test")).toEqual([OUTSIDE]);
    // A connection that was made before, of a program that is told more by a file.
    const talk = `touch /tmp/in; (tail -f /tmp/in | nc ${OUTSIDE} 81 >/tmp/out) </dev/null >/dev/null 2>&1 &`;
    await container.exec(["sh", "-c", talk]);
    await container.exec(["sh", "-c", "until grep hello /tmp/out; do sleep 0.1; done"], { timeout: 60_000 });
    const keeper = netd()!;
    // Nobody is there who could tell anybody anything.
    client.close();
    await daemon.kill();
    kill(keeper);
    await eventually(() => netd() === undefined);
    const rules = await host.shell("nft list ruleset");
    expect(rules).toContain(`${OUTSIDE} . 80 timeout`);
    await daemon.start();
    client = connect(daemon.listen);
    const again = await client.containers.get(container.id);
    await eventually(() => netd() !== undefined);
    expect(await reach(again, SECOND, 80)).toBe("refused");
    await again.exec(["sh", "-c", "echo x >>/tmp/in; until grep more /tmp/out; do sleep 0.1; done"], {
      timeout: 60_000,
    });
    await eventually(async () => (await resolve(again, "ip-10-99-0-3.allowed.test")).includes(SECOND));
    expect(await reach(again, SECOND, 80)).toBe("open");
    expect(await resolve(again, "ip-10-99-0-3.other.test")).toBe("NXDOMAIN");
    expect(seen.filter((line) => line.startsWith("ip-10-99-0-3.other"))).toEqual([]);
  },
);

test.skipIf(!full)("rules that somebody else flushes come back, with what names have let in", async () => {
  const container = await start({ network: { egress: ["*.allowed.test"] } });
  expect(await resolve(container, "ip-10-99-0-2.allowed.test")).toEqual([OUTSIDE]);
  await host.shell("nft flush ruleset");
  await eventually(async () => (await host.shell("nft list ruleset")).includes(`${OUTSIDE} timeout`));
  expect([await reach(container, OUTSIDE, 80), await reach(container, SECOND, 80)]).toEqual(["open", "refused"]);
});

test.skipIf(!full)("one that is started again has what it had; what names had let in before is not", async () => {
  const container = await start({ network: { egress: ["*.allowed.test"] } });
  await resolve(container, "ip-10-99-0-2.allowed.test");
  expect(await reach(container, OUTSIDE, 80)).toBe("open");
  await container.restart();
  expect(await reach(container, OUTSIDE, 80)).toBe("refused");
  expect((await container.egress()).attempts.map(({ name }) => name)).not.toContain("ip-10-99-0-2.allowed.test");
  await resolve(container, "ip-10-99-0-2.allowed.test");
  expect(await reach(container, OUTSIDE, 80)).toBe("open");
});

test.skipIf(!full)("examples/egress.ts", async () => {
  const script = `nc -w 3 ${OUTSIDE} 80; nc -w 3 ${SECOND} 80`;
  const output = await runProgram(daemon, { file: "examples/egress.ts" }, [IMAGE, `${OUTSIDE}:80`, "sh", "-c", script]);
  expect(output).toMatch(/^hello\n.*refused\nstatus 1\nrefused \d+ times: tcp 10\.99\.0\.3 port 80\n$/s);
});

test.skipIf(!full)("client.run and sandboxes have it, too", async () => {
  const network = { egress: [`${OUTSIDE}:80`] };
  const { stdout } = await client.run({ image: IMAGE, args: ["nc", "-w", "3", OUTSIDE, "80"], network });
  expect(stdout).toBe("hello\n");
  await expect(
    client.run({ image: IMAGE, args: ["nc", "-w", "3", SECOND, "80"], network, check: true } as never),
  ).rejects.toThrow();
  await using sandbox = await client.sandboxes.create({ image: IMAGE, network });
  const asked = await sandbox.exec(["nc", "-w", "3", OUTSIDE, "80"]);
  expect(asked.stdout).toBe("hello\n");
  expect((await sandbox.exec(["nc", "-w", "3", SECOND, "80"])).stderr).toContain("refused");
});

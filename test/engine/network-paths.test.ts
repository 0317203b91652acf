/** Containers on networks: all that can be asked for, what is refused, and what a killed daemon's successor makes of it. */
import { spawn } from "node:child_process";
import { chmodSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { CreateRequest } from "../../src/proto/containerdts/engine/v1/engine.js";
import { expectNetworksOf, expectNoNetworks } from "../harness/check-networks.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, runToEnd, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const on = (
  network: string,
  more: Partial<{ aliases: string[]; address: string; address6: string; mac: string }> = {},
) => ({
  ...{ network, aliases: [], address: "", address6: "", mac: "" },
  ...more,
});
const port = (containerPort: number, hostPort = 0, hostPortEnd = 0) => ({
  ...{ protocol: "tcp", containerPort, hostAddress: "", hostPort, hostPortEnd },
});
const SERVER = { stopSignal: "KILL", args: texts("httpd", "-f", "-p", "80", "-h", "/etc") };
const NONE = { name: "", subnet: "", gateway: "", ipv6: false, subnet6: "", gateway6: "" };
const asking = (address: string, number: number) => [
  ...["busybox", "sh", "-c"],
  `printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 10 ${address} ${number} | busybox tail -n 1`,
];

describe.skipIf(!full)("in network namespaces", () => {
  let host: NetworkNamespace;
  let outside: NetworkNamespace;
  let daemon: TestDaemon;

  beforeAll(async () => {
    [host, outside] = await Promise.all([makeNetworkNamespace(), makeNetworkNamespace()]);
    await host.connect(outside);
    daemon = await startDaemon({ wrapper: host.enter() });
    // Who is root in a container of its own ids is nobody here, and has to get to its root file system.
    chmodSync(daemon.dir, 0o711);
    await importImage(daemon);
  });

  afterEach(async () => {
    const { engine, networks } = daemon.v1();
    for (const { id } of (await engine.list()).containers) await engine.remove({ id, force: true });
    for (const { name } of (await networks.list()).networks) await networks.remove({ network: name });
    await expectNoNetworks(host);
  });

  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
    await host?.[Symbol.asyncDispose]();
    await outside?.[Symbol.asyncDispose]();
  });

  const api = (): ApiV1 => daemon.v1();
  const network = (name: string, more = {}) =>
    api().networks.create({ ...NONE, name, internal: false, isolated: false, labels: {}, mtu: 0, ...more });

  async function running(name: string, config: Config): Promise<string> {
    const id = newId(daemon);
    await api().engine.run({
      create: requestFor({ id, name, config: { ...SERVER, hostname: name, ...config } }),
      stdio: NO_STDIO,
    });
    return id;
  }

  /** What a command in a container prints. */
  async function said(id: string, ...args: string[]): Promise<string> {
    const pid = (await api().engine.get({ id })).pid;
    const child = spawn("nsenter", ["--net", "--mount", "--pid", `--target=${pid}`, "--", ...args]);
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        text += data;
      });
    await new Promise((resolve) => child.once("close", resolve));
    return text;
  }

  const addressOf = (text: string) => expect.stringMatching(new RegExp(`^Name:\\s+\\S+\\nAddress: ${text}$`, "m"));

  test("addresses, aliases and MAC addresses of one's own stay reserved while a container is stopped", async () => {
    await network("one", { subnet: "10.1.0.0/24", gateway: "10.1.0.254", labels: { a: "b" } });
    const mac = "02:00:00:00:00:07";
    const id = await running("fixed", { networks: [on("one", { address: "10.1.0.7", mac, aliases: ["db"] })] });
    expect((await api().engine.get({ id })).endpoints).toMatchObject([
      { network: "one", address: "10.1.0.7/24", gateway: "10.1.0.254", mac, device: "eth0", aliases: ["db"] },
    ]);
    expect(await said(id, "ip", "-o", "-4", "addr", "show", "eth0")).toContain("10.1.0.7/24");
    expect(await said(id, "cat", "/etc/hosts")).toContain("10.1.0.7\tfixed\n");
    const other = await runToEnd(daemon, ["nslookup", "-type=a", "db"], { networks: [on("one")] });
    expect(other.stdout).toEqual(addressOf("10.1.0.7"));
    const taken = {
      create: requestFor({ id: newId(daemon), config: { networks: [on("one", { address: "10.1.0.7" })] } }),
    };
    const why = 'FAILED_PRECONDITION: address 10.1.0.7 on network "one" is taken: container "fixed" has it';
    expect(await refusal(api().engine.create(taken.create))).toBe(why);
    await api().engine.kill({ id });
    await api().engine.wait({ id });
    await eventually(async () => expect((await api().engine.get({ id })).status).toBe("stopped"));
    expect((await api().engine.get({ id })).endpoints).toMatchObject([{ network: "one", address: "", mac: "" }]);
    expect(await refusal(api().engine.create(taken.create))).toBe(why);
    await daemon.kill();
    await daemon.start();
    expect(await refusal(api().engine.create(taken.create))).toBe(why);
    expect(await refusal(api().networks.remove({ network: "one" }))).toContain('is used by container "fixed"');
    await api().engine.start({ id, stdio: NO_STDIO });
    expect((await api().engine.get({ id })).endpoints).toMatchObject([{ address: "10.1.0.7/24" }]);
    expect((await api().networks.get({ network: "one" })).containers).toMatchObject([
      { id, name: "fixed", address: "10.1.0.7/24", mac },
    ]);
    expect((await api().networks.list({ labels: ["a=b"] })).networks.map(({ name }) => name)).toEqual(["one"]);
    expect((await api().networks.prune({})).names).toEqual([]);
  });

  test("what can't be granted is refused, and nothing is left of the attempt", async () => {
    await network("one", { subnet: "10.1.0.0/24" });
    await network("inside", { internal: true });
    const refused: [Config, RegExp][] = [
      [{ networks: [on("two")] }, /^NOT_FOUND: no network "two" in namespace "default"/],
      [
        { networks: [on("one", { address: "10.2.0.7" })] },
        /^INVALID_ARGUMENT: address "10\.2\.0\.7": it is not in 10\.1\.0\.0\/24/,
      ],
      [{ networks: [on("one"), on("one")] }, /^INVALID_ARGUMENT: networks\[1\]: "one" is there twice/],
      [
        { networks: [on("one", { address6: "fd00::2" })] },
        /^INVALID_ARGUMENT: address6 fd00::2: network "one" has no IPv6/,
      ],
      [{ networks: [on("inside")], ports: [port(80)] }, /^INVALID_ARGUMENT: ports: nothing outside reaches/],
      [{ ports: [port(80)] }, /^INVALID_ARGUMENT: invalid ports/],
      [{ networks: [on("one")], args: texts("/no/such/program") }, /no such file/],
    ];
    for (const [config, why] of refused) {
      const id = newId(daemon);
      const create = requestFor({ id, config: { ...SERVER, ...config } });
      expect(await refusal(api().engine.run({ create, stdio: NO_STDIO }))).toMatch(why);
    }
    expect((await api().engine.list()).containers).toEqual([]);
    await expectNoNetworks(host);
    // Another program's port.
    const server = host.spawn("busybox", "httpd", "-f", "-p", "8081");
    await eventually(async () => (await host.attempt(asking("127.0.0.1", 8081))).stdout !== "");
    const id = newId(daemon);
    const create = requestFor({ id, config: { ...SERVER, networks: [on("one")], ports: [port(80, 8081)] } });
    expect(await refusal(api().engine.run({ create, stdio: NO_STDIO }))).toBe(
      "FAILED_PRECONDITION: port 0.0.0.0:8081/tcp of the host is taken by a program that is no container of this daemon",
    );
    const ranged = await running("ranged", {
      networks: [on("one")],
      ports: [port(80, 8081, 8083), port(81, 8081, 8083)],
    });
    expect((await api().engine.get({ id: ranged })).ports.map(({ hostPort }) => hostPort)).toEqual([8082, 8083]);
    server.kill();
    // Chosen ones are told, and lead to it.
    const chosen = await running("chosen", { networks: [on("one")], ports: [port(80)] });
    const [{ hostPort } = { hostPort: 0 }] = (await api().engine.get({ id: chosen })).ports;
    expect((await outside.attempt(asking("10.99.0.1", hostPort))).stdout).toBe("chosen\n");
  });

  test("a container is connected with networks, and disconnected, while it runs and while it does not", async () => {
    await network("one", { subnet: "10.1.0.0/24" });
    await network("two", { subnet: "10.2.0.0/24", ipv6: true });
    const peer = await running("peer", { networks: [on("two")] });
    const id = await running("mover", {});
    const devices = async () => (await said(id, "ls", "/sys/class/net")).trim().split("\n").sort();
    expect((await said(id, "cat", "/etc/resolv.conf")).trim()).toBe("");
    const endpoint = await api().networks.connect({ container: "mover", attachment: on("one") });
    expect(endpoint).toMatchObject({ network: "one", address: "10.1.0.2/24", device: "eth0" });
    await api().networks.connect({ container: id, attachment: on("two", { aliases: ["traveller"] }) });
    expect(await refusal(api().networks.connect({ container: id, attachment: on("two") }))).toBe(
      'ALREADY_EXISTS: container "mover" is on network "two" already',
    );
    expect((await api().engine.get({ id })).endpoints.map(({ network, device }) => [network, device])).toEqual([
      ["one", "eth0"],
      ["two", "eth1"],
    ]);
    expect(await said(id, "ip", "route")).toContain("default via 10.1.0.1 dev eth0");
    expect(await said(id, "cat", "/etc/resolv.conf")).toContain("nameserver 127.0.0.11\n");
    expect(await said(id, "cat", "/etc/hosts")).toMatch(/\n10\.1\.0\.2\t.*\n10\.2\.0\.3\t.*\nfd/);
    expect(await said(peer, "nslookup", "-type=a", "traveller")).toEqual(addressOf("10.2.0.3"));
    expect(await said(id, "nslookup", "-type=a", "peer")).toEqual(addressOf("10.2.0.2"));
    await api().engine.rename({ id, name: "settler" });
    expect(await said(peer, "nslookup", "-type=a", "settler")).toEqual(addressOf("10.2.0.3"));
    await expectNetworksOf(host, api());
    await daemon.kill();
    await daemon.start();
    await api().networks.disconnect({ container: id, network: "two" });
    expect(await refusal(api().networks.disconnect({ container: id, network: "two" }))).toMatch(
      /^FAILED_PRECONDITION: .* is not on/,
    );
    expect(await said(id, "cat", "/etc/hosts")).not.toContain("10.2.0.3");
    expect(await said(peer, "nslookup", "-type=a", "settler")).not.toContain("10.2.0.3");
    expect(await devices()).not.toContain("eth1");
    await expectNetworksOf(host, api());
    await api().engine.kill({ id });
    await api().engine.wait({ id });
    await api().networks.connect({ container: id, attachment: on("two", { address: "10.2.0.9" }) });
    await api().networks.disconnect({ container: id, network: "one" });
    await api().engine.start({ id, stdio: NO_STDIO });
    expect((await api().engine.get({ id })).endpoints).toMatchObject([
      { network: "two", address: "10.2.0.9/24", device: "eth0" },
    ]);
    await api().networks.disconnect({ container: id, network: "two" });
    expect((await api().engine.get({ id })).config!.network).toBe("none");
  });

  test("what runs goes on while the daemon is away, and what ends meanwhile is undone by the next one", async () => {
    const web = await running("web", { networks: [on("bridge")], ports: [port(80, 8080)] });
    const peer = await running("peer", { networks: [on("bridge")] });
    const ends = await running("ends", { networks: [on("bridge")], ports: [port(80, 8090)] });
    const { pid } = await api().engine.get({ id: ends });
    await daemon.kill();
    process.kill(pid, "SIGKILL");
    const asked = async () => (await outside.attempt(asking("10.99.0.1", 8080))).stdout;
    expect(await asked()).toBe("web\n");
    // Nobody gets its port.
    const taken = await host.attempt(["busybox", "nc", "-l", "-p", "8080"]);
    expect(taken.stderr).toMatch(/in use/);
    await daemon.start();
    expect((await api().engine.get({ id: web })).ports).toMatchObject([{ hostPort: 8080 }]);
    expect(await asked()).toBe("web\n");
    expect(await said(peer, "nslookup", "-type=a", "web")).toEqual(addressOf("172.17.0.2"));
    await eventually(async () => expect((await api().engine.get({ id: ends })).status).toBe("stopped"));
    await expectNetworksOf(host, api());
    // Its port is free, and an address that somebody has is not given to another one.
    const other = await running("other", { networks: [on("bridge")], ports: [port(80, 8090)] });
    const addresses = (await api().engine.list()).containers
      .map(({ endpoints }) => endpoints[0]!.address)
      .filter(Boolean);
    expect(new Set(addresses).size).toBe(3);
    await api().engine.restart({ id: other, stdio: NO_STDIO });
    expect((await outside.attempt(asking("10.99.0.1", 8090))).stdout).toBe("other\n");
    // Rules that somebody takes away come back.
    await host.shell("nft flush ruleset");
    await eventually(async () => expect(await asked()).toBe("web\n"));
    await api().networks.repair({});
  });

  test("a port is handed to another container without an interruption", async () => {
    const before = await running("before", { networks: [on("bridge")], ports: [port(80, 8080)] });
    const after = await running("after", { networks: [on("bridge")] });
    const ask = async () => (await outside.attempt(asking("10.99.0.1", 8080))).stdout.trim();
    expect(await ask()).toBe("before");
    const answers: Promise<string>[] = [];
    const moving = api().networks.movePorts({ from: "before", to: "after" });
    for (let count = 0; count < 20; count++) answers.push(ask());
    expect((await moving).ports).toMatchObject([{ containerPort: 80, hostPort: 8080 }]);
    for (const answer of await Promise.all(answers)) expect(["before", "after"]).toContain(answer);
    expect(await ask()).toBe("after");
    expect((await api().engine.get({ id: before })).ports).toEqual([]);
    await api().engine.remove({ id: before, force: true });
    await daemon.kill();
    await daemon.start();
    expect(await ask()).toBe("after");
    await api().engine.restart({ id: after, stdio: NO_STDIO });
    expect(await ask()).toBe("after");
    const refused = await refusal(api().networks.disconnect({ container: "after", network: "bridge" }));
    expect(refused).toContain("it needs a network");
    // They go with its default route.
    await network("other", { subnet: "10.3.0.0/24" });
    await api().networks.connect({ container: "after", attachment: on("other") });
    await api().networks.disconnect({ container: "after", network: "bridge" });
    expect(await said(after, "ip", "route")).toContain("default via 10.3.0.1");
    expect(await ask()).toBe("after");
  });

  test("who joins a container's network is called as that one is", async () => {
    const web = await running("web", { networks: [on("bridge")] });
    const joined = await running("joined", { network: "container:web", args: texts("sleep", "1000") });
    expect(await said(joined, "cat", "/etc/hosts", "/etc/resolv.conf")).toBe(
      await said(web, "cat", "/etc/hosts", "/etc/resolv.conf"),
    );
    expect(await said(joined, "ip", "-o", "-4", "addr")).toBe(await said(web, "ip", "-o", "-4", "addr"));
    await api().engine.remove({ id: joined, force: true });
    expect((await host.attempt(asking("172.17.0.2", 80))).stdout).toBe("web\n");
  });

  test("a fork is on the same networks, with an address of its own", async () => {
    await network("one", { subnet: "10.1.0.0/24" });
    const id = await running("source", {
      writable: true,
      networks: [on("one", { address: "10.1.0.7", aliases: ["db"] })],
    });
    const fork = newId(daemon);
    await api().engine.fork({ id, create: CreateRequest.fromPartial({ id: fork, name: "fork" }), run: NO_STDIO });
    expect((await api().engine.get({ id: fork })).endpoints).toMatchObject([
      { network: "one", address: "10.1.0.2/24", aliases: ["db"] },
    ]);
    await expectNetworksOf(host, api());
  });

  test("many at once, of all kinds, each with an address of its own", async () => {
    await network("six", { ipv6: true });
    const kinds: [Partial<Parameters<typeof requestFor>[0]>, Config][] = [
      [{ owned: true }, {}],
      [{}, { userns: "auto" }],
      [{ autoRemove: true }, { ports: [port(80)] }],
      [{}, { networks: [on("bridge"), on("six")] }],
    ];
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const id = newId(daemon);
        const [wanted, config] = kinds[index % kinds.length]!;
        const create = requestFor({ id, ...wanted, config: { ...SERVER, networks: [on("six")], ...config } });
        await api().engine.run({ create, stdio: NO_STDIO });
        return id;
      }),
    );
    const { containers } = await api().engine.list();
    const addresses = containers.flatMap(({ endpoints }) => endpoints.map(({ address }) => address));
    expect(new Set(addresses).size).toBe(addresses.length);
    await expectNetworksOf(host, api());
    await Promise.all(ids.map((id) => api().engine.kill({ id })));
    await Promise.all(
      ids.map((id) =>
        api()
          .engine.wait({ id })
          .catch(() => {}),
      ),
    );
    await expectNoNetworks(host);
    // What ends is undone whoever it belongs to, and what is stopped starts again.
    await api().engine.start({ id: ids[1]!, stdio: NO_STDIO });
    await expectNetworksOf(host, api());
  });
});

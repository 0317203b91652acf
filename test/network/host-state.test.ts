/** What is on the host stays as it is to be: after kills, after others have changed it, and nothing of others' is taken for ours. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ContainerName, ContainerRules, Network } from "../../src/core/network/network.js";
import { full } from "../harness/extent.js";
import {
  type FakeContainer,
  type HostNetworksProgram,
  makeContainer,
  networkOf,
  startHostNetworks,
} from "../harness/host-networks.js";
import { makeNetworkNamespace } from "../harness/network-namespace.js";
import { directoryPrefix } from "../harness/run-name.js";
import { ask, SILENCE, serve } from "../harness/talk.js";
import { eventually } from "../harness/wait.js";

const FORWARD = "add chain inet filter forward { type filter hook forward priority 0; }";

const SENDER = `
use IO::Socket::IP; use IO::Select; $| = 1;
my $s = IO::Socket::IP->new(PeerHost => "127.0.0.1", PeerPort => $ARGV[0], Proto => "udp");
while (1) {
  my $heard;
  $s->send("x");
  $s->sysread($heard, 1500) if IO::Select->new($s)->can_read(0.1);
  print defined $heard && $heard ne "" ? $heard : "nobody\\n";
  select(undef, undef, undef, 0.02);
}`;

const restore = (
  program: HostNetworksProgram,
  networks: Network[],
  containers: { container: ContainerName; rules: ContainerRules }[],
) => program.call<{ missing: unknown[] }>({ call: "restore", networks, containers });

const stateOf = (container: FakeContainer, ...ports: number[]) => ({
  container: container.name,
  rules: container.rules(...ports.map((port) => container.publication(port, 80))),
});

describe.skipIf(!full)("the host's networks", () => {
  test("a port moves from one container to another, and is open all the time", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1);
    await using pair = await both(network);
    const [one, two] = pair;
    await Promise.all([serve(one.namespace, 80, "one"), serve(two.namespace, 80, "two")]);
    await program.start(one, one.publication(8080, 80));
    await program.start(two);
    const answers: string[] = [];
    let isOver = false;
    const asking = (async () => {
      while (!isOver) answers.push(await ask(host, "127.0.0.1", 8080));
    })();
    for (let round = 0; round < 10; round++) {
      const [from, to] = round % 2 === 0 ? [one, two] : [two, one];
      await program.call({ call: "move", containers: [stateOf(from), stateOf(to, 8080)] });
      const now = answers.length;
      await eventually(() => answers.length > now + 2);
      expect(answers.at(-1)).toMatch(round % 2 === 0 ? /^two / : /^one /);
    }
    isOver = true;
    await asking;
    expect(answers.filter((answer) => !/^(one|two) /.test(answer))).toEqual([]);
  });

  test("who goes on sending datagrams to a port is heard by who has it now", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    await using pair = await both(networkOf(1));
    const [one, two] = pair;
    const udp = { protocol: "udp" } as const;
    await Promise.all([serve(one.namespace, 53, "one", udp), serve(two.namespace, 53, "two", udp)]);
    await program.start(two);
    // From one port all the time: nobody is there yet, then one, then the other, then nobody.
    const sender = host.spawn("perl", "-e", SENDER, "8053");
    let said = "";
    sender.stdout!.on("data", (data) => {
      said += data;
    });
    const hears = (name: string) => eventually(() => said.trim().split("\n").at(-1)?.startsWith(name));
    await hears("nobody");
    await program.start(one, one.publication(8053, 53, udp));
    await hears("one");
    const [from, to] = [one.rules(), two.rules(two.publication(8053, 53, udp))];
    const containers = [
      { container: one.name, rules: from },
      { container: two.name, rules: to },
    ];
    await program.call({ call: "move", containers });
    await hears("two");
    await program.end(two);
    await hears("nobody");
    sender.kill();
  });

  test("who is killed leaves it as it is; the next one goes on, and takes away what nobody needs", async () => {
    await using host = await makeNetworkNamespace();
    const networks = [networkOf(1), networkOf(2)];
    await using one = await makeContainer(2, networks[0]!);
    await using two = await makeContainer(2, networks[1]!);
    await serve(one.namespace, 80, "one");
    const first = await startHostNetworks(host);
    await first.start(one, one.publication(8080, 80));
    await first.start(two, two.publication(8081, 80));
    await first.kill();
    expect(await ask(host, "127.0.0.1", 8080)).toBe("one 10.1.0.1");

    await using second = await startHostNetworks(host, first.identity);
    const { missing } = await restore(second, [networks[0]!], [stateOf(one, 8080)]);
    expect(missing).toEqual([]);
    expect(await ask(host, "127.0.0.1", 8080)).toBe("one 10.1.0.1");
    const devices = (await host.devices()).filter((name) => /^ct[dv]/.test(name)).sort();
    expect(devices).toEqual([networks[0]!.bridge, one.endpoints[0]!.device].sort());
    expect(await second.ruleset()).not.toContain("8081");
    await second.end(one);
    await second.nothingLeft();
  });

  test("one that is killed at any moment leaves nothing that the next one does not take away", async () => {
    await using host = await makeNetworkNamespace();
    const network = networkOf(1);
    const before = await host.devices();
    let identity: string | undefined;
    for (let round = 0; round < 12; round++) {
      await using container = await makeContainer(2, network);
      await using program = await startHostNetworks(host, identity);
      identity = program.identity;
      const steps = program.start(container, container.publication(8080, 80)).catch(() => {});
      // From at once to the end of it.
      await Promise.race([steps, new Promise((resolve) => setTimeout(resolve, round * 4))]);
      await program.kill();
      await steps;
      await using next = await startHostNetworks(host, identity);
      await restore(next, [], []);
      await next.nothingLeft();
      expect(await host.devices()).toEqual(before);
    }
  });

  test("rules that somebody takes away are back, and it is told", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    await using container = await makeContainer(2, networkOf(1));
    await serve(container.namespace, 80, "web");
    await program.start(container, container.publication(8080, 80));
    const rules = await program.ruleset();
    const losses = [
      "nft flush ruleset",
      `nft delete table inet ${program.table}`,
      `nft flush chain inet ${program.table} forward`,
      // As the set-up of a firewall does it.
      `printf '%s\n' 'flush ruleset' 'add table inet filter' '${FORWARD}' | nft -f -`,
    ];
    for (const [round, loss] of losses.entries()) {
      await host.shell(loss);
      await eventually(() => program.events.filter(({ event }) => event === "renewed").length > round);
      expect(await program.ruleset()).toBe(rules);
      expect(await ask(host, "127.0.0.1", 8080)).toBe("web 10.1.0.1");
    }
    // Another's table goes, and comes: nothing happens, also not by what we do ourselves.
    await host.shell("nft delete table inet filter; nft add table inet other; nft delete table inet other");
    for (let port = 0; port < 5; port++) await program.publish(container, container.publication(9000 + port, 80));
    expect(program.events).toHaveLength(losses.length);
  });

  test("a repair says what was not as it is to be, and mends it", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1, { ipv6: true });
    await using pair = await both(network);
    const [one, two] = pair;
    await program.start(one);
    await program.start(two);
    await serve(one.namespace, 80, "one");
    const { bridge } = network;
    expect(await program.call({ call: "repair" })).toEqual([]);

    await host.shell(`ip address del 10.1.0.1/16 dev ${bridge}; ip link set ${bridge} down`);
    const said = await program.call<string[]>({ call: "repair" });
    // A bridge that was down has no IPv6 addresses any more.
    expect(said).toEqual(
      expect.arrayContaining([`bridge ${bridge} had lost its address 10.1.0.1`, `bridge ${bridge} was down`]),
    );
    await host.shell(`ip link del ${bridge}`);
    expect(await program.call({ call: "repair" })).toEqual([
      `bridge ${bridge} of network "network-1" was missing`,
      ...[one, two].map(({ endpoints }) => `device ${endpoints[0]!.device} was not connected with bridge ${bridge}`),
    ]);
    expect(await ask(two.namespace, "10.1.0.2", 80)).toBe("one 10.1.0.3");
    expect(await ask(host, "10.1.0.2", 80)).toBe("one 10.1.0.1");

    await host.shell(`ip link del ${two.endpoints[0]!.device}`);
    expect(await program.call({ call: "repair" })).toEqual([
      `device ${two.endpoints[0]!.device} of container "${two.name.container}" in namespace "default" is missing: ` +
        "it comes with the container's next start",
    ]);
  });

  test("a bridge that somebody has taken away is back with the next start", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1);
    await using pair = await both(network);
    const [one, two] = pair;
    await program.start(one);
    await host.shell(`ip link del ${network.bridge}`);
    await program.start(two);
    await serve(two.namespace, 80, "two");
    expect(await ask(host, "10.1.0.3", 80)).toBe("two 10.1.0.1");
  });

  test("where another device has got the gateway's address nothing starts on a network, and it is said why", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1, { ipv6: true });
    await using pair = await both(network);
    const [one] = pair;
    // As another daemon's bridge.
    await host.shell("ip link add other type bridge; ip address add 10.1.0.1/16 dev other; ip link set other up");
    await expect(program.start(one)).rejects.toThrow(/"network-1": another device of this host has 10\.1\.0\.1 by now/);
    await host.shell("ip address del 10.1.0.1/16 dev other; ip address add fd00:1::1/64 dev other nodad");
    await expect(program.start(one)).rejects.toThrow(/has fd00:1::1 by now/);
    expect(await host.devices()).toEqual(["lo", "other"]);
    await host.shell("ip link del other");
    await program.start(one);
    await serve(one.namespace, 80, "one");
    expect(await ask(host, "10.1.0.2", 80)).toBe("one 10.1.0.1");
  });

  test("devices of others are left alone, whatever they are called", async () => {
    await using host = await makeNetworkNamespace();
    const network = networkOf(1);
    await using container = await makeContainer(2, network);
    const { device } = container.endpoints[0]!;
    await host.shell(`ip link add ctv0123456789ab type veth peer name x; ip link add ctd-01234567 type bridge`);
    await host.shell(`ip link add ${network.bridge} type bridge; ip link add ${device} type bridge`);
    await host.shell(
      "ip link add ctd-89abcdef type bridge; ip link set ctd-89abcdef alias 'containerd-ts another network'",
    );
    await host.shell(`nft add table inet containerd-ts-00000000`);
    const before = await host.devices();
    await using program = await startHostNetworks(host);
    await restore(program, [], []);
    const taken = { kind: "already-exists", message: expect.stringContaining(`${network.bridge} that is not ours`) };
    await expect(program.call({ call: "prepare", endpoints: container.endpoints })).rejects.toMatchObject(taken);
    await program.end(container);
    expect(await host.devices()).toEqual(before);

    await host.shell(`ip link del ${network.bridge}`);
    await program.call({ call: "prepare", endpoints: container.endpoints });
    const enter = { call: "enter", pid: container.namespace.pid, endpoints: container.endpoints } as const;
    const why = { kind: "already-exists", message: `the host has a device ${device} that is not ours` };
    await expect(program.call(enter)).rejects.toMatchObject(why);
    await host.shell(`ip link del ${device}`);
    await container.namespace.shell("ip link add eth0 type bridge");
    await expect(program.call(enter)).rejects.toMatchObject({ message: expect.stringContaining('"eth0" already') });
    await container.namespace.shell("ip link del eth0");
    await program.call(enter);
    await program.end(container);
    const left = before.filter((name) => name !== network.bridge && name !== device);
    expect((await host.devices()).sort()).toEqual(left.sort());
    expect(await host.shell("nft list tables")).toBe("table inet containerd-ts-00000000");
  });

  test("what a container does to its own devices harms nobody else", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1);
    await using pair = await both(network);
    const [one, two] = pair;
    await program.start(one, one.publication(8080, 80));
    await program.start(two, two.publication(8081, 80));
    await serve(two.namespace, 80, "two");
    await one.namespace.shell(
      "ip link set eth0 down; ip link set eth0 name lost; ip link set lost address 02:00:00:00:00:01",
    );
    await program.end(one);
    await using three = await makeContainer(4, network);
    await program.start(three, three.publication(8080, 80));
    await serve(three.namespace, 80, "three");
    await two.namespace.shell("ip address add 10.1.0.9/16 dev eth0");
    expect(await ask(host, "127.0.0.1", 8080)).toBe("three 10.1.0.1");
    await three.namespace.shell("ip link del eth0");
    await eventually(async () => !(await host.devices()).includes(three.endpoints[0]!.device));
    await program.end(three);
    expect(await ask(host, "127.0.0.1", 8081)).toBe("two 10.1.0.1");
    await program.end(two);
    await program.nothingLeft();
  });

  test("an entry can be repeated, also when an earlier run's devices are still there", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1);
    await using container = await makeContainer(2, network);
    await program.start(container);
    // In another namespace now, as after a restart; the old one is held by somebody.
    await using next = await makeNetworkNamespace();
    await program.call({ call: "enter", pid: next.pid, endpoints: container.endpoints });
    expect(await container.namespace.devices()).toEqual(["lo"]);
    await serve(next, 80, "next");
    expect(await ask(host, "10.1.0.2", 80)).toBe("next 10.1.0.1");
  });

  test("devices go with their container, and are taken away where its namespace is held by somebody", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1);
    await using pair = await both(network);
    const [one, two] = pair;
    await program.start(one);
    await program.start(two);
    await one.namespace[Symbol.asyncDispose]();
    for (const { endpoints } of [one, two]) {
      await program.call({ call: "remove", endpoints, isEnding: true });
      expect(await host.devices()).not.toContain(endpoints[0]!.device);
    }
    await program.nothingLeft();
    expect(await two.namespace.devices()).toEqual(["lo"]);
  });

  test("beside a firewall that forwards nothing, it is let through as docs/networks.md says", async () => {
    await using host = await makeNetworkNamespace();
    await using other = await makeNetworkNamespace();
    await host.connect(other);
    await host.shell(
      "nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
    );
    await using program = await startHostNetworks(host);
    await using container = await makeContainer(2, networkOf(1));
    await program.start(container, container.publication(8080, 80));
    await Promise.all([serve(container.namespace, 80, "web"), serve(other, 7000, "other")]);
    expect(await ask(other, "10.99.0.1", 8080, { patience: 2 })).toBe(SILENCE);
    for (const way of ["iifname", "oifname"])
      await host.shell(`nft 'insert rule ip filter FORWARD ${way} "ctd-*" accept'`);
    expect(await ask(other, "10.99.0.1", 8080)).toBe("web 10.99.0.2");
    expect(await ask(container.namespace, "10.99.0.2", 7000)).toBe("other 10.99.0.1");
    // Ours still decide.
    await other.shell("ip route add 10.1.0.0/16 via 10.99.0.1");
    expect(await ask(other, "10.1.0.2", 80, { patience: 2 })).toBe(SILENCE);
  });

  test("the sysctls that docs/networks.md names are changed, and no others", async () => {
    await using host = await makeNetworkNamespace();
    await using other = await makeNetworkNamespace();
    await host.connect(other);
    await using program = await startHostNetworks(host);
    const values = async () => {
      const lines = (await host.shell("cd /proc/sys/net && grep -rHs '' ipv4 ipv6 bridge || true")).split("\n");
      // Of the kernel's own accord: what it counts, and makes up.
      const isSteady = (line: string) => !/secret|mtu_expires|stable|neigh.*default|all\/accept_redirects/.test(line);
      return lines.filter((line) => isSteady(line) && !line.includes("/ct")).sort();
    };
    const wrote = async (network: Network) => {
      const before = await values();
      await using container = await makeContainer(2, network);
      await program.call({ call: "prepare", endpoints: container.endpoints });
      const after = await values();
      const bridge = async (name: string) =>
        await host.shell(`cat /proc/sys/net/${name.replace("BRIDGE", network.bridge)}`);
      const own = {
        localnet: await bridge("ipv4/conf/BRIDGE/route_localnet"),
        off6: await bridge("ipv6/conf/BRIDGE/disable_ipv6"),
      };
      await program.end(container);
      return { changed: after.filter((line) => !before.includes(line)), own };
    };
    await host.shell("echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding");
    await host.shell("echo 1 >/proc/sys/net/ipv6/conf/cable/accept_ra; echo 0 >/proc/sys/net/ipv6/conf/lo/accept_ra");
    expect(await wrote(networkOf(1, { internal: true }))).toEqual({ changed: [], own: { localnet: "1", off6: "1" } });
    const forwarding = (family: string, devices: string[]) =>
      devices.map((device) => `${family}/conf/${device}/forwarding:1`);
    const of4 = await wrote(networkOf(2));
    expect(of4.changed).toEqual(["ipv4/ip_forward:1", ...forwarding("ipv4", ["all", "default", "lo", "cable"])].sort());
    const of6 = await wrote(networkOf(3, { ipv6: true }));
    expect(of6.own).toEqual({ localnet: "1", off6: "0" });
    expect(of6.changed).toEqual(
      ["ipv6/conf/cable/accept_ra:2", ...forwarding("ipv6", ["all", "default", "lo", "cable"])].sort(),
    );
  });

  test("many come at once, and go at once", async () => {
    await using host = await makeNetworkNamespace();
    await using program = await startHostNetworks(host);
    const network = networkOf(1);
    const containers = await Promise.all(Array.from({ length: 20 }, (_, index) => makeContainer(index + 2, network)));
    try {
      await Promise.all(
        containers.map((container, index) => program.start(container, container.publication(9000 + index, 80))),
      );
      const rules = await program.ruleset();
      for (const [index, { address }] of containers.entries())
        expect(rules).toContain(`${9000 + index} : ${address} . 80`);
      await Promise.all(containers.map((container) => program.end(container)));
      await program.nothingLeft();
    } finally {
      await Promise.all(containers.map((container) => container[Symbol.asyncDispose]()));
    }
  });

  test("without nft, or with one that hangs or fails, a network can't be had, which says why; nothing is left", async () => {
    const directory = mkdtempSync(directoryPrefix());
    try {
      const programs = {
        missing: { text: "", mode: 0o600, says: /needs? the package nftables/ },
        failing: { text: "#!/bin/sh\necho 'no such thing' >&2\nexit 3\n", mode: 0o700, says: /no such thing/ },
        hanging: { text: "#!/bin/sh\nexec sleep 100000\n", mode: 0o700, says: /no answer within 15000 ms/ },
      };
      for (const [name, { text, mode, says }] of Object.entries(programs)) {
        const path = join(directory, name);
        writeFileSync(path, text);
        chmodSync(path, mode);
        await using host = await makeNetworkNamespace();
        await using program = await startHostNetworks(host, undefined, { nft: path });
        await using container = await makeContainer(2, networkOf(1));
        await expect(program.start(container)).rejects.toThrow(says);
        await program.end(container);
        await program.nothingLeft();
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

/** Two containers of a network, which end together. */
async function both(network: Network): Promise<[FakeContainer, FakeContainer] & AsyncDisposable> {
  const two: [FakeContainer, FakeContainer] = [await makeContainer(2, network), await makeContainer(3, network)];
  const dispose = async () => {
    for (const container of two) await container[Symbol.asyncDispose]();
  };
  return Object.assign(two, { [Symbol.asyncDispose]: dispose });
}

/** What a host's networks let through, and what they don't, whatever a container tries. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { full } from "../harness/extent.js";
import {
  type FakeContainer,
  type HostNetworksProgram,
  makeContainer,
  networkOf,
  startHostNetworks,
} from "../harness/host-networks.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { ask, SILENCE, serve } from "../harness/talk.js";

const REFUSED = "failed: Connection refused";

describe.skipIf(!full)("networks", () => {
  let host: NetworkNamespace;
  let other: NetworkNamespace;
  let program: HostNetworksProgram;
  const all: FakeContainer[] = [];
  /** Of two networks with a way out, one without, one whose containers don't reach each other: two of each. */
  const containers: Record<string, FakeContainer> = {};

  beforeAll(async () => {
    host = await makeNetworkNamespace();
    other = await makeNetworkNamespace();
    await host.connect(other);
    // As on most hosts; rules.test.ts has it the other way.
    await host.shell(
      "if cd /proc/sys/net/bridge; then echo 0 >bridge-nf-call-iptables; echo 0 >bridge-nf-call-ip6tables; fi",
    );
    program = await startHostNetworks(host);
    const networks = {
      a: networkOf(1, { ipv6: true }),
      b: networkOf(2, { ipv6: true }),
      inside: networkOf(3, { internal: true }),
      apart: networkOf(4, { isolated: true, ipv6: true }),
    };
    for (const [name, network] of Object.entries(networks)) {
      for (const number of [2, 3]) {
        const container = await makeContainer(number, network);
        all.push(container);
        containers[`${name}${number}`] = container;
      }
    }
    const port = (name: string, number: number, more = {}) => containers[name]!.publication(number, 80, more);
    await program.start(
      containers.a2!,
      port("a2", 8001),
      port("a2", 8001, { protocol: "udp" }),
      port("a2", 8001, { hostAddress: "::" }),
      port("a2", 8009, { hostAddress: "127.0.0.1" }),
      port("a2", 8010, { hostAddress: "10.99.0.1" }),
      port("a2", 8011, { hostAddress: "fd99::1" }),
    );
    await program.start(containers.b2!, port("b2", 8002));
    await program.start(containers.inside2!, port("inside2", 8003));
    await program.start(containers.apart2!, port("apart2", 8004));
    for (const name of ["a3", "b3", "inside3", "apart3"]) await program.start(containers[name]!);
    const servers = Object.entries(containers).flatMap(([name, { namespace, endpoints }]) => {
      const address = endpoints[0]!.address6 === "" ? "0.0.0.0" : "::";
      return [
        serve(namespace, 80, name, { host: address }),
        serve(namespace, 80, name, { protocol: "udp", host: address }),
      ];
    });
    await Promise.all([
      ...servers,
      serve(host, 7000, "host", { host: "::" }),
      serve(other, 7000, "other", { host: "::" }),
    ]);
  });
  afterAll(async () => {
    await Promise.all(all.map((container) => container[Symbol.asyncDispose]()));
    await program?.[Symbol.asyncDispose]();
    await Promise.all([host, other].map((namespace) => namespace?.[Symbol.asyncDispose]()));
  });

  const from = (name: string) => containers[name]!.namespace;
  const plain = (text: string) => text.replaceAll("::ffff:", "");
  const asked = async (...args: Parameters<typeof ask>) => plain(await ask(...args));
  /** Where nothing may come back, that is waited for for a moment. */
  const expectSilence = async (...[namespace, address, port, options]: Parameters<typeof ask>) =>
    expect(await ask(namespace, address, port, { ...options, patience: 2 })).toBe(SILENCE);

  test("a container reaches who is on its network, by both families", async () => {
    expect(await asked(from("a3"), "10.1.0.2", 80)).toBe("a2 10.1.0.3");
    expect(await asked(from("a3"), "fd00:1::2", 80)).toBe("a2 fd00:1::3");
    expect(await asked(from("inside3"), "10.3.0.2", 80)).toBe("inside2 10.3.0.3");
  });

  test("a container reaches what is outside in the host's name, by both families; from an internal network nothing", async () => {
    expect(await asked(from("a3"), "10.99.0.2", 7000)).toBe("other 10.99.0.1");
    expect(await asked(from("a3"), "fd99::2", 7000)).toBe("other fd99::1");
    expect(await asked(from("apart3"), "10.99.0.2", 7000)).toBe("other 10.99.0.1");
    expect(await asked(from("inside3"), "10.99.0.2", 7000)).toBe("failed: Network is unreachable");
    // It is not the missing route alone.
    await from("inside3").shell("ip route add default via 10.3.0.1");
    expect(await asked(from("inside3"), "10.99.0.2", 7000)).toBe(REFUSED);
    expect(await asked(from("inside3"), "10.1.0.2", 80)).toBe(REFUSED);
    expect(await asked(from("inside3"), "10.99.0.1", 8001)).toBe(REFUSED);
    expect(await asked(from("inside3"), "10.3.0.1", 7000)).toBe("host 10.3.0.3");
  });

  test("what belongs to no connection does not leave with the container's own address", async () => {
    await other.shell(
      "nft -f -",
      `add table ip seen
add chain ip seen input { type filter hook input priority -300; }
add rule ip seen input icmp type echo-reply counter
add rule ip seen input tcp dport 7000 counter
`,
    );
    // An answer that nobody has asked for.
    const send = `perl -MSocket -e 'socket(S, PF_INET, SOCK_RAW, 1) or die $!;
      send(S, pack("C2n3", 0, 0, 65533, 1, 1), 0, pack_sockaddr_in(0, inet_aton("10.99.0.2"))) or die $!'`;
    await from("a3").shell(send);
    expect(await asked(from("a3"), "10.99.0.2", 7000)).toBe("other 10.99.0.1");
    const seen = await other.shell("nft list table ip seen; nft delete table ip seen");
    expect(seen).toMatch(/echo-reply counter packets 0 /);
    expect(seen).toMatch(/dport 7000 counter packets [1-9]/);
  });

  test("a container that is on two networks goes out by the first, and by the other one when it is told to", async () => {
    const [a, b] = [containers.a2!, containers.b2!].map(({ endpoints }) => endpoints[0]!.network);
    await using container = await makeContainer(9, a!, b!);
    await program.start(container);
    const { namespace, endpoints } = container;
    expect(await asked(namespace, "10.1.0.2", 80)).toBe("a2 10.1.0.9");
    expect(await asked(namespace, "10.2.0.2", 80)).toBe("b2 10.2.0.9");
    const gateways = async () =>
      (await namespace.shell("ip route show default; ip -6 route show default")).match(/via \S+ dev \S+/g);
    expect(await gateways()).toEqual(["via 10.1.0.1 dev eth0", "via fd00:1::1 dev eth0"]);
    await program.call({ call: "remove", endpoints: [endpoints[0]!] });
    expect(await gateways()).toEqual(null);
    await program.call({ call: "route", pid: namespace.pid, endpoints: [endpoints[1]!] });
    expect(await gateways()).toEqual(["via 10.2.0.1 dev eth1", "via fd00:2::1 dev eth1"]);
    await program.call({ call: "route", pid: namespace.pid, endpoints: [endpoints[1]!] });
    expect(await asked(namespace, "10.99.0.2", 7000)).toBe("other 10.99.0.1");
    await program.call({ call: "remove", endpoints: [endpoints[1]!] });
  });

  test("networks don't reach each other but by published ports", async () => {
    expect(await asked(from("a3"), "10.2.0.2", 80)).toBe(REFUSED);
    expect(await asked(from("a3"), "fd00:2::2", 80)).toBe(REFUSED);
    expect(await asked(from("a3"), "10.3.0.2", 80)).toBe(REFUSED);
    expect(await asked(from("a3"), "10.2.0.2", 80, { protocol: "udp" })).toBe("failed: No route to host");
    expect(await asked(from("a3"), "10.99.0.1", 8002)).toBe("b2 10.1.0.3");
    expect(await asked(from("b2"), "10.1.0.1", 8002)).toBe("b2 10.2.0.1");
  });

  test("containers of an isolated network don't reach each other, whatever routes and neighbours they make up", async () => {
    expect(await asked(from("apart3"), "10.4.0.2", 80)).toBe(REFUSED);
    expect(await asked(from("apart3"), "fd00:4::2", 80)).toBe(REFUSED);
    expect(await asked(from("apart3"), "10.99.0.1", 8004)).toBe("apart2 10.4.0.1");
    const mac = containers.apart2!.endpoints[0]!.mac;
    await from("apart3").shell(`ip route add 10.4.0.2 dev eth0; ip neigh add 10.4.0.2 lladdr ${mac} dev eth0`);
    await expectSilence(from("apart3"), "10.4.0.2", 80);
  });

  test("published ports are reached by each of their addresses, by both protocols", async () => {
    expect(await asked(other, "10.99.0.1", 8001)).toBe("a2 10.99.0.2");
    expect(await asked(other, "10.99.0.1", 8001, { protocol: "udp" })).toBe("a2 10.99.0.2");
    expect(await asked(host, "127.0.0.1", 8001, { protocol: "udp" })).toBe("a2 10.1.0.1");
    expect(await asked(other, "fd99::1", 8001)).toBe("a2 fd99::2");
    expect(await asked(host, "fd99::1", 8001)).toBe("a2 fd99::1");
    expect(await asked(from("a2"), "10.99.0.1", 8001, { protocol: "udp" })).toBe("a2 10.1.0.1");
    expect(await asked(from("a2"), "fd99::1", 8001)).toBe("a2 fd00:1::1");

    expect(await asked(host, "127.0.0.1", 8009)).toBe("a2 10.1.0.1");
    expect(await asked(host, "10.99.0.1", 8009)).toBe("failed: Connection refused");
    expect(await asked(other, "10.99.0.1", 8009)).toBe("failed: Connection refused");
    expect(await asked(other, "10.99.0.1", 8010)).toBe("a2 10.99.0.2");
    expect(await asked(host, "127.0.0.1", 8010)).toBe("failed: Connection refused");
    expect(await asked(other, "fd99::1", 8011)).toBe("a2 fd99::2");
  });

  test("an internal network's published port is the host's alone", async () => {
    expect(await asked(host, "127.0.0.1", 8003)).toBe("inside2 10.3.0.1");
    expect(await asked(host, "10.99.0.1", 8003)).toBe("inside2 10.3.0.1");
    await expectSilence(other, "10.99.0.1", 8003);
  });

  test("another machine that sends to a container's address directly gets nothing", async () => {
    await other.shell("ip route add 10.1.0.0/16 via 10.99.0.1; ip route add fd00:1::/64 via fd99::1");
    await expectSilence(other, "10.1.0.2", 80);
    await expectSilence(other, "fd00:1::2", 80);
  });

  test("the host's own 127.0.0.1 is not a container's, and none goes out with an address that is not its own network's", async () => {
    await serve(host, 7001, "secret", { host: "127.0.0.1" });
    const { namespace } = containers.a3!;
    await namespace.shell(
      "ip route add 127.0.0.1/32 via 10.1.0.1 dev eth0 src 10.1.0.3 table 9 && ip rule add priority 0 from 10.1.0.3 table 9",
    );
    await namespace.shell("ip link set lo down; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
    expect(await ask(namespace, "127.0.0.1", 7001, { from: "10.1.0.3", patience: 2 })).toMatch(/^failed: /);
    await namespace.shell("ip rule del priority 0; ip link set lo up");

    await namespace.shell("ip address add 10.77.0.1/32 dev eth0");
    await expectSilence(namespace, "10.99.0.2", 7000, { from: "10.77.0.1" });
    await other.shell("ip route add 10.77.0.0/16 via 10.99.0.1");
    await expectSilence(namespace, "10.99.0.2", 7000, { from: "10.77.0.1" });
  });
});

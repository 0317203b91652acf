/** The rules of containers with `egress`, in namespaces of this test: a host, two containers on a bridge, and what is outside. */
import { expect, onTestFinished, test } from "vitest";
import { portSet } from "../../src/contract/netd/egress.js";
import {
  egressClose,
  egressDeclarations,
  egressOpen,
  egressPrefix,
  triedSet,
} from "../../src/core/network/egress-rules.js";
import type { ContainerRules, Endpoint, Network } from "../../src/core/network/network.js";
import { full } from "../harness/extent.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { connectFrom, serve } from "../harness/network-probe.js";

const TABLE = "containerd-ts-0123abcd";
const NAME = { namespace: "default", container: "shut" };
const PREFIX = egressPrefix(NAME);
const SHUT = { address: "10.98.0.2", address6: "fd98::2", mac: "02:42:0a:62:00:02", device: "ctv000000000002" };
const OTHER = { address: "10.98.0.3", address6: "fd98::3", mac: "02:42:0a:62:00:03", device: "ctv000000000003" };

function rulesFor(egress: string[]): ContainerRules {
  const network = { bridge: "ctd-00000001", gateway: "10.98.0.1", gateway6: "fd98::1" } as Network;
  const endpoint: Endpoint = { ...NAME, ...SHUT, network, inside: "eth0", isDefaultRoute: true };
  return { endpoints: [endpoint], publications: [], egress };
}

/** A bridge, with a container's pair of devices for each namespace. */
async function attach(host: NetworkNamespace, place: typeof SHUT, container: NetworkNamespace, isShut: boolean) {
  await host.shell(`
    ip link add ${place.device} type veth peer name eth0 netns ${container.pid}
    ip link set ${place.device} master ctd-00000001 up`);
  await container.shell(`
    ip link set eth0 address ${place.mac}
    ip address add ${place.address}/${isShut ? 32 : 24} dev eth0
    ip address add ${place.address6}/${isShut ? 128 : 64} dev eth0 nodad
    ip link set eth0 up
    ${isShut ? "ip route add 10.98.0.1 dev eth0 scope link; ip route add fd98::1 dev eth0" : ""}
    ip route add default via 10.98.0.1
    ip route add default via fd98::1`);
}

async function lab(egress: string[]) {
  const make = async () => {
    const namespace = await makeNetworkNamespace();
    onTestFinished(() => namespace[Symbol.asyncDispose]());
    return namespace;
  };
  const [host, shut, other, outside] = await Promise.all([make(), make(), make(), make()]);
  await host.shell(`
    ip link add ctd-00000001 type bridge
    ip address add 10.98.0.1/24 dev ctd-00000001
    ip address add fd98::1/64 dev ctd-00000001 nodad
    ip link set ctd-00000001 up
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding`);
  await host.connect(outside);
  await host.shell("ip route add default via 10.99.0.2; ip route add default via fd99::2");
  await outside.shell(`
    ip route add default via 10.99.0.1; ip route add default via fd99::1
    ip address add 10.99.0.3/24 dev cable; ip address add 169.254.169.254/32 dev cable
    ip address add fd99::3/64 dev cable nodad`);
  await attach(host, SHUT, shut, true);
  await attach(host, OTHER, other, false);
  const nft = (commands: string) => host.shell("nft -f -", commands);
  const rules = rulesFor(egress);
  await nft(`${egressDeclarations(TABLE)}\n${egressOpen(TABLE, NAME, rules)}`);
  const servers = await Promise.all([outside, other, host].map((where) => serve(where, 80, 81, 5432)));
  const grant = (address: string, port: number, time = "60s") =>
    nft(
      `add element inet ${TABLE} ${portSet(PREFIX, address.includes(":") ? 6 : 4)} { ${address} . ${port} timeout ${time} }`,
    );
  return { host, shut, other, outside, nft, rules, grant, servers };
}

test.skipIf(!full)(
  "nothing can be reached but what was named, and what a name has let in; all of it is written down",
  async () => {
    const { host, shut, other, grant, nft, rules } = await lab(["10.99.0.3:5432", "fd99::3", "10.99.0.0/24:81"]);
    await grant("10.99.0.2", 80);
    await grant("fd99::2", 80);
    const reached = async (...to: [string, number][]) =>
      Promise.all(to.map(async ([address, port]) => [address, port, await connectFrom(shut, address, port)]));
    const open: [string, number][] = [
      ["10.99.0.2", 80],
      ["fd99::2", 80],
      ["10.99.0.3", 5432],
      ["fd99::3", 81],
      ["10.99.0.2", 81],
    ];
    expect(await reached(...open)).toEqual(open.map((place) => [...place, "open"]));
    const closed: [string, number][] = [
      // Other ports, other addresses, where clouds tell secrets.
      ["10.99.0.2", 5432],
      ["fd99::2", 81],
      ["10.99.0.3", 80],
      ["169.254.169.254", 80],
      // The host, by each of its addresses: in a range that was named, too.
      ["10.98.0.1", 80],
      ["10.99.0.1", 81],
      ["fd98::1", 80],
      ["fd99::1", 80],
      // Others on the bridge.
      ["10.98.0.3", 80],
      ["fd98::3", 80],
    ];
    expect(await reached(...closed)).toEqual(closed.map((place) => [...place, "refused"]));
    const tried = await host.shell(
      `nft list set inet ${TABLE} ${triedSet(PREFIX, 4)}; nft list set inet ${TABLE} ${triedSet(PREFIX, 6)}`,
    );
    for (const [address, port] of closed) expect(tried).toContain(`${address} . tcp . ${port} counter`);
    for (const [address, port] of open) expect(tried).not.toContain(`${address} . tcp . ${port} `);
    // Others are as they were, and reach it no more than it does them.
    expect(await connectFrom(other, "10.99.0.3", 80)).toBe("open");
    expect(await connectFrom(host, "10.98.0.3", 80)).toBe("open");
    // What is taken away leaves nothing of it, and can come again.
    await nft(egressClose(TABLE, NAME, rules));
    expect(await host.shell("nft list ruleset")).not.toMatch(new RegExp(`${PREFIX}|${SHUT.device}`));
    await nft(egressOpen(TABLE, NAME, rules));
  },
);

test.skipIf(!full)("names let in neither the host, nor containers, nor what is nobody's outside", async () => {
  const { host, shut, nft, grant } = await lab([]);
  // Published by the host: a port of the other container.
  await nft(
    "table ip nat { chain pre { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 10.98.0.3:80; }; }",
  );
  await connectFrom(shut, "10.98.0.3", 80);
  const addresses = ["10.98.0.1", "10.99.0.1", "fd98::1", "fd99::1", "10.98.0.3", "fd98::3", "169.254.169.254"];
  for (const address of addresses) await grant(address, 80);
  await grant("10.99.0.1", 8080);
  for (const address of addresses)
    expect([address, await connectFrom(shut, address, 80)]).toEqual([address, "refused"]);
  // Where the kernel has bridges' packets go through the rules of IP (br_netfilter) it is the bridge that drops this one.
  expect(await connectFrom(shut, "10.99.0.1", 8080)).not.toBe("open");
  expect(await connectFrom(host, "10.98.0.2", 80)).toBe("refused");
});

test.skipIf(!full)("an address is let in for its time, and a connection made meanwhile goes on", async () => {
  const { shut, grant, host } = await lab([]);
  await grant("10.99.0.2", 80, "1h");
  const script = `const socket = require("node:net").connect(80, "10.99.0.2");
    let count = 0;
    socket.on("data", () => console.log("got " + ++count));
    process.stdin.on("data", () => socket.write("more")).resume();
    socket.on("error", (error) => console.log(error.code));`;
  const child = shut.spawn(process.execPath, "-e", script);
  let said = "";
  child.stdout!.on("data", (data) => {
    said += data;
  });
  await expect.poll(() => said, { timeout: 30_000 }).toContain("got 1");
  await host.shell(`nft delete element inet ${TABLE} ${portSet(PREFIX, 4)} '{ 10.99.0.2 . 80 }'`);
  expect(await connectFrom(shut, "10.99.0.2", 80)).toBe("refused");
  child.stdin!.write("x\n");
  // The server answers what it is told.
  await expect.poll(() => said, { timeout: 30_000 }).toContain("got 2");
});

test.skipIf(!full)("who changes address, MAC or kind of frame reaches nobody, and takes nobody's traffic", async () => {
  const { host, shut, outside, servers } = await lab(["10.99.0.3:80", "10.2.3.4/8:5000"]);
  const [outsideServer] = servers;
  const isOpen = () => connectFrom(shut, "10.99.0.3", 80);
  expect(await isOpen()).toBe("open");
  const neighbour = () =>
    host.shell(
      "ip neigh show 10.98.0.3; ip -6 neigh show fd98::3 | sed s/router//; bridge fdb show | grep 02:42:0a:62:00:03 | grep -v permanent",
    );
  await connectFrom(host, "10.98.0.3", 80);
  await connectFrom(host, "fd98::3", 80);
  const before = outsideServer!.said().split("from ").length;
  // Another one's address: one that nobody has, and that of the other container, told to the host by ARP and neighbour advertisements.
  await shut.shell(`
    echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify
    echo 1 > /proc/sys/net/ipv6/conf/eth0/ndisc_notify
    ip address add 10.98.0.77/32 dev eth0; ip address add 10.98.0.3/32 dev eth0
    ip address add fd98::77/128 dev eth0 nodad; ip address add fd98::3/128 dev eth0 nodad`);
  for (const [to, source] of [
    ["10.99.0.2", "10.98.0.77"],
    ["10.99.0.2", "10.98.0.3"],
    ["fd99::2", "fd98::77"],
    ["fd99::2", "fd98::3"],
  ])
    expect([source, await connectFrom(shut, to!, 81, source)]).not.toEqual([source, "open"]);
  expect(await neighbour()).not.toContain("02:42:0a:62:00:02");
  expect(await connectFrom(host, "10.98.0.3", 80)).toBe("open");
  expect(await connectFrom(host, "fd98::3", 80)).toBe("open");
  await shut.shell(
    "ip address del 10.98.0.3/32 dev eth0; ip address del fd98::3/128 dev eth0; ip address del 10.98.0.77/32 dev eth0",
  );
  // Its own address with the other one's MAC.
  await shut.shell(
    "ip link set eth0 address 02:42:0a:62:00:03; ip route replace 10.98.0.1 dev eth0; ip route replace default via 10.98.0.1",
  );
  expect(await connectFrom(shut, "10.99.0.3", 80)).not.toBe("open");
  expect(await host.shell("bridge fdb show")).not.toMatch(new RegExp(`02:42:0a:62:00:03 dev ${SHUT.device}`));
  await shut.shell(
    `ip link set eth0 address ${SHUT.mac}; ip route replace 10.98.0.1 dev eth0; ip route replace default via 10.98.0.1`,
  );
  // Frames straight to the other container's MAC.
  await shut.shell(`ip route add 10.98.0.3/32 dev eth0; ip neigh replace 10.98.0.3 lladdr ${OTHER.mac} dev eth0`);
  expect(await connectFrom(shut, "10.98.0.3", 80)).not.toBe("open");
  // Nobody outside has seen any of it, and what was named is as it was.
  expect(outsideServer!.said().split("from ").length).toBe(before);
  expect(await isOpen()).toBe("open");
  expect(await connectFrom(outside, "10.98.0.3", 80)).toBe("open");
});

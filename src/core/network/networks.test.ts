import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EventBus } from "../events/event-bus.js";
import { Namespaces } from "../metadata/namespaces.js";
import { Store } from "../metadata/store.js";
import { parseSubnet } from "./ip-address.js";
import { Networks, type NewNetwork } from "./networks.js";
import type { HostSubnets } from "./subnets.js";

const PLAIN: NewNetwork = {
  ...{ name: "one", subnet: "", gateway: "", ipv6: false, subnet6: "", gateway6: "" },
  ...{ internal: false, isolated: false, labels: {}, mtu: 0 },
};
const HOST: HostSubnets = {
  addresses: [parseSubnet("172.18.0.5/32")!],
  routes: [parseSubnet("172.17.0.0/16")!, parseSubnet("10.0.0.0/8")!],
};

let directory: string;
let store: Store;

function open(): Networks {
  store = new Store(join(directory, "metadata"));
  return new Networks(store, new Namespaces(store, new EventBus()), () => HOST);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "ctd-networks-"));
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

test("bridge is made at its first use, of a subnet that the host has neither an address nor a route in", async () => {
  const networks = open();
  expect(await networks.find("default", "bridge")).toBeUndefined();
  const [bridge, again] = await Promise.all([networks.get("default", "bridge"), networks.get("default", "bridge")]);
  expect(bridge).toEqual(again);
  expect(bridge).toMatchObject({ subnet: "172.19.0.0/16", gateway: "172.19.0.1", mtu: 1500, subnet6: "" });
  expect(bridge.bridge).toBe(`ctd-${bridge.id.slice(0, 8)}`);
  // Namespaces have networks of their own, and the host has all of them.
  expect((await networks.get("other", "bridge")).subnet).toBe("172.20.0.0/16");
});

test("networks are found by name, id and the beginning of an id, also by a later daemon", async () => {
  const before = await open().create("default", { ...PLAIN, ipv6: true, labels: { a: "b" } });
  expect(before.subnet6).toMatch(/^fd[0-9a-f:]+::\/64$/);
  expect(before.gateway6).toBe(before.subnet6.replace("/64", "1"));
  await store.close();
  const networks = open();
  for (const text of ["one", before.id, before.id.slice(0, 12)])
    expect(await networks.get("default", text)).toEqual(before);
  await expect(networks.get("other", "one")).rejects.toMatchObject({ kind: "not-found" });
  await networks.remove("default", before.id, () => {});
  await expect(networks.get("default", "one")).rejects.toThrow('no network "one" in namespace "default"');
  expect(await networks.list("default")).toEqual([]);
});

test("what is refused says why, and nothing is made", async () => {
  const networks = open();
  await networks.create("default", { ...PLAIN, subnet: "10.1.0.0/16", gateway: "10.1.255.1" });
  const refused: [Partial<NewNetwork>, RegExp, string][] = [
    [{ name: "" }, /network name ""/, "invalid-argument"],
    [{ name: "host" }, /it means something else/, "invalid-argument"],
    [{ subnet: "10.2.0.0" }, /subnet "10\.2\.0\.0": it must be an IPv4 subnet/, "invalid-argument"],
    [{ subnet: "10.2.0.1/16" }, /10\.2\.0\.0\/16 may be meant/, "invalid-argument"],
    [{ subnet: "10.2.0.0/31" }, /no container/, "invalid-argument"],
    [{ subnet: "127.0.0.0/24" }, /no addresses of hosts/, "invalid-argument"],
    [{ subnet: "fd00::/64" }, /IPv4 subnet/, "invalid-argument"],
    [{ subnet: "10.1.2.0/24" }, /network "one" .* has 10\.1\.0\.0\/16/, "failed-precondition"],
    [{ subnet: "172.18.0.0/16" }, /172\.18\.0\.5 is an address of this host/, "failed-precondition"],
    [{ subnet: "172.16.0.0/12" }, /is an address of this host/, "failed-precondition"],
    [{ subnet: "172.17.0.0/16" }, /a route to 172\.17\.0\.0\/16/, "failed-precondition"],
    [{ subnet: "10.2.0.0/16", gateway: "10.3.0.1" }, /gateway "10\.3\.0\.1": it is not in/, "invalid-argument"],
    [{ gateway: "10.3.0.1" }, /goes with a subnet/, "invalid-argument"],
    [{ mtu: 60 }, /mtu 60/, "invalid-argument"],
    [{ mtu: 1000, ipv6: true }, /mtu 1000/, "invalid-argument"],
    [{ name: "one" }, /there is a network named "one"/, "already-exists"],
  ];
  for (const [wanted, text, kind] of refused) {
    const made = networks.create("default", { ...PLAIN, name: "two", ...wanted });
    await expect(made, JSON.stringify(wanted)).rejects.toMatchObject({ kind, message: expect.stringMatching(text) });
  }
  await expect(networks.create("default", { ...PLAIN, name: "two", subnet: "10.1.0.0/16" })).rejects.toThrow();
  expect((await networks.list("default")).map(({ name }) => name)).toEqual(["one"]);
});

test("one that is used is not removed", async () => {
  const networks = open();
  const { id } = await networks.create("default", PLAIN);
  const used = networks.remove("default", id, () => {
    throw new Error("used");
  });
  await expect(used).rejects.toThrow("used");
  expect(networks.byId(id)?.name).toBe("one");
});

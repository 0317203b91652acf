import { expect, test } from "vitest";
import { Addresses, macOf } from "./addresses.js";
import type { Network } from "./network.js";
import { Ports } from "./ports.js";

const NETWORK = {
  ...{
    id: "1",
    name: "one",
    subnet: "10.1.0.0/24",
    gateway: "10.1.0.1",
    subnet6: "fd00:1::/64",
    gateway6: "fd00:1::1",
  },
} as Network;
const holder = (key: string) => ({ key, text: `container "${key}"` });

test("addresses are chosen in turn, and those given back come last", () => {
  const addresses = new Addresses();
  expect(addresses.take(NETWORK, 4, "", holder("a"))).toBe("10.1.0.2");
  expect(addresses.take(NETWORK, 4, "", holder("b"))).toBe("10.1.0.3");
  addresses.release(NETWORK, holder("a"));
  expect(addresses.take(NETWORK, 4, "", holder("c"))).toBe("10.1.0.4");
  expect(addresses.take(NETWORK, 6, "", holder("c"))).toBe("fd00:1::2");
});

test("10,000 starts leak none", () => {
  const addresses = new Addresses();
  for (let start = 0; start < 10_000; start++) {
    addresses.take(NETWORK, 4, "", holder(String(start)));
    addresses.take(NETWORK, 6, "", holder(String(start)));
    if (start >= 200) addresses.release(NETWORK, holder(String(start - 200)));
  }
  expect(addresses.count).toBe(400);
});

test("a network that is full says so, and who has an address that is taken", () => {
  const addresses = new Addresses();
  const found = new Set(Array.from({ length: 253 }, (_, index) => addresses.take(NETWORK, 4, "", holder(`${index}`))));
  expect(found.size).toBe(253);
  expect(found.has("10.1.0.1")).toBe(false);
  expect(() => addresses.take(NETWORK, 4, "", holder("more"))).toThrow("no free address: all of 253 are taken");
  expect(() => addresses.take(NETWORK, 4, "10.1.0.2", holder("more"))).toThrow(
    'address 10.1.0.2 on network "one" is taken: container "0" has it',
  );
  addresses.release(NETWORK, holder("0"));
  expect(addresses.take(NETWORK, 4, "10.1.0.2", holder("more"))).toBe("10.1.0.2");
});

test("an address that no container can have is refused", () => {
  const addresses = new Addresses();
  const wanted: [string, string][] = [
    ["10.2.0.1", "not in 10.1.0.0/24"],
    ["10.1.0.0", "the first of"],
    ["10.1.0.255", "the last of"],
    ["10.1.0.1", "the gateway"],
    ["x", "no IP address"],
  ];
  for (const [address, why] of wanted) expect(() => addresses.take(NETWORK, 4, address, holder("a"))).toThrow(why);
  expect(() => addresses.take({ ...NETWORK, id: "2", subnet6: "" }, 6, "fd00::2", holder("a"))).toThrow("has no IPv6");
  expect(addresses.count).toBe(0);
});

test("a MAC address is made of the address", () => {
  expect(macOf("172.17.0.2")).toBe("02:42:ac:11:00:02");
});

test("a port of the host is one container's, whatever the address by which it is asked for", () => {
  const ports = new Ports();
  const all = { protocol: "tcp", hostAddress: "0.0.0.0", hostPort: 80 } as const;
  ports.take([all, { ...all, hostAddress: "::" }], holder("a"));
  expect(() =>
    ports.take(
      [
        { ...all, hostPort: 81 },
        { ...all, hostAddress: "127.0.0.1" },
      ],
      holder("b"),
    ),
  ).toThrow('port 127.0.0.1:80/tcp of the host is taken: container "a" has published it');
  expect(ports.count).toBe(2);
  ports.take([{ ...all, protocol: "udp" }], holder("b"));
  ports.release([all, { ...all, hostAddress: "::" }], holder("b"));
  expect(ports.count).toBe(3);
  ports.release([all], holder("a"));
  ports.take([{ ...all, hostAddress: "127.0.0.1" }], holder("b"));
  ports.take([{ ...all, hostAddress: "127.0.0.2" }], holder("c"));
  expect(() => ports.take([all], holder("d"))).toThrow("is taken");
});

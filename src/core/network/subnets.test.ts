import { expect, test } from "vitest";
import { addressText, parseAddress, parseSubnet, type Subnet, subnetText } from "./ip-address.js";
import {
  chooseSubnet,
  chooseSubnet6,
  hostSubnets,
  ownAddresses,
  ownAddresses6,
  routesOf,
  routesOf6,
} from "./subnets.js";

test("subnets are chosen as Docker does, 172.17.0.0/16 first, of those that are free", () => {
  const used: Subnet[] = [];
  for (let next = 0; next < 31; next++) used.push(chooseSubnet(used));
  const texts = used.map(subnetText);
  expect(texts[0]).toBe("172.17.0.0/16");
  expect(texts.slice(14, 17)).toEqual(["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]);
  expect(texts[30]).toBe("192.168.240.0/20");
  expect(() => chooseSubnet(used)).toThrow("no subnet is free");
  expect(subnetText(chooseSubnet([parseSubnet("172.16.0.0/12")!]))).toBe("192.168.0.0/20");
});

test("an IPv6 subnet is one of fd00::/8 that nobody has", () => {
  const taken = Buffer.from("0102030405", "hex");
  const others = [taken, Buffer.from("0a0b0c0d0e", "hex")];
  const subnet = chooseSubnet6([parseSubnet("fd01:203:405::/48")!], () => others.shift()!);
  expect(subnetText(subnet)).toBe("fd0a:b0c:d0e::/64");
});

test("what the host has is read of the kernel's tables", () => {
  const trie = [
    "Main:",
    "  +-- 0.0.0.0/0 3 0 5",
    "     |-- 10.0.0.0",
    "        /24 link UNICAST",
    "     |-- 10.0.0.7",
    "        /32 host LOCAL",
    "     |-- 127.0.0.1",
    "        /32 host LOCAL",
    "",
  ].join("\n");
  expect(ownAddresses(trie).map(subnetText)).toEqual(["10.0.0.7/32"]);
  const routes = [
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
    "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0",
    "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
  ].join("\n");
  expect(routesOf(routes).map(subnetText)).toEqual(["172.17.0.0/16"]);
  const addresses6 = [
    "fe80000000000000004211fffe000002 02 40 20 80     eth0",
    "fd000000000000000000000000000007 02 40 00 80     eth0",
    "00000000000000000000000000000001 01 80 10 80       lo",
  ].join("\n");
  expect(ownAddresses6(addresses6).map(subnetText)).toEqual(["fd00::7/128"]);
  const none = "00000000000000000000000000000000";
  const routes6 = `fd000001000000000000000000000000 40 ${none} 00 ${none} 00000100 1 0 1 eth0\n${none} 00 ${none} 00 ${none} ff 1 0 1 lo\n`;
  expect(routesOf6(routes6).map(subnetText)).toEqual(["fd00:1::/64"]);
});

test("this machine's own tables can be read", () => {
  const { addresses, routes } = hostSubnets();
  for (const subnet of [...addresses, ...routes]) expect(parseSubnet(subnetText(subnet))).toEqual(subnet);
});

test("addresses are written as they are read", () => {
  const texts = ["0.0.0.0", "255.1.2.3", "::", "::1", "fd00::", "1:2:3:4:5:6:7:8", "1:0:0:2::3", "2001:db8::1"];
  for (const text of texts) expect(addressText(parseAddress(text)!)).toBe(text);
  expect(addressText(parseAddress("::ffff:1.2.3.4")!)).toBe("::ffff:102:304");
  for (const text of ["", "1.2.3", "fe80::1%eth0", "x", "1.2.3.4/8"]) expect(parseAddress(text)).toBeUndefined();
});

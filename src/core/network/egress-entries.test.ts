import { expect, test } from "vitest";
import { allowedBy } from "../../contract/netd/egress.js";
import { parseEgress } from "./egress-entries.js";

test.each([
  ["packages.example.com:443", { name: "packages.example.com", below: false, port: 443 }],
  ["Example.COM.", { name: "example.com", below: false, port: 0 }],
  ["*.example.org", { name: "example.org", below: true, port: 0 }],
  ["*.example.org:*", { name: "example.org", below: true, port: 0 }],
  ["db:5432", { name: "db", below: false, port: 5432 }],
])("%s is a name", (entry, name) => {
  expect(parseEgress([entry])).toEqual({ names: [name], addresses: [] });
});

test.each([
  ["192.0.2.1", { family: 4, address: "192.0.2.1", prefix: 32, port: 0 }],
  ["10.0.0.0/8:5432", { family: 4, address: "10.0.0.0", prefix: 8, port: 5432 }],
  ["2001:db8::1", { family: 6, address: "2001:db8::1", prefix: 128, port: 0 }],
  ["[2001:db8::/32]:443", { family: 6, address: "2001:db8::", prefix: 32, port: 443 }],
  ["[::1]:*", { family: 6, address: "::1", prefix: 128, port: 0 }],
])("%s is an address, or a range of them", (entry, addresses) => {
  expect(parseEgress([entry])).toEqual({ names: [], addresses: [addresses] });
});

test.each([
  ["", "it has to be NAME"],
  ["*", "leave egress out"],
  ["*.", "it has to be NAME"],
  ["a.*.com", "it has to be NAME"],
  ["https://example.com", "a URL"],
  ["example.com/path", "what is before the slash is no address"],
  ["example.com:0", "the port has to be 1 to 65535"],
  ["example.com:65536", "the port has to be"],
  ["example.com:", "the port has to be"],
  ["example.com:https", "the port has to be"],
  ["bücher.example", "ASCII form"],
  ["exa mple.com", "it has to be NAME"],
  ["-a.com", "it has to be NAME"],
  [`${"a".repeat(64)}.com`, "it has to be NAME"],
  ["a; flush ruleset", "it has to be NAME"],
  ["1.2.3", "no IPv4 address"],
  ["10.0.0.0/33", "the length of the prefix"],
  ["10.0.0.0/8/8", "the length of the prefix"],
  ["10.0.0.0/", "the length of the prefix"],
  ["::1:443:x", "[ADDRESS]:PORT"],
  ["[10.0.0.1]:80", "no IPv6 address"],
  ["fe80::1%eth0", "[ADDRESS]:PORT"],
  ["::ffff:10.0.0.1", "an IPv4 address is written as one"],
])("%j is refused, by an error that quotes it", (entry, why) => {
  expect(() => parseEgress(["ok.example", entry])).toThrow(`egress ${JSON.stringify(entry)}: `);
  expect(() => parseEgress(["ok.example", entry])).toThrow(why);
});

test("there is a most of entries", () => {
  expect(() => parseEgress(Array.from({ length: 201 }, (_, index) => `a${index}`))).toThrow(
    "201 entries: 200 are the most",
  );
  expect(() => parseEgress(Array.from({ length: 50 }, () => "a".repeat(200)))).toThrow("8192 characters");
});

test("a name is allowed by itself, or by what it is below", () => {
  const { names } = parseEgress(["example.com:443", "*.example.org", "a.example.org:80"]);
  const ports = (question: string) => allowedBy(names, question).map(({ port }) => port);
  expect(ports("example.com")).toEqual([443]);
  expect(ports("www.example.com")).toEqual([]);
  expect(ports("example.org")).toEqual([]);
  expect(ports("b.example.org")).toEqual([0]);
  expect(ports("a.example.org")).toEqual([0, 80]);
  expect(ports("notexample.org")).toEqual([]);
});

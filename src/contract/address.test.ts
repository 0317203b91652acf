import { expect, test } from "vitest";
import { parseAddress } from "./address.js";

test("a unix socket: with and without the scheme", () => {
  const address = { kind: "unix", path: "/run/x.sock", text: "unix:///run/x.sock" };
  expect(parseAddress("unix:///run/x.sock")).toEqual(address);
  expect(parseAddress("/run/x.sock")).toEqual(address);
  expect(parseAddress("./x")).toMatchObject({ path: `${process.cwd()}/x` });
});

test("a TCP address, also with an IPv6 host", () => {
  expect(parseAddress("tcp://localhost:1234")).toMatchObject({ kind: "tcp", host: "localhost", port: 1234 });
  expect(parseAddress("tcp://[::1]:1")).toMatchObject({ kind: "tcp", host: "::1", port: 1 });
});

test.each(["", "x", "unix://", "tcp://host", "tcp://host:0", "tcp://host:70000", "tcp://:1", "http://host:1"])(
  "refuses %j",
  (text) => {
    expect(() => parseAddress(text)).toThrow(`bad address "${text}", expected proto://address`);
  },
);

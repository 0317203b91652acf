import fc from "fast-check";
import { expect, test } from "vitest";
import { parseMembership } from "./membership.js";

test("reads v1, named and v2 lines", () => {
  expect(parseMembership("9:name=systemd:/\n4:cpu,cpuacct:/docker/a:b\n0::/docker/a (deleted)\n")).toEqual([
    { controllers: ["name=systemd"], path: "/", deleted: false },
    { controllers: ["cpu", "cpuacct"], path: "/docker/a:b", deleted: false },
    { controllers: [], path: "/docker/a", deleted: true },
  ]);
});

test("survives anything", () => {
  fc.assert(fc.property(fc.string(), (text) => void parseMembership(text)));
});

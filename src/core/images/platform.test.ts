import { expect, test } from "vitest";
import { bestOf, canonical, distance, noSuchPlatform, platformText } from "./platform.js";

const of = (text: string, osVersion = "") => {
  const [os = "", architecture = "", variant = ""] = text.split("/");
  return { os, architecture, variant, osVersion };
};

test.each([
  ["linux/x86_64", "linux/amd64"],
  ["Linux/AMD64/v1", "linux/amd64"],
  ["linux/amd64/v3", "linux/amd64/v3"],
  ["linux/aarch64", "linux/arm64"],
  ["linux/arm64/v8", "linux/arm64"],
  ["linux/arm64/8", "linux/arm64"],
  ["linux/armhf", "linux/arm"],
  ["linux/armel", "linux/arm/v6"],
  ["linux/arm/7", "linux/arm"],
  ["linux/i386", "linux/386"],
  ["macos/arm64", "darwin/arm64"],
])("%s is %s", (given, shown) => {
  expect(platformText(of(given))).toBe(shown);
  expect(canonical(canonical(of(given)))).toEqual(canonical(of(given)));
});

test.each([
  ["linux/amd64", "linux/amd64", 0],
  ["linux/amd64", "linux/386", undefined],
  ["linux/amd64", "windows/amd64", undefined],
  ["linux/amd64", "linux/amd64/v2", undefined],
  ["linux/amd64/v3", "linux/amd64/v2", 1],
  ["linux/amd64/v3", "linux/amd64", 2],
  ["linux/arm64", "linux/arm64/v8", 0],
  ["linux/arm64", "linux/arm/v7", undefined],
  ["linux/arm/v7", "linux/arm/v6", 1],
  ["linux/arm/v7", "linux/arm/v5", 2],
  ["linux/arm", "linux/arm/v8", undefined],
  ["linux/arm/v6", "linux/arm", undefined],
  ["linux/arm/odd", "linux/arm/odd", 0],
  ["linux/arm/odd", "linux/arm/v7", undefined],
])("who wants %s takes %s: %s", (wanted, made, expected) => {
  expect(distance(of(wanted), of(made))).toBe(expected);
});

test("a version of the system is one of those that begin with the wanted", () => {
  const made = of("windows/amd64", "10.0.17763.1");
  expect(distance(of("windows/amd64"), made)).toBe(0);
  expect(distance(of("windows/amd64", "10.0.17763"), made)).toBe(0);
  expect(distance(of("windows/amd64", "10.0.1776"), made)).toBeUndefined();
});

test("the nearest is taken, and of what is wanted the first", () => {
  const candidates = ["linux/arm/v5", "linux/arm/v6", "linux/amd64", "linux/arm/v8"].map((text) => ({
    platform: of(text),
  }));
  expect(bestOf([of("linux/arm/v7")], candidates)).toBe(candidates[1]);
  expect(bestOf([of("linux/s390x"), of("linux/amd64"), of("linux/arm/v5")], candidates)).toBe(candidates[2]);
  expect(bestOf([of("linux/s390x")], candidates)).toBeUndefined();
});

test("what is missing is told with what there is", () => {
  const made = [of("linux/amd64"), of("linux/arm/v7"), of("linux/amd64"), of("unknown/unknown")];
  expect(noSuchPlatform("a/b:c", [of("linux/s390x")], made).message).toBe(
    "image a/b:c has nothing for linux/s390x: it has linux/amd64, linux/arm",
  );
});

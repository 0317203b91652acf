import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  limitsBack,
  PLACES_V1,
  PLACES_V2,
  parseDeviceLimits,
  readDeviceLimits,
  writeDeviceLimits,
} from "./device-limits.js";

describe("parseDeviceLimits", () => {
  test("v1: a device and a number", () => {
    expect(parseDeviceLimits("8:0 1048576\n8:16 5\n")).toEqual(
      new Map([
        ["8:0", 1048576n],
        ["8:16", 5n],
      ]),
    );
    expect(parseDeviceLimits("default 100\n254:0 300\n")).toEqual(new Map([["254:0", 300n]]));
    expect(parseDeviceLimits("")).toEqual(new Map());
  });

  test("v2: a device and its keys; max is no limit", () => {
    const text = "8:0 rbps=1048576 wbps=max riops=max wiops=120\n";
    expect(parseDeviceLimits(text, "rbps")).toEqual(new Map([["8:0", 1048576n]]));
    expect(parseDeviceLimits(text, "wiops")).toEqual(new Map([["8:0", 120n]]));
    expect(parseDeviceLimits(text, "wbps")).toEqual(new Map());
  });
});

test("limitsBack: what was, and nothing more", () => {
  const before = { readBps: new Map([["8:0", 1n]]), writeBps: new Map([["8:0", 2n]]) };
  const now = {
    readBps: new Map([
      ["8:0", 3n],
      ["8:16", 4n],
    ]),
    writeBps: new Map(),
  };
  expect(limitsBack(before, now)).toEqual({
    readBps: new Map([
      ["8:0", 1n],
      ["8:16", 0n],
    ]),
    writeBps: new Map([["8:0", 2n]]),
  });
});

// In a plain directory: a machine's io controller may be in v1's hierarchy or v2's, not in both.
describe("files", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "device-limits-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const put = (name: string, text = "") => writeFileSync(join(directory, name), text);
  const text = (name: string) => readFileSync(join(directory, name), "utf8");

  test("v2: what is asked for is written with its key", () => {
    put("io.max");
    writeDeviceLimits(directory, PLACES_V2, { readBps: new Map([["8:0", 500n]]) });
    expect(text("io.max")).toBe("8:0 rbps=500");
    expect(readDeviceLimits(directory, PLACES_V2).readBps).toEqual(new Map([["8:0", 500n]]));
    writeDeviceLimits(directory, PLACES_V2, { readBps: new Map([["8:0", 0n]]) });
    expect(text("io.max")).toBe("8:0 rbps=max");
  });

  test("v2: weights go to the file there is", () => {
    put("io.bfq.weight");
    writeDeviceLimits(directory, PLACES_V2, { weight: new Map([["8:0", 500n]]) });
    expect(text("io.bfq.weight")).toBe("8:0 500");
  });

  test("what is so already is not written", () => {
    put("blkio.throttle.read_bps_device", "8:0 500\n");
    writeDeviceLimits(directory, PLACES_V1, { readBps: new Map([["8:0", 500n]]) });
    expect(text("blkio.throttle.read_bps_device")).toBe("8:0 500\n");
  });

  test("a limit that the kernel does not have", () => {
    const weights = new Map([["8:0", 500n]]);
    expect(() => writeDeviceLimits(directory, PLACES_V2, { leafWeight: weights })).toThrow(
      "leafWeight of device 8:0: this kernel has no such limit",
    );
    expect(() => writeDeviceLimits(directory, PLACES_V1, { weight: weights })).toThrow(
      "weight of device 8:0: this kernel has no such limit",
    );
    expect(() => writeDeviceLimits(directory, PLACES_V1, { readBps: new Map([["8:0", 0n]]) })).toThrow("no such limit");
  });
});

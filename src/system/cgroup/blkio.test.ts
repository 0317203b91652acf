import fc from "fast-check";
import { expect, test } from "vitest";
import { addIoStat, parseBlkio } from "./blkio.js";
import { emptyStats } from "./stats.js";

test("v1: with and without operations, without the sum of all devices", () => {
  expect(parseBlkio("8:0 Read 12\n253:1 77\nTotal 12\n")).toEqual([
    { major: 8, minor: 0, operation: "Read", value: 12n },
    { major: 253, minor: 1, operation: "", value: 77n },
  ]);
});

test("v2: what v1 has no table for is left out", () => {
  const { io } = emptyStats();
  addIoStat("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7 toString=8\n253:0 \n", io);
  expect(io.bytes).toEqual([
    { major: 8, minor: 0, operation: "Read", value: 1n },
    { major: 8, minor: 0, operation: "Write", value: 2n },
  ]);
  expect(io.requests).toEqual([
    { major: 8, minor: 0, operation: "Read", value: 3n },
    { major: 8, minor: 0, operation: "Write", value: 4n },
  ]);
});

test("both survive anything", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (device, rest) => {
      parseBlkio(`8:0 ${rest}\n${device}`);
      addIoStat(`8:0 ${rest}\n${device}`, emptyStats().io);
    }),
  );
});

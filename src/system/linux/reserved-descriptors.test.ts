import { execFileSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isLeftForLocal, isOutOfDescriptors, refill, withReserve } from "./reserved-descriptors.js";
import { openFilesLimit } from "./rlimit.js";

const count = () => readdirSync("/proc/self/fd").length;
const setLimit = (limit: number) => execFileSync("prlimit", ["--pid", `${process.pid}`, `--nofile=${limit}:`]);
const opened: number[] = [];
let limit: number;
beforeEach(() => {
  limit = Number(/Max open files +(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))![1]);
  refill();
  // A process needs some for the command that lowers the limit.
  setLimit(count() + 20);
  try {
    for (;;) opened.push(openSync("/dev/null", "r"));
  } catch (error) {
    expect(isOutOfDescriptors(error)).toBe(true);
  }
});
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
  setLimit(limit);
});

test("what must work has descriptors when there are none, again and again", () => {
  for (let round = 0; round < 3; round++) {
    expect(() => readFileSync("/proc/self/stat")).toThrow(/EMFILE/);
    expect(withReserve(() => readFileSync("/proc/self/comm", "utf8"))).not.toBe("");
    // Nested: files of a directory.
    expect(withReserve(() => readdirSync("/proc/self").map(() => readFileSync("/proc/self/comm")))).not.toEqual([]);
  }
});

test("what it keeps is taken back once there are some", async () => {
  const kept = withReserve(() => Array.from({ length: 4 }, () => openSync("/dev/null", "r")));
  expect(() => withReserve(() => openSync("/dev/null", "r"))).toThrow(/EMFILE/);
  for (const fd of kept) closeSync(fd);
  await expect.poll(() => withReserve(() => readFileSync("/proc/self/comm", "utf8"))).not.toBe("");
});

test("a quarter is left for local connections, and the reserve is not part of it", () => {
  const all = openFilesLimit();
  const left = Array.from({ length: all }, (_, fd) => fd).filter(isLeftForLocal);
  expect(left).toHaveLength(Math.ceil(all / 4) + 4);
  expect(left.at(-1)).toBe(all - 1);
});

test("other errors are the caller's, at once", () => {
  let calls = 0;
  const fail = () => {
    calls++;
    throw new Error("mine");
  };
  expect(() => withReserve(fail)).toThrow("mine");
  expect(calls).toBe(1);
});

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { isAlive, parentOf, parseProcStat, readProcStat, startTimeOf, stateOf } from "./proc-stat.js";

const TAIL =
  "1 3999 4000 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 123456 2228224 200 18446744073709551615 " +
  "1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

test("a name may hold anything", () => {
  fc.assert(
    fc.property(fc.string(), (comm) => {
      expect(parseProcStat(`4242 (${comm}) S ${TAIL}`)).toEqual({
        comm,
        state: "S",
        parent: 1,
        session: 4000,
        exiting: false,
        startTime: "123456",
      });
    }),
  );
  expect(parseProcStat(`7 (a) R 2 (x) Z ${TAIL}`)).toMatchObject({ comm: "a) R 2 (x", state: "Z" });
});

test("what is no stat is refused", () => {
  for (const text of ["", "1", "1 (a)", "1 (a) S 1 2 3", "1 a S "])
    expect(() => parseProcStat(text)).toThrow("not a /proc");
});

test("this process", () => {
  expect(parentOf(process.pid)).toBe(process.ppid);
  expect(stateOf(process.pid)).toBe("R");
  expect(startTimeOf(process.pid)).toBe(readFileSync("/proc/self/stat", "utf8").split(" ").at(21));
  expect(isAlive(process.pid)).toBe(true);
  expect(isAlive(process.pid, startTimeOf(process.pid))).toBe(true);
  expect(isAlive(process.pid, "1")).toBe(false);
});

test("a process that is gone", () => {
  // Above every pid_max.
  const pid = 5_000_000;
  expect(startTimeOf(pid)).toBeUndefined();
  expect(parentOf(pid)).toBeUndefined();
  expect(stateOf(pid)).toBeUndefined();
  expect(isAlive(pid)).toBe(false);
});

test("a zombie is not alive", async () => {
  // The shell turns into a sleep that never waits for its child, which is killed only then: a shell would reap it.
  const parent = spawn("sh", ["-c", "sleep 1000 & echo $!; exec sleep 1000"], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const pid = Number(await new Promise((resolve) => parent.stdout.once("data", resolve)));
    await vi.waitUntil(() => readProcStat(parent.pid!)?.comm === "sleep");
    process.kill(pid, "SIGKILL");
    await vi.waitUntil(() => stateOf(pid) === "Z");
    expect(isAlive(pid)).toBe(false);
    expect(readProcStat(pid)).toMatchObject({ exiting: true, parent: parent.pid });
  } finally {
    parent.kill();
  }
});

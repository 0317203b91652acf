import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LogOutput } from "./log-output.js";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "log-output-"));
});
afterEach(() => {
  execFileSync("sh", ["-c", `umount --lazy ${dir} 2>/dev/null || true`]);
  rmSync(dir, { recursive: true });
});

test("a full pipe that somebody has made non-blocking loses nothing", async () => {
  const path = join(dir, "pipe");
  execFileSync("mkfifo", [path]);
  const pipe = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const output = new LogOutput(pipe);
  const written = Array.from({ length: 5000 }, (_, n) => `line ${n} ${"x".repeat(100)}\n`);
  for (const line of written) output.write(line);
  await output.flush(50);
  let read = "";
  const chunk = Buffer.alloc(1 << 20);
  for (let done = false; !done; ) {
    await setTimeout(20);
    try {
      read += chunk.toString("utf8", 0, readSync(pipe, chunk));
    } catch {
      // Nothing in it just now.
    }
    done = read.length >= written.join("").length;
  }
  expect(read).toBe(written.join(""));
  expect(output.dropped).toBe(0);
  closeSync(pipe);
});

test("what does not fit is counted by lines; the next one that is written begins a line of its own", async () => {
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=16k", "log-output", dir]);
  const log = openSync(join(dir, "log"), "a");
  const filler = openSync(join(dir, "filler"), "a");
  const output = new LogOutput(log);
  const told: [number, string][] = [];
  output.onRecovery = (...what) => told.push(what);
  while (statfsSync(dir).bavail > 1) writeSync(filler, Buffer.alloc(4096));
  // One page is left: the second line is torn, the third not written at all.
  for (const letter of "abc") {
    output.write(`${letter.repeat(2999)}\n`);
    await output.flush(5000);
  }
  expect(output.dropped).toBe(2);
  expect(told).toEqual([]);
  truncateSync(join(dir, "filler"));
  output.write("again\n");
  await output.flush(5000);
  expect(told).toEqual([[2, "write: no space left on device"]]);
  expect(readFileSync(join(dir, "log"), "utf8").split("\n")).toEqual(["a".repeat(2999), "b".repeat(1096), "again", ""]);
  closeSync(log);
  closeSync(filler);
});

test("what waits has a limit", async () => {
  const path = join(dir, "pipe");
  execFileSync("mkfifo", [path]);
  const pipe = openSync(path, constants.O_RDWR);
  const output = new LogOutput(pipe, 1 << 20);
  for (let n = 0; n < 3000; n++) output.write(`${"x".repeat(999)}\n`);
  // A pipe holds 64 KiB, the write under way as much.
  expect(output.dropped).toBeGreaterThan(3000 - (1 << 20) / 1000 - 200);
  expect(output.dropped).toBeLessThan(3000 - (1 << 20) / 1000 + 200);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const chunk = Buffer.alloc(1 << 20);
  let read = 0;
  while (read < (3000 - output.dropped) * 1000) {
    await output.flush(10);
    try {
      read += readSync(reader, chunk);
    } catch {
      // Nothing in it just now.
    }
  }
  expect(read).toBe((3000 - output.dropped) * 1000);
  closeSync(reader);
  closeSync(pipe);
});

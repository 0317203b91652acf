import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openAt } from "./at-calls.js";
import { Child, devNull, runCommand } from "./child.js";
import { now } from "./clock.js";
import { makeAs } from "./creator.js";
import { EPOLLHUP, EPOLLIN, epoll } from "./epoll.js";
import { makeFifo, openFifo } from "./fifo.js";
import { errorText, libc } from "./libc.js";
import { openPidFd, signalPidFd } from "./pidfd.js";
import { makeSeqPacketPair, receivePacket, sendPacket } from "./seqpacket.js";
import { findProgram } from "./spawn.js";

const PR_GET_DUMPABLE = 3;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ctd-linux-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const shell = (script: string) => ({ path: "/bin/sh", argv: ["sh", "-c", script] });
const run = (script: string, options: { stdin?: string; signal?: AbortSignal; cwd?: string } = {}) => {
  const { path, argv } = shell(script);
  return runCommand(path, argv, { env: ["GREETING=hi", "PATH=/usr/bin:/bin"], ...options });
};

describe("epoll", () => {
  test("a FIFO's hang-up arrives, but not before there was a writer", async () => {
    const path = join(dir, "exit");
    makeFifo(path);
    const fd = openFifo(path, "read");
    const seen: number[] = [];
    const hungUp = new Promise<void>((resolve) => {
      epoll.add(fd, 0, (events) => {
        seen.push(events);
        epoll.remove(fd);
        closeSync(fd);
        resolve();
      });
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen).toEqual([]);
    closeSync(openSync(path, "w"));
    await hungUp;
    expect(seen).toEqual([EPOLLHUP]);
  });

  test("a descriptor is watched once", () => {
    const [left, right] = makeSeqPacketPair();
    epoll.add(left, EPOLLIN, () => {});
    expect(() => epoll.add(left, EPOLLIN, () => {})).toThrow(`descriptor ${left} is watched already`);
    epoll.remove(left);
    epoll.remove(left);
    closeSync(left);
    closeSync(right);
  });

  test("a socket's hang-up is told once, and not to who has forgotten it", async () => {
    const pairs = [makeSeqPacketPair(), makeSeqPacketPair()] as const;
    let calls = 0;
    const hungUp = new Promise<void>((resolve) => {
      epoll.hangUp(pairs[0][0], () => {
        calls++;
        resolve();
      });
    });
    epoll.hangUp(pairs[1][0], () => calls++)();
    sendPacket(pairs[0][1], "no hang-up");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(calls).toBe(0);
    for (const [, right] of pairs) closeSync(right);
    await hungUp;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(calls).toBe(1);
    for (const [left] of pairs) closeSync(left);
  });

  test("a callback that throws loses its watch, and the others go on", async () => {
    const errors: unknown[] = [];
    epoll.onError = (error) => errors.push(error);
    const [left, right] = makeSeqPacketPair();
    let calls = 0;
    epoll.add(left, EPOLLIN, () => {
      calls++;
      throw new Error("mine");
    });
    const other = new Promise<void>((resolve) => epoll.add(right, EPOLLIN, () => resolve()));
    sendPacket(right, "to left");
    await expect.poll(() => errors).toEqual([new Error("mine")]);
    sendPacket(left, "to right");
    await other;
    expect([calls, epoll.size]).toEqual([1, 1]);
    epoll.remove(right);
    closeSync(left);
    closeSync(right);
  });
});

describe("runCommand", () => {
  test("collects output and exit code", async () => {
    expect(await run("echo out; echo err >&2; exit 7")).toEqual({ status: 7, output: "out\nerr\n" });
  });
  test("death by signal is 128 + N", async () => {
    expect((await run("kill -TERM $$")).status).toBe(143);
  });
  test("passes stdin, environment and directory", async () => {
    expect((await run("cat; echo $GREETING; pwd", { stdin: "in\n", cwd: dir })).output).toBe(`in\nhi\n${dir}\n`);
  });
  test("the child has none of our descriptors and no signal ignored", async () => {
    const { output } = await run("ls /proc/self/fd; grep SigIgn /proc/self/status");
    expect(output.split("\n").slice(0, 4).join(" ")).toMatch(/^0 1 2 3$/);
    // 32 and 33 are the C library's own; it lets nobody change them.
    const ignored = BigInt(`0x${/SigIgn:\t(\w+)/.exec(output)![1]}`) & ~0x180000000n;
    expect(ignored).toBe(0n);
  });
  test("an abort kills it", async () => {
    const controller = new AbortController();
    const running = run("sleep 60", { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
  });
  test("of 100 MB the beginning and the end are kept, and memory does not grow by them", async () => {
    await run("echo");
    const before = process.memoryUsage.rss();
    const { status, output } = await run("echo begin; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo end");
    expect(status).toBe(0);
    expect(output).toMatch(/^begin\nx+\n\[\d+ bytes\]\nx+\nend\n$/);
    expect(output.length).toBeLessThan(1.1 * (1 << 20));
    expect(process.memoryUsage.rss() - before).toBeLessThan(50 << 20);
  });
  test("what it leaves behind is not waited for, although it holds the output", async () => {
    const { output } = await run("sleep 60 & echo $!");
    process.kill(Number(output), "SIGKILL");
  });
  test("a missing program throws ENOENT", async () => {
    await expect(runCommand("/no/such", ["x"], { env: [] })).rejects.toMatchObject({ code: "ENOENT" });
  });
});

test("a pidfd never signals a stranger", async () => {
  const { path, argv } = shell("sleep 60");
  const child = await Child.spawn(path, argv, { env: [], fds: [devNull, devNull, devNull] });
  const fd = openPidFd(child.pid);
  expect(() => signalPidFd(fd, 1000)).toThrow("invalid argument");
  signalPidFd(fd, 0);
  child.kill();
  expect(await child.exited).toBe(137);
  expect(() => signalPidFd(fd, 0)).toThrow("no such process");
  closeSync(fd);
});

test("a file is made as somebody else, where only root may, and this thread is as it was", () => {
  const isDumpable = libc.func("int prctl(int option)");
  const state = () => readFileSync("/proc/thread-self/status", "utf8").match(/^(Uid|Gid|Cap\w+):.*$/gm);
  const before = state();
  chownSync(dir, 1234, 1234);
  chmodSync(dir, 0o500);
  const directory = openSync(dir, "r");
  const make = () => openAt(directory, "made", constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
  const fd = makeAs(3_000_000_001, 3_000_000_002, make);
  expect(fstatSync(fd)).toMatchObject({ uid: 3_000_000_001, gid: 3_000_000_002 });
  expect(state()).toEqual(before);
  expect(() => makeAs(1, 1, make)).toThrow("openat made: file exists");
  expect(state()).toEqual(before);
  expect(isDumpable(PR_GET_DUMPABLE)).toBe(1);
  closeSync(fd);
  closeSync(directory);
});

test("packets keep their boundaries; closing reads as the empty message", () => {
  const [left, right] = makeSeqPacketPair();
  expect(receivePacket(left)).toBeUndefined();
  sendPacket(right, "created 12");
  sendPacket(right, "started");
  expect(receivePacket(left)).toBe("created 12");
  expect(receivePacket(left)).toBe("started");
  closeSync(right);
  expect(receivePacket(left)).toBe("");
  closeSync(left);
});

test("errors read as Go's", () => {
  let error: unknown;
  try {
    openSync(join(dir, "missing"), "r");
  } catch (e) {
    error = e;
  }
  expect(errorText(error)).toBe(`open ${dir}/missing: no such file or directory`);
  expect(() => makeFifo(`${dir}/no/exit`)).toThrow(`mkfifo ${dir}/no/exit: no such file or directory`);
  expect(errorText(new Error("plain"))).toBe("plain");
  // Which number a failed look-up has is the network's affair: both are made here as Node makes them.
  const lookUp = { syscall: "getaddrinfo", hostname: "registry.example" };
  expect(errorText({ ...lookUp, code: "ENOTFOUND", errno: -3008 })).toBe("getaddrinfo registry.example: no such host");
  expect(errorText({ ...lookUp, code: "EAI_AGAIN", errno: -3001 })).toBe(
    "getaddrinfo registry.example: temporary failure",
  );
});

test("the clock has nanoseconds and agrees with Date", () => {
  const before = Date.now();
  const at = Number(now() / 1_000_000n);
  expect(at).toBeGreaterThanOrEqual(before - 1);
  expect(at).toBeLessThanOrEqual(Date.now() + 1);
});

test("findProgram looks along the PATH", () => {
  expect(findProgram("sh", "/nonexistent:/bin")).toBe("/bin/sh");
  expect(findProgram("/bin/sh", "")).toBe("/bin/sh");
  expect(findProgram("no-such-program")).toBeUndefined();
  expect(findProgram("/tmp")).toBeUndefined();
});

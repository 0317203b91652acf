import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { epoll } from "../../system/linux/epoll.js";
import { watchLifetime } from "./lifetime.js";
import { ownerOf } from "./owner.js";
import type { Task } from "./task.js";

const limitOf = () => Number(/Max open files +(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))![1]);
const setLimit = (limit: number) => execFileSync("prlimit", ["--pid", `${process.pid}`, `--nofile=${limit}:`]);
const limit = limitOf();
const opened: number[] = [];
const giveBack = () => {
  for (const fd of opened.splice(0)) closeSync(fd);
};
afterEach(() => {
  giveBack();
  setLimit(limit);
});

test("an owner that can't be watched for want of descriptors is watched once there are some", async () => {
  const program = spawn("sleep", ["1000"]);
  await once(program, "spawn");
  const exited = new AbortController();
  let ended = false;
  const container = {
    id: "c",
    owner: ownerOf(program.pid!),
    endsAt: undefined,
    exited: exited.signal,
    cgroup: undefined,
    init: { kill: () => (ended = true) },
    stopClock: () => {},
  };
  const warnings: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) });
  setLimit(readdirSync("/proc/self/fd").length + 20);
  expect(() => {
    for (;;) opened.push(openSync("/dev/null", "r"));
  }).toThrow(/EMFILE/);
  try {
    watchLifetime(log, container as unknown as Task);
    expect(warnings.join()).toMatch(/too many open files/);
    expect(epoll.size).toBe(0);
    giveBack();
    await expect.poll(() => epoll.size).toBe(1);
    expect(ended).toBe(false);
    program.kill("SIGKILL");
    await expect.poll(() => ended).toBe(true);
    expect(epoll.size).toBe(0);
  } finally {
    program.kill("SIGKILL");
    exited.abort();
  }
});

/**
 * A log that can't be written: nobody reads the pipe, the disk is full, the terminal has hung up. The daemon goes on, and ends when it is
 * told to.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { libc } from "../../src/system/linux/libc.js";
import { startContainer } from "../harness/container.js";
import { daemonEnvironment, startDaemon, type TestDaemon } from "../harness/daemon.js";
import { daemonProgram } from "../harness/paths.js";
import { directoryPrefix } from "../harness/run-name.js";
import { eventually, within } from "../harness/wait.js";
import { get } from "../operations/http-get.js";

let dir: string;
/** Open for as long as the test is. */
let descriptors: number[];
beforeEach(() => {
  dir = mkdtempSync(`${directoryPrefix()}log-`);
  descriptors = [];
});
afterEach(() => {
  for (const fd of descriptors) closeSync(fd);
  execFileSync("sh", ["-c", `umount --lazy ${dir}/disk 2>/dev/null || true`]);
  rmSync(dir, { recursive: true });
});

function keep(fd: number): number {
  descriptors.push(fd);
  return fd;
}

/** A pipe with both ends here, so that it never ends, and nobody reads it. */
function pipe(): number {
  const path = join(dir, "pipe");
  execFileSync("mkfifo", [path]);
  return keep(openSync(path, constants.O_RDWR));
}

/** Everything in the pipe now. */
function drain(): string {
  const reader = openSync(join(dir, "pipe"), constants.O_RDONLY | constants.O_NONBLOCK);
  const chunk = Buffer.alloc(1 << 20);
  let text = "";
  try {
    for (;;) text += chunk.toString("utf8", 0, readSync(reader, chunk));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    return text;
  } finally {
    closeSync(reader);
  }
}

/** A tmpfs without a free block, and a log on it. */
function fullDisk(): number {
  const disk = join(dir, "disk");
  execFileSync("sh", ["-c", `mkdir ${disk} && mount -t tmpfs -o size=8m ctd-test ${disk}`]);
  const log = keep(openSync(join(disk, "log"), "a"));
  const { bavail, bsize } = statfsSync(disk);
  appendFileSync(join(disk, "filler"), Buffer.alloc(bavail * bsize));
  return log;
}

/** A terminal whose window has been closed: the slave of a pty without a master. */
function hungUpTerminal(): number {
  const master = libc.func("int posix_openpt(int flags)")(constants.O_RDWR | constants.O_NOCTTY);
  libc.func("int grantpt(int fd)")(master);
  libc.func("int unlockpt(int fd)")(master);
  const slave = keep(openSync(libc.func("char *ptsname(int fd)")(master), constants.O_RDWR | constants.O_NOCTTY));
  closeSync(master);
  return slave;
}

const metrics = () => join(dir, "m");
const flags = () => ["--debug", "--log-format", "json", "--metrics-address", `unix://${metrics()}`];

async function dropped(): Promise<number> {
  const { body } = await get(metrics(), "/metrics");
  return Number(/^containerd_log_lines_dropped_total (\d+)$/m.exec(body)?.[1]);
}

/** Long lines in the log, until some are lost. */
async function logUntilSomeAreLost(daemon: TestDaemon): Promise<void> {
  const id = "x".repeat(100_000);
  await eventually(async () => {
    await Promise.allSettled(Array.from({ length: 20 }, () => daemon.api.stats({ id })));
    return (await dropped()) > 0;
  });
}

async function startsAndEndsContainers(daemon: TestDaemon, name: string): Promise<void> {
  await using container = await startContainer(daemon, { name, args: ["sh", "-c", "exit 7"] });
  expect(await container.exit()).toBe(7);
}

/** In ms: how long a daemon takes to end whose log is fine. */
async function usualStop(): Promise<number> {
  await using daemon = await startDaemon();
  const began = performance.now();
  await daemon.stop();
  return performance.now() - began;
}

/** Whether an open file is non-blocking, for all who have it. */
function isNonBlocking(pid: number, fd: number): boolean {
  const octal = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1] ?? "";
  return (Number.parseInt(octal, 8) & constants.O_NONBLOCK) !== 0;
}

describe.each<[string, () => number]>([
  ["a pipe that nobody reads", pipe],
  ["/dev/full", () => keep(openSync("/dev/full", "w"))],
  ["a full disk", fullDisk],
  ["a terminal that has hung up", hungUpTerminal],
])("%s as stderr", (_, makeStderr) => {
  test("the daemon works, counts what is lost, and ends when it is told to", async () => {
    const usual = await usualStop();
    await using daemon = await startDaemon({ stderr: makeStderr(), flags: flags() });
    await logUntilSomeAreLost(daemon);
    await startsAndEndsContainers(daemon, "one");
    expect(isNonBlocking(daemon.pid, 2)).toBe(false);
    const began = performance.now();
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    const took = performance.now() - began;
    // The last lines get half a second.
    expect(took).toBeLessThan(10 * Math.max(usual, await usualStop()) + 5_000);
  });

  test("an internal error ends it", async () => {
    const crash = join(dir, "crash.cjs");
    writeFileSync(crash, 'process.on("SIGUSR2", () => { throw new Error("out of luck"); });');
    const env = { NODE_OPTIONS: `--require ${crash}` };
    await using daemon = await startDaemon({ stderr: makeStderr(), flags: flags(), env });
    await logUntilSomeAreLost(daemon);
    process.kill(daemon.pid, "SIGUSR2");
    expect(await within(daemon.exited, "the daemon's end")).toEqual({ code: 1, signal: null });
  });

  test("one that can't start ends", async () => {
    const stderr = makeStderr();
    // Full, so that there is no room for a single line.
    const filler = spawn("sh", ["-c", "exec timeout 1 dd if=/dev/zero bs=4096 >&2"], {
      stdio: ["ignore", "ignore", stderr],
    });
    await once(filler, "exit");
    const daemon = spawn(daemonProgram, ["--no-such-flag"], {
      env: daemonEnvironment(),
      stdio: ["ignore", "ignore", stderr],
    });
    const [code] = await within(once(daemon, "exit"), "the daemon's end");
    expect(code).toBe(1);
  });
});

test("a pipe that is read again: the log goes on, and says how much is missing", async () => {
  await using daemon = await startDaemon({ stderr: pipe(), flags: flags() });
  await logUntilSomeAreLost(daemon);
  let log = "";
  await eventually(() => {
    log += drain();
    return log.includes("log lines were lost") && log.endsWith("\n");
  });
  // Another may be lost only while this is read.
  const lines = log.trimEnd().split("\n");
  const [told] = lines.filter((line) => line.includes("log lines were lost")).map((line) => JSON.parse(line));
  expect(told).toMatchObject({ level: "error", dropped: await dropped(), error: "nobody reads it" });
  for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  await startsAndEndsContainers(daemon, "one");
  await eventually(() => {
    log += drain();
    return log.includes("container exited");
  });
});

test("a disk with room again: whole lines, and how many are missing", async () => {
  await using daemon = await startDaemon({ stderr: fullDisk(), flags: flags() });
  await logUntilSomeAreLost(daemon);
  rmSync(join(dir, "disk/filler"));
  await startsAndEndsContainers(daemon, "one");
  const log = () => readFileSync(join(dir, "disk/log"), "utf8");
  await eventually(() => log().includes("container exited"));
  const told = log()
    .split("\n")
    .filter((line) => line.includes("log lines were lost"))
    .map((line) => JSON.parse(line));
  expect(told[0]).toMatchObject({ level: "error", error: "write: no space left on device" });
  expect(told[0].dropped).toBeGreaterThan(0);
});

test("a daemon that is killed leaves the pipe of whoever has started it as it was", async () => {
  const stderr = pipe();
  await using daemon = await startDaemon({ stderr, flags: flags() });
  await startsAndEndsContainers(daemon, "one");
  await daemon.kill();
  expect(isNonBlocking(process.pid, stderr)).toBe(false);
});

/** What another process can say of itself: none is taken for a daemon that is not one. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Remote, type RemoteOptions } from "../../src/client/index.js";
import { TestDaemon } from "../harness/daemon.js";
import { modes, nobody } from "../harness/modes.js";
import { daemonProgram, shimProgram } from "../harness/paths.js";
import { isRunning, kill, processes } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

/** Never started: gives a directory, which it removes at the end. */
let place: TestDaemon;
let stateDir: string;
let impostor: ChildProcess | undefined;
beforeEach(() => {
  place = new TestDaemon({});
  stateDir = join(place.dir, "remote");
});
afterEach(async () => {
  impostor?.kill("SIGKILL");
  impostor = undefined;
  for (const { pid, command } of processes()) if (command.includes(`${place.dir}/remote/containerd `)) kill(pid);
  await place[Symbol.asyncDispose]();
});

const options = (): RemoteOptions => ({
  stateDir,
  program: [process.execPath, daemonProgram],
  shim: shimProgram,
  output: "ignore",
});
const pidFile = () => join(stateDir, "docker-containerd.pid");

/** A process of another user's that has the command line of a daemon on our socket. */
async function pretend(): Promise<number> {
  const command = ["sleep 1000; :", "containerd", "-l", `unix://${stateDir}/docker-containerd.sock`];
  impostor = spawn("sh", ["-c", ...command], { uid: nobody, gid: nobody, stdio: "ignore" });
  const { pid } = impostor;
  await eventually(() => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("docker-containerd.sock"));
  return pid!;
}

test("a process with the socket among its arguments, which has got the pid of a daemon that is gone", async () => {
  const first = await Remote.start(options());
  const { pid } = first;
  await first.close();
  kill(pid);
  await eventually(() => !isRunning(pid));
  const stranger = await pretend();
  writeFileSync(pidFile(), String(stranger));
  await using remote = await Remote.start(options());
  expect(remote.adopted).toBe(false);
  expect(remote.pid).not.toBe(stranger);
  expect(isRunning(stranger)).toBe(true);
  await remote.stop();
  expect(isRunning(stranger)).toBe(true);
});

test("a pid file alone, with the pid of such a process", async () => {
  mkdirSync(stateDir, { mode: 0o700 });
  const stranger = await pretend();
  writeFileSync(pidFile(), String(stranger));
  await using remote = await Remote.start(options());
  expect(remote.adopted).toBe(false);
  expect(isRunning(stranger)).toBe(true);
});

test.each<[string, (directory: string) => void]>([
  ["somebody else's", (directory) => chownSync(directory, nobody, nobody)],
  ["everybody's to write to", (directory) => chmodSync(directory, 0o777)],
])("a state directory that is %s: refused, whatever it says", async (_, weaken) => {
  mkdirSync(stateDir, { mode: 0o700 });
  weaken(stateDir);
  await expect(Remote.start(options())).rejects.toThrow(`${stateDir}: somebody else can write to it`);
  expect(existsSync(pidFile())).toBe(false);
});

test("its files are its user's alone", async () => {
  await using _remote = await Remote.start(options());
  expect(modes(stateDir)).toMatchObject({
    ".": "d700",
    "docker-containerd.pid": "-600",
    "docker-containerd.starttime": "-600",
    "docker-containerd.sock": "s660",
    containerd: "d700",
  });
});

#!/usr/bin/env node
// A containerd-shim that knows nothing but what docs/shim.md says about the process directory, as the Go one does: no start channel, no
// word to the daemon but files and FIFOs. `shim.mjs <id> <bundle> <runtime>` in the process directory.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import koffi from "koffi";

const libc = koffi.load(null);
const prctl = libc.func("int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)");
const waitpid = libc.func("int waitpid(int pid, _Out_ int *status, int options)");
const pipe2 = libc.func("int pipe2(_Out_ int *ends, int flags)");
const O_CLOEXEC = 0o2000000;
const PR_SET_CHILD_SUBREAPER = 36;
const WNOHANG = 1;

const [id, bundle, runtime] = process.argv.slice(2);
const directory = process.cwd();
const state = JSON.parse(readFileSync("process.json", "utf8"));
const runtimeArgs = state.runtimeArgs ?? [];

function fail(message) {
  writeFileSync("shim-log.json", `${JSON.stringify({ level: "error", msg: message })}\n`);
  process.exit(1);
}

prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
openSync("exit", constants.O_WRONLY);
const control = openSync("control", constants.O_RDWR | constants.O_NONBLOCK);

// A daemon of 0.2.3 leaves it empty.
const isClients = (path) => path && path !== "/dev/null";

// Both ends of an output FIFO, so that a client may come and go.
const output = (path) => {
  if (!isClients(path)) return "ignore";
  openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return openSync(path, constants.O_WRONLY | constants.O_APPEND);
};
const stdout = output(state.containerdStdout);
const stderr = output(state.containerdStderr);
const args = ["--log", join(directory, "log.json"), "--log-format", "json", ...runtimeArgs];
if (state.exec) args.push("exec", "-d", "--process", join(directory, "process.json"));
else args.push("create", "--bundle", bundle);
args.push("--pid-file", join(directory, "pid"), id);
// The container's stdin stays open as long as we hold the other end.
const ends = [0, 0];
pipe2(ends, O_CLOEXEC);
const [stdinReader, stdinWriter] = ends;
const creation = spawn(runtime, args, { cwd: bundle, stdio: [stdinReader, stdout, stderr] });
closeSync(stdinReader);
creation.on("error", (error) => fail(`${runtime} not installed on system: ${error.message}`));
if (isClients(state.containerdStdin)) {
  // Held open for writing too: it ends when the daemon says so.
  const fd = openSync(state.containerdStdin, constants.O_RDWR | constants.O_NONBLOCK);
  new Socket({ fd, readable: true, writable: false }).on("data", (data) => writeSync(stdinWriter, data));
}

let rest = "";
new Socket({ fd: control, readable: true, writable: false }).on("data", (data) => {
  const lines = (rest + data).split("\n");
  rest = lines.pop();
  for (const line of lines) {
    writeFileSync("control.seen", `${line}\n`, { flag: "a" });
    if (line.startsWith("0 ")) setTimeout(() => closeSync(stdinWriter), 50);
  }
});

creation.on("exit", (code) => {
  // The daemon looks into log.json.
  if (code !== 0) process.exit(1);
  const pid = Number(readFileSync("pid", "utf8"));
  const timer = setInterval(() => {
    const status = [0];
    if (waitpid(pid, status, WNOHANG) !== pid) return;
    clearInterval(timer);
    const signal = status[0] & 0x7f;
    writeFileSync("exitStatus", String(signal ? 128 + signal : (status[0] >> 8) & 0xff));
    if (!state.exec) {
      spawnSync(runtime, [...runtimeArgs, "kill", "--all", id, "SIGKILL"]);
      spawnSync(runtime, [...runtimeArgs, "delete", id]);
    }
    process.exit(0);
  }, 5);
});

/**
 * A tour with real parts: starts a daemon on a private socket and state directory, runs busybox containers through ctr as a user would, and
 * removes everything again, also after Ctrl-C or a step that failed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { ctrProgram, daemonProgram, repository } from "./harness/paths.js";

if (process.getuid?.() !== 0) {
  console.error("demo: containers need root: sudo npm run demo");
  process.exit(1);
}

// Other containers of this machine have names too: ours are like nobody else's.
const tag = randomBytes(2).toString("hex");
const [hello, web] = [`hello-${tag}`, `web-${tag}`];
const dir = mkdtempSync(join(tmpdir(), `ctd-demo-${tag}-`));
// Containers with user ids of their own get through it to their root file systems.
chmodSync(dir, 0o711);
const socket = `unix://${join(dir, "sock")}`;
const colour = process.stdout.isTTY ? (text: string) => `\x1b[1;36m${text}\x1b[0m` : (text: string) => text;
const say = (text: string) => console.log(`\n# ${text}`);

/** What a user has: the programs on the PATH; ctr finds this daemon by itself, as it would the one on the default socket. */
mkdirSync(join(dir, "bin"));
const install = (name: string, program: string, args = "") =>
  writeFileSync(join(dir, "bin", name), `#!/bin/sh\nexec "${process.execPath}" "${program}" ${args} "$@"\n`, {
    mode: 0o755,
  });
install("containerd", daemonProgram);
install("ctr", ctrProgram, `--address ${socket}`);
const shell = `PATH="${dir}/bin:${repository}/dist/bin:$PATH:/usr/sbin:/sbin"\n`;

interface Command {
  child: ChildProcess;
  output: string;
  /** Resolves with its exit status, null after a signal. */
  ended: Promise<number | null>;
}

/** What is under way. */
const commands = new Set<Command>();
let stopped = false;

function start(text: string, { quiet = false } = {}): Command {
  const child = spawn("bash", ["-c", shell + text], {
    cwd: dir,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const command: Command = {
    child,
    output: "",
    ended: new Promise((resolve) =>
      child.once("close", (code) => {
        commands.delete(command);
        resolve(code);
      }),
    ),
  };
  commands.add(command);
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      command.output += chunk;
      if (!quiet) process.stdout.write(chunk);
    });
  return command;
}

/** It, and whatever it has started. */
function killGroup({ child }: Command): void {
  try {
    process.kill(-child.pid!, "SIGKILL");
  } catch {
    // It has just ended.
  }
}

/** Shows a command and its output; what it prints has to match. */
async function run(command: string, expected?: RegExp): Promise<string> {
  if (stopped) throw new Error("stopped");
  console.log(colour(`$ ${command}`));
  const running = start(command);
  const code = await running.ended;
  if (stopped) throw new Error("stopped");
  if (expected ? !expected.test(running.output) : code !== 0)
    throw new Error(`unexpected outcome (exit status ${code}) of: ${command}`);
  return running.output;
}

const daemonCommand = `containerd --listen ${socket} --state-dir ${dir}/state --run-dir ${dir}/run --root ${dir}/root`;
let daemon: Command | undefined;
async function startDaemon(): Promise<void> {
  console.log(colour(`$ ${daemonCommand} &`));
  daemon = start(`exec ${daemonCommand}`, { quiet: true });
  for (let tries = 0; tries < 200; tries++) {
    if (spawnSync("bash", ["-c", `${shell} ctr version`]).status === 0) return;
    if (daemon.child.exitCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the daemon does not answer:\n${daemon.output}`);
}

async function stopDaemon(signal: "KILL" | "TERM"): Promise<number | null> {
  const { child, ended } = daemon!;
  console.log(colour(`$ kill -${signal} ${child.pid}`));
  process.kill(child.pid!, `SIG${signal}`);
  return await ended;
}

/** Everything that this demo has started. */
async function cleanUp(): Promise<void> {
  for (const command of commands) killGroup(command);
  for (const id of [hello, web]) {
    if (existsSync(`/run/runc/${id}`))
      spawnSync("runc", ["delete", "--force", id], { env: process.env, stdio: "ignore" });
  }
  // A shim ends when its container has ended; give them the moment that takes.
  for (let tries = 0; tries < 100 && leftProcesses().length > 0; tries++) {
    if (tries === 50) for (const pid of leftProcesses()) process.kill(pid, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  rmSync(dir, { recursive: true, force: true });
}

/** Processes whose command line or working directory is ours. */
function leftProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dir);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Fails when a container has left something. */
function expectNothingLeft(): void {
  const left = [
    ...leftProcesses().map((pid) => `process ${pid}`),
    ...readdirSync(join(dir, "state")).filter((name) => name !== "events.log"),
    ...[hello, web].filter((id) => existsSync(`/run/runc/${id}`)),
    ...readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(dir)),
  ];
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => {
    stopped = true;
    for (const command of commands) if (command !== daemon) killGroup(command);
  });

const [major = 0, minor = 0] = release().split(".").map(Number);
/** Before Linux 5.19 overlays can't have user ids of their own. */
const isOld = major < 5 || (major === 5 && minor < 19);
const program = `import { connect } from "containerd-ts-client";

const client = connect();
const { stdout, status } = await client.run({
  image: "tools:${tag}",
  args: ["sh", "-c", "echo hello from user $(id -u), on the host $(awk '{ print $2 }' /proc/self/uid_map)"],
  timeout: 60_000,${isOld ? '\n  userns: "host",' : ""}
});
console.log(stdout.trim(), status);
client.close();
`;

let code = 0;
try {
  say(`a daemon of our own, beside any other (everything is below ${dir})`);
  await startDaemon();
  say(`ctr is short for ctr --address ${socket}`);
  await run("ctr version", /0\.2\.\d+/);

  say("two bundles: busybox as root file system, the configuration made by runc");
  await run("mkdir -p hello/rootfs/{bin,dev,proc,sys} && cp $(command -v busybox) hello/rootfs/bin/busybox");
  await run("hello/rootfs/bin/busybox --install hello/rootfs/bin && runc spec --bundle hello");
  await run(`sed -i 's/"terminal": true/"terminal": false/' hello/config.json && cp -r hello web`);
  await run(
    `sed -i 's/^\\(\\s*\\)"sh"$/\\1"sh", "-c", "echo Hello from $(hostname); ls \\/; exit 7"/' hello/config.json`,
  );
  await run(`sed -i 's/^\\(\\s*\\)"sh"$/\\1"sleep", "1000"/' web/config.json`);

  say("a container in the foreground: its output is ours, its exit status is ctr's");
  await run(`ctr containers start --attach ${hello} hello; echo "exit status $?"`, /Hello from .*exit status 7\n$/s);

  say("a container in the background");
  await run(`ctr containers start --label tier=front ${web} web`);
  await run("ctr containers", new RegExp(`${web} .*running`));
  await run(
    `ctr containers exec --id ${web} --pid ps --attach ps; echo "exit status $?"`,
    /sleep 1000.*exit status 0/s,
  );
  await run(`ctr containers pause ${web} && ctr containers`, new RegExp(`${web} .*paused`));
  await run(`ctr containers resume ${web} && ctr containers`, new RegExp(`${web} .*running`));
  await run(`ctr containers update --memory-limit 67108864 ${web}`);
  await run(`ctr containers stats ${web} | grep -o '"memory_stats":{"usage":{[^}]*}'`, /67108864/);

  say("the daemon is killed and started again: the container does not notice");
  await stopDaemon("KILL");
  await startDaemon();
  await run("ctr containers", new RegExp(`${web} .*running`));

  say("the end of the container");
  await run(`ctr containers kill --signal KILL ${web}`);
  for (let tries = 0; tries < 100 && existsSync(join(dir, "state", web)); tries++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  await run("ctr containers", new RegExp(`^(?!.*${web})`, "s"));
  await run("timeout 1 ctr events", new RegExp(`exit +${web} +init +137`));

  say("an image, made of a root file system; docker save's archives and registries work as well");
  await run(`tar -C hello/rootfs -c . | ctr images import --rootfs --name tools:${tag} -`, /tools:.*\n$/);
  await run("ctr images ls", new RegExp(`docker.io/library/tools:${tag} .*linux/`));
  await run(
    `ctr run --name ${hello} tools:${tag} sh -c 'echo Hello from $(hostname); exit 7'; echo "exit status $?"`,
    /Hello from .*exit status 7\n$/s,
  );

  say(
    "the same from a program: the client library; what it runs has nobody's user ids, no network, and nothing to write to",
  );
  mkdirSync(join(dir, "node_modules"));
  symlinkSync(join(repository, "packages/client"), join(dir, "node_modules/containerd-ts-client"));
  writeFileSync(join(dir, "hello.mjs"), program);
  await run("cat hello.mjs");
  await run(
    `CONTAINERD_ADDRESS=${socket} "${process.execPath}" hello.mjs`,
    isOld ? /^hello from user 0/ : /^hello from user 0, on the host [1-9]\d* 0\n$/,
  );
  await run(`ctr images rm --sync tools:${tag} && ctr images usage`, /^all +0 B$/m);

  say("and the end of the daemon");
  const status = await stopDaemon("TERM");
  if (status !== 0) throw new Error(`the daemon ended with ${status}`);
  expectNothingLeft();
  say("nothing is left: no process, no container, no mount");
} catch (error) {
  code = stopped ? 130 : 1;
  console.error(`demo: ${(error as Error).message}`);
  if (!stopped && daemon) console.error(daemon.output);
} finally {
  await cleanUp();
}
process.exit(code);

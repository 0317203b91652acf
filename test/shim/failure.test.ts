/** Starts that fail, daemons that die, runtimes that misbehave: what is told, and that nothing is left. */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { full } from "../harness/extent.js";
import { isRunning } from "../harness/processes.js";
import { Sandbox, type Shim, until, withHostPids } from "./stand-in-daemon.js";

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.clean());

/** Direct children of a process. */
function children(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
}

/** A runtime that runs `script` first; the command (create, start, …) is in $command. */
function runtimeThat(script: string): string {
  const path = join(sandbox.path, "runtime.sh");
  const findCommand =
    'for arg; do case "$arg" in create|start|kill|delete|state|exec) command=$arg; break;; esac; done';
  writeFileSync(path, `#!/bin/sh\n${findCommand}\n${script}\nexec runc "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

function expectNothingLeft(shim: Shim): void {
  expect(sandbox.containers, shim.errors.join("; ")).toEqual([]);
  const pid = shim.processPid;
  if (pid > 0) expect(existsSync(`/proc/${pid}`)).toBe(false);
}

describe("a start that fails before the process exists", () => {
  test("a runtime that is not there", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), {}, { runtime: "no-such-runtime" });
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual(["no-such-runtime not installed on system"]);
  });

  test("a runtime path that is not there", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), {}, { runtime: "/no/such/runtime" });
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual(["fork/exec /no/such/runtime: no such file or directory"]);
  });

  test("a runtime that cannot be executed", async () => {
    const id = sandbox.id();
    const path = join(sandbox.path, "rubbish");
    writeFileSync(path, "rubbish");
    chmodSync(path, 0o755);
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), {}, { runtime: path });
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual([`fork/exec ${path}: exec format error`]);
  });

  test("a bundle that is not there", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, join(sandbox.path, "nowhere"), {});
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual([`chdir ${join(sandbox.path, "nowhere")}: no such file or directory`]);
  });

  test("a program that is not in the root file system", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["nope"]));
    expect(await shim.channel!.receive()).toBe("");
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual([]);
    expect(shim.file("log.json")).toMatch(/executable file (`nope` )?not found in \$PATH/);
    expectNothingLeft(shim);
  });

  test("a process.json that is cut off", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), { processJson: '{"exec":fal' });
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toHaveLength(1);
    expect(shim.errors[0]).toMatch(/^process\.json: .*character 9/);
  });

  test("a process.json that is no object", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), { processJson: "null" });
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual(["process.json: not a JSON object"]);
  });

  test("lists that are null and fields that nobody knows are fine", async () => {
    const id = sandbox.id();
    const bundle = sandbox.bundle(id, ["true"]);
    const processJson =
      '{"runtimeArgs":null,"containerdStdin":null,"capabilities":["CAP_KILL"],"rootUID":null,"new":[{}]}';
    const shim = sandbox.shim(id, bundle, { processJson });
    await shim.start();
    await shim.end();
    expect(shim.exitStatus).toBe("0");
  });

  test("a runtime that crashes in the middle leaves nothing, and the id can be used again", async () => {
    const id = sandbox.id();
    const bundle = sandbox.bundle(id, ["sleep", "600"]);
    // Killed when the container's state has been written but before its process could be announced.
    // The script ends last: what its runc has started is the shim's only then.
    const killed = runtimeThat(`
      if [ "$command" = create ]; then
        runc "$@" & pid=$!
        while [ ! -e ${sandbox.runtimeRoot}/${id}/state.json ]; do :; done
        kill -9 $pid; wait $pid; kill -9 $$
      fi`);
    const shim = sandbox.shim(id, bundle, {}, { runtime: killed });
    expect(await shim.end()).toBe(1);
    expectNothingLeft(shim);
    expect(
      execFileSync("sh", ["-c", `grep -l ${id} /proc/[0-9]*/cgroup 2>/dev/null || true`], { encoding: "utf8" }),
    ).toBe("");
    const again = sandbox.shimIn(join(sandbox.path, "again"), id, bundle, {}, {});
    await again.start();
    expect(sandbox.containers).toEqual([id]);
  });

  test("an id that is somebody else's leaves that container alone", async () => {
    const id = sandbox.id();
    const bundle = sandbox.bundle(id, ["sleep", "600"]);
    const owner = sandbox.shim(id, bundle);
    const pid = await owner.start();
    const shim = sandbox.shimIn(join(sandbox.path, "other"), id, bundle, {}, {});
    expect(await shim.end()).toBe(1);
    expect(shim.file("log.json")).toMatch(/exist/);
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    expect(sandbox.containers).toEqual([id]);
  });

  test("a daemon that dies while the runtime hangs", async () => {
    const id = sandbox.id();
    const hanging = runtimeThat('[ "$command" = create ] && sleep 600');
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), {}, { runtime: hanging });
    await until("the runtime's call", () => children(shim.pid).length > 0);
    shim.channel!.close();
    expect(await shim.end()).toBe(1);
    expectNothingLeft(shim);
  });

  test("the runtime dies with a shim that is killed", async () => {
    const id = sandbox.id();
    const hanging = runtimeThat('[ "$command" = create ] && exec sleep 600');
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), {}, { runtime: hanging });
    await until("the runtime's call", () => children(shim.pid).length > 0);
    const [runtime] = children(shim.pid);
    await sleep(50);
    shim.child.kill("SIGKILL");
    await until("the runtime's end", () => !existsSync(`/proc/${runtime}`));
  });
});

describe("between created and started", () => {
  test("a daemon that dies leaves nothing", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]));
    expect(await shim.channel!.receive()).toMatch(/^created/);
    expect(sandbox.containers).toEqual([id]);
    shim.channel!.close();
    expect(await shim.end()).toBe(0);
    expectNothingLeft(shim);
  });

  test("a daemon that dies while the container is created leaves nothing", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]));
    shim.channel!.close();
    await shim.end();
    expectNothingLeft(shim);
  });

  test("a start that is called off before the runtime is done leaves nothing", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]));
    shim.channel!.send("cancel");
    await shim.end();
    expectNothingLeft(shim);
  });

  test("a start that is called off while the runtime hangs in it leaves nothing", async () => {
    const id = sandbox.id();
    const hanging = runtimeThat('[ "$command" = start ] && { runc "$@"; sleep 600; }');
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]), {}, { runtime: hanging });
    await shim.channel!.receive();
    shim.channel!.send("start");
    await sleep(200);
    shim.channel!.send("cancel");
    await shim.end();
    expectNothingLeft(shim);
  });

  test("a start that fails tells the runtime's words when everything is gone", async () => {
    const id = sandbox.id();
    const failing = runtimeThat('[ "$command" = start ] && { echo "it is \\"broken\\""; echo here >&2; exit 3; }');
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]), {}, { runtime: failing });
    expect(await shim.channel!.receive()).toMatch(/^created/);
    shim.channel!.send("start");
    expect(await shim.channel!.receive()).toBe('failed 3\0it is "broken"\nhere\n');
    expectNothingLeft(shim);
    await shim.end();
  });

  test("a process that is killed before it ran is a failed start", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]));
    expect(await shim.channel!.receive()).toMatch(/^created/);
    process.kill(shim.processPid, "SIGKILL");
    await until("its end", () => !isRunning(shim.processPid));
    shim.channel!.send("start");
    expect(await shim.channel!.receive()).toMatch(/^failed 1\0.*(stopped|state)/s);
    await shim.end();
    expectNothingLeft(shim);
  });

  test("a process that ends at once has been started, however often it is tried", async () => {
    for (let round = 0; round < 10; round++) {
      const id = sandbox.id();
      const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]));
      await shim.start();
      await shim.end();
      expect(shim.exitStatus).toBe("0");
      expect(shim.errors).toEqual([]);
    }
  });

  test("a start that complains about a process that has run and ended is none that failed", async () => {
    const id = sandbox.id();
    const late = runtimeThat('[ "$command" = start ] && { runc "$@"; sleep 0.3; echo gone; exit 1; }');
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "exit 4"]), {}, { runtime: late });
    await shim.start();
    await shim.end();
    expect(shim.exitStatus).toBe("4");
  });

  test("the exit waits for a start that is still under way", async () => {
    const id = sandbox.id();
    const go = join(sandbox.path, "go");
    const slow = runtimeThat(
      `[ "$command" = start ] && { runc "$@"; while [ ! -e ${go} ]; do sleep 0.02; done; exit 0; }`,
    );
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), {}, { runtime: slow });
    await shim.channel!.receive();
    shim.channel!.send("start");
    await sleep(300);
    expect(sandbox.containers).toEqual([id]);
    writeFileSync(go, "");
    expect(await shim.channel!.receive()).toBe("started");
    await shim.end();
    expectNothingLeft(shim);
  });
});

describe("while it runs", () => {
  test("signals do not end the shim", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]));
    const pid = await shim.start();
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGUSR1", "SIGALRM"] as const) {
      process.kill(shim.pid, signal);
    }
    await sleep(200);
    expect(shim.child.exitCode).toBeNull();
    process.kill(pid, "SIGKILL");
    await shim.end();
    expect(shim.exitStatus).toBe("137");
  });

  test("the process has default signals and an empty mask, and knows nothing of the shim", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]));
    const pid = await shim.start();
    // Started is what the runtime's process has been told; it gets there in its own time.
    await until("the program", () => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n");
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(/^SigBlk:\s+0+$/m.test(status)).toBe(true);
    expect(/^SigIgn:\s+0+$/m.test(status)).toBe(true);
    expect(readdirSync(`/proc/${pid}/fd`).sort()).toEqual(["0", "1", "2"]);
  });

  test("orphans are reaped", async () => {
    const id = sandbox.id();
    const command = "for i in 1 2 3 4 5 6 7 8 9 10; do (sh -c 'sleep 0.1' &) ; done; sleep 600";
    // In the host's pid namespace the orphans come to the shim instead of the container's init.
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command], withHostPids));
    const pid = await shim.start();
    await until("orphans", () => children(shim.pid).length > 1);
    await until("their end", () => children(shim.pid).join() === `${pid}`);
    process.kill(pid, "SIGKILL");
    await shim.end();
    expect(shim.exitStatus).toBe("137");
  });

  test("what an init without a pid namespace leaves is killed, and does not hold up the exit", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const bundle = sandbox.bundle(id, ["sh", "-c", "sleep 600 & echo $!; exit 2"], withHostPids);
    const shim = sandbox.shim(id, bundle, { stdout });
    const output = sandbox.reader(stdout);
    await shim.start();
    await shim.end();
    expect(shim.exitStatus).toBe("2");
    expect(existsSync(`/proc/${(await output.text).toString().trim()}`)).toBe(false);
    expectNothingLeft(shim);
  });

  test("what an init leaves in a pid namespace of somebody else is killed", async () => {
    const owner = sandbox.id();
    const first = sandbox.shim(owner, sandbox.bundle(owner, ["sleep", "600"]));
    const ownerPid = await first.start();
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const bundle = sandbox.bundle(id, ["sh", "-c", "sleep 600 & exit 2"], (config) => {
      for (const namespace of config.linux.namespaces) {
        if (namespace.type === "pid") namespace.path = `/proc/${ownerPid}/ns/pid`;
      }
    });
    const shim = sandbox.shim(id, bundle, { stdout });
    sandbox.reader(stdout);
    await shim.start();
    await shim.end();
    expect(shim.exitStatus).toBe("2");
    expect(sandbox.containers).toEqual([owner]);
    expect(existsSync(`/proc/${ownerPid}`)).toBe(true);
  });

  test("the bundle may go while the container runs", async () => {
    const id = sandbox.id();
    const bundle = sandbox.bundle(id, ["sleep", "600"], withHostPids);
    const shim = sandbox.shim(id, bundle);
    const pid = await shim.start();
    rmSync(bundle, { recursive: true });
    process.kill(pid, "SIGKILL");
    await shim.end();
    expect(shim.exitStatus).toBe("137");
    expectNothingLeft(shim);
  });

  test("a container that the runtime has deleted already ends without an error", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]));
    await shim.start();
    sandbox.runtimeCall("delete", "--force", id);
    expect(await shim.end()).toBe(0);
    expect(shim.exitStatus).toBe("137");
    expect(shim.errors).toEqual([]);
  });

  test("a delete that fails once is done by force", async () => {
    const id = sandbox.id();
    const flag = join(sandbox.path, "failed-once");
    const failing = runtimeThat(`[ "$command" = delete ] && [ ! -e ${flag} ] && { touch ${flag}; exit 1; }`);
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), {}, { runtime: failing });
    await shim.start();
    await shim.end();
    expect(existsSync(flag)).toBe(true);
    expectNothingLeft(shim);
  });

  test("rubbish in the control FIFO is ignored", async () => {
    const id = sandbox.id();
    const stdin = sandbox.fifo("stdin");
    const shim = sandbox.shim(id, sandbox.bundle(id, ["cat"]), { stdin });
    await shim.start();
    shim.control(`rubbish\n1 80\n9 9 9\n${"x".repeat(3000)}\n\n0 0 0`);
    await shim.end();
    expect(shim.exitStatus).toBe("0");
  });
});

test("a process that the runtime left to somebody else: its end is seen, its status is not", async () => {
  const id = sandbox.id();
  const stranger = sandbox.client("sleep", "600");
  const runtime = join(sandbox.path, "odd-runtime.sh");
  writeFileSync(runtime, `#!/bin/sh\nwhile [ "$1" != --pid-file ]; do shift; done; printf ${stranger.pid} > "$2"\n`);
  chmodSync(runtime, 0o755);
  const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), { exec: true }, { runtime });
  expect(await shim.channel!.receive()).toBe(`created ${stranger.pid}`);
  await sleep(100);
  expect(shim.hungUp).toBe(false);
  stranger.kill();
  expect(await shim.end()).toBe(0);
  expect(shim.exitStatus).toBe("255");
});

test("too few descriptors are an error of the shim", async () => {
  const id = sandbox.id();
  const stdio = { stdin: sandbox.fifo("stdin"), stdout: sandbox.fifo("stdout"), stderr: sandbox.fifo("stderr") };
  const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), stdio);
  execFileSync("prlimit", ["--pid", `${shim.pid}`, "--nofile=12:12"]);
  sandbox.reader(stdio.stdout);
  sandbox.reader(stdio.stderr);
  expect(await shim.end()).toBe(1);
  expect(shim.errors).toHaveLength(1);
  expect(shim.errors[0]).toMatch(/too many open files$/);
});

describe("a restore", () => {
  /** A runtime that only writes down how it was called. */
  async function restoreCall(config: object, terminal: boolean): Promise<string[]> {
    const id = sandbox.id();
    const record = join(sandbox.path, "arguments");
    const runtime = join(sandbox.path, "recorder.sh");
    writeFileSync(runtime, `#!/bin/sh\n[ -e ${record} ] || printf '%s\\n' "$@" > ${record}; exit 1\n`);
    chmodSync(runtime, 0o755);
    const checkpoint = join(sandbox.path, "checkpoint");
    mkdirSync(checkpoint);
    writeFileSync(join(checkpoint, "config.json"), JSON.stringify(config));
    const bundle = sandbox.bundle(id, ["true"]);
    const shim = sandbox.shim(id, bundle, { checkpoint, terminal, noPivotRoot: terminal }, { runtime });
    expect(await shim.end()).toBe(1);
    expect(existsSync(join(checkpoint, "criu.work"))).toBe(true);
    const text = readFileSync(record, "utf8");
    return text
      .replaceAll(sandbox.path, "")
      .replaceAll(id, "ID")
      .replace(/restore-[\dTZ:-]+/, "restore-TIME")
      .trim()
      .split("\n");
  }

  test("passes on what the checkpoint was made with", async () => {
    const config = { name: "c", tcp: true, unixSockets: true, shell: true, exit: false, emptyNS: ["network"] };
    expect(await restoreCall(config, true)).toEqual([
      ...["--log", "/state/ID/init/log.json", "--log-format", "json", "--root", "/runtime"],
      ...["restore", "-d", "--bundle", "/bundle-ID", "--image-path", "/checkpoint"],
      ...["--work-path", "/checkpoint/criu.work/restore-TIME", "--shell-job", "--tcp-established", "--ext-unix-sk"],
      ...["--no-pivot", "--empty-ns", "network", "--console-socket", "/state/ID/init/console.sock"],
      ...["--pid-file", "/state/ID/init/pid", "ID"],
    ]);
  });

  test("passes on nothing else", async () => {
    expect(await restoreCall({ name: "c", emptyNS: null }, false)).toEqual([
      ...["--log", "/state/ID/init/log.json", "--log-format", "json", "--root", "/runtime"],
      ...["restore", "-d", "--bundle", "/bundle-ID", "--image-path", "/checkpoint"],
      ...["--work-path", "/checkpoint/criu.work/restore-TIME", "--pid-file", "/state/ID/init/pid", "ID"],
    ]);
  });

  test("from a checkpoint that is not there", async () => {
    const id = sandbox.id();
    const checkpoint = join(sandbox.path, "nowhere");
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), { checkpoint });
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual([`open ${checkpoint}/config.json: no such file or directory`]);
  });
});

describe("a runtime that prints more than a pipe and a FIFO hold, while the client does not read yet", () => {
  const flood = (command: string) =>
    runtimeThat(`[ "$command" = ${command} ] && { head -c 3000000 /dev/zero | tr '\\0' x >&2; echo end >&2; }`);

  /** A client's end that nothing is read from. */
  function silentReader(path: string): number {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  }

  test("in create: the start goes on, and the end of it is still told", async () => {
    const id = sandbox.id();
    const stderr = sandbox.fifo("stderr");
    const bundle = sandbox.bundle(id, ["sh", "-c", "seq 100000 >&2"]);
    const shim = sandbox.shim(id, bundle, { stderr }, { runtime: flood("create") });
    const reader = silentReader(stderr);
    await shim.start();
    const output = sandbox.reader(stderr);
    await shim.end();
    // Not before: in between nobody would have it open.
    closeSync(reader);
    expect(shim.exitStatus).toBe("0");
    // What its process writes afterwards is whole.
    const lines = Array.from({ length: 100000 }, (_, index) => `${index + 1}\n`).join("");
    expect((await output.text).toString().replace(/^x+/, "")).toBe(`end\n${lines}`);
  });

  test("in exec", async () => {
    const id = sandbox.id();
    const bundle = sandbox.bundle(id, ["sleep", "600"]);
    await sandbox.shim(id, bundle).start();
    const stderr = sandbox.fifo("stderr");
    const options = { exec: true, args: ["sh", "-c", "echo hello >&2; exit 5"], stderr };
    const shim = sandbox.shim(id, bundle, options, { runtime: flood("exec") });
    const reader = silentReader(stderr);
    expect(await shim.channel!.receive()).toBe(`created ${shim.processPid}`);
    const output = sandbox.reader(stderr);
    await shim.end();
    // Not before: in between nobody would have it open.
    closeSync(reader);
    expect(shim.exitStatus).toBe("5");
    expect((await output.text).toString()).toMatch(/x\nend\nhello\n$|xend\nhello\n$/);
  });

  test.each(["start", "kill", "delete"])("in %s", async (command) => {
    const id = sandbox.id();
    const bundle = sandbox.bundle(id, ["sleep", "600"], withHostPids);
    const shim = sandbox.shim(id, bundle, {}, { runtime: flood(command) });
    const pid = await shim.start();
    process.kill(pid, "SIGKILL");
    expect(await shim.end()).toBe(0);
    expectNothingLeft(shim);
  });

  test("in a start that fails: of what it printed the beginning and the end are told", async () => {
    const id = sandbox.id();
    const failing = runtimeThat(
      `[ "$command" = start ] && { echo begin; head -c 3000000 /dev/zero | tr '\\0' x >&2; echo; echo end; exit 3; }`,
    );
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]), {}, { runtime: failing });
    await shim.channel!.receive();
    shim.channel!.send("start");
    const message = await shim.channel!.receive();
    expect(message).toMatch(/^failed 3\0begin\nx+\n\[\d+ bytes\]\nx+\nend\n$/);
    expect(message.length).toBeLessThan(17_000);
    await shim.end();
    expectNothingLeft(shim);
  });
});

test.skipIf(!full)("a poststop hook that hangs holds up the exit for 10 s at most, and does not live on", async () => {
  const id = sandbox.id();
  const mark = join(sandbox.path, "hook");
  const bundle = sandbox.bundle(id, ["sleep", "600"], (config) => {
    // The hook's own child would outlive a kill of the hook alone.
    const args = ["sh", "-c", `sh -c 'echo $$ >> ${mark}; sleep 600; :' & echo $$ >> ${mark}; wait`];
    config.hooks = { poststop: [{ path: "/bin/sh", args }] };
  });
  const shim = sandbox.shim(id, bundle);
  const pid = await shim.start();
  process.kill(pid, "SIGKILL");
  await until("the hook", () => existsSync(mark) && readFileSync(mark, "utf8").split("\n").length === 3);
  // A hanging hook beside it is what 10 s are here.
  const timer = spawn("sleep", ["10"]);
  const passed = new Promise((resolve) => timer.once("exit", resolve));
  const first = await Promise.race([
    shim.end().then(() => "exit"),
    passed.then(() => sleep(60_000)).then(() => "late"),
  ]);
  expect(first).toBe("exit");
  const pids = readFileSync(mark, "utf8").trim().split("\n");
  expect(pids.filter((hook) => existsSync(`/proc/${hook}`))).toEqual([]);
  expectNothingLeft(shim);
});

test("under a daemon without a channel, a create that fails is no failure of the shim: the runtime's log tells why", async () => {
  const id = sandbox.id();
  const shim = sandbox.shim(id, sandbox.bundle(id, ["nope"]), {}, { channel: false });
  expect(await shim.end()).toBe(0);
  expect(shim.errors).toEqual([]);
  expect(shim.file("log.json")).toMatch(/executable file (`nope` )?not found in \$PATH/);
  expectNothingLeft(shim);
});

test("under a daemon without a channel, which runs start itself", async () => {
  const id = sandbox.id();
  const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "exit 8"]), {}, { channel: false });
  // The pid file is there before the runtime has done its part.
  await until("created", () => /"status": *"created"/.test(sandbox.runtimeCall("state", id).output));
  expect(shim.exitStatus).toBeUndefined();
  expect(sandbox.runtimeCall("start", id)).toEqual({ status: 0, output: "" });
  await shim.end();
  expect(shim.exitStatus).toBe("8");
  expectNothingLeft(shim);
});

test("an exit status on a full disk", async () => {
  const id = sandbox.id();
  const state = join(sandbox.path, "small");
  execFileSync("mkdir", [state]);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", state]);
  try {
    const bundle = sandbox.bundle(id, ["sleep", "600"]);
    const shim = sandbox.shimIn(join(state, "init"), id, bundle, {}, {});
    const pid = await shim.start();
    execFileSync("sh", ["-c", `dd if=/dev/zero of=${state}/fill bs=4k 2>/dev/null || true`]);
    process.kill(pid, "SIGKILL");
    expect(await shim.end()).toBe(0);
    expect(shim.exitStatus).toBe("137");
    expectNothingLeft(shim);
  } finally {
    execFileSync("umount", ["-l", state]);
  }
});

/** AddProcess, on real runc: what an exec gets, its events, and the order of its exit. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { holders, isRunning, processes } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually, sleep } from "../harness/wait.js";

let daemon: TestDaemon;
/** One that most tests share. */
let container: TestContainer;
beforeAll(async () => {
  daemon = await startDaemon();
  container = await startContainer(daemon, {
    name: "shared",
    args: ["sleep", "1000"],
    env: ["COLOR=blue"],
    cwd: "/tmp",
  });
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** Runs a shell script in the shared container; its output. */
async function output(pid: string, script: string, request: object = {}): Promise<string> {
  using exec = await startExec(daemon, container, { pid, args: ["sh", "-c", script], stdio: true, request });
  const { stdout, stderr } = await exec.output();
  expect(stderr).toBe("");
  expect(await exec.exit()).toBe(0);
  return stdout;
}

/** A line of /proc/self/status. */
const field = (name: string, request?: object) =>
  output(`field-${name}-${Math.random()}`, `grep ^${name}: /proc/self/status`, request).then((line) =>
    line.slice(name.length + 1).trim(),
  );

const CAP_CHOWN = 1n << 0n;
const CAP_KILL = 1n << 5n;
const hex = (mask: bigint) => mask.toString(16).padStart(16, "0");

test("args: the process runs with just these, its output arrives, its exit code is told", async () => {
  using exec = await startExec(daemon, container, {
    pid: "args",
    args: ["sh", "-c", 'for a in "$@"; do echo "[$a]"; done; echo problem >&2; exit 7', "sh", "two words", "", "$X"],
    stdio: true,
  });
  expect(await exec.output()).toEqual({ stdout: "[two words]\n[]\n[$X]\n", stderr: "problem\n" });
  expect(await exec.exit()).toBe(7);
});

test("the answer tells the host's pid, in the container's cgroup", async () => {
  using exec = await startExec(daemon, container, { pid: "answer", args: ["sleep", "1000"] });
  expect(readFileSync(`/proc/${exec.systemPid}/cmdline`, "utf8")).toBe("sleep\x001000\x00");
  expect(readFileSync(`/proc/${exec.systemPid}/cgroup`, "utf8")).toContain(`/${container.id}\n`);
  await exec.kill();
  expect(await exec.exit()).toBe(137);
});

test("env and cwd: those of the request, or else the init's", async () => {
  expect(
    await output("env-own", "env | grep -E '^(COLOR|TASTE)='; pwd", { env: ["TASTE=sweet", "PATH=/bin"], cwd: "/etc" }),
  ).toBe("TASTE=sweet\n/etc\n");
  expect(await output("env-init", "env | grep -E '^(COLOR|TASTE)='; pwd")).toBe("COLOR=blue\n/tmp\n");
});

test("user, group and additional groups", async () => {
  expect(await output("user", "id -u; id -g; id -G", { user: { uid: 1000, gid: 1001, additionalGids: [7, 8] } })).toBe(
    "1000\n1001\n1001 7 8\n",
  );
});

test("a missing user means 0:0", async () => {
  using other = await startContainer(daemon, {
    name: "no-root",
    args: ["sleep", "1000"],
    spec: (spec) => {
      spec.process.user = { uid: 1000, gid: 1000 };
    },
  });
  using exec = await startExec(daemon, other, { pid: "user", args: ["sh", "-c", "id -u; id -g"], stdio: true });
  expect((await exec.output()).stdout).toBe("0\n0\n");
  expect(await exec.exit()).toBe(0);
  await other.kill();
  await other.exit();
});

test("capabilities: a list becomes the bounding, effective, inheritable and permitted sets", async () => {
  const capabilities = ["CAP_CHOWN", "CAP_KILL"];
  const mask = hex(CAP_CHOWN | CAP_KILL);
  for (const set of ["CapBnd", "CapEff", "CapInh", "CapPrm"]) {
    expect(await field(set, { capabilities }), set).toBe(mask);
  }
  expect(await field("CapAmb", { capabilities })).toBe(hex(0n));
});

test("capabilities: without a list the process has none", async () => {
  for (const set of ["CapBnd", "CapEff", "CapInh", "CapPrm", "CapAmb"]) expect(await field(set), set).toBe(hex(0n));
});

test("the umask is the init's", async () => {
  expect(await output("umask", "umask")).toBe("0022\n");
  await using other = await startContainer(daemon, {
    name: "umask",
    args: ["sh", "-c", "umask; exec sleep 1000"],
    stdio: true,
    spec: (spec) => {
      spec.process.user.umask = 0o27;
    },
  });
  await other.printed("0027\n");
  using exec = await startExec(daemon, other, { pid: "umask", args: ["sh", "-c", "umask"], stdio: true });
  expect((await exec.output()).stdout).toBe("0027\n");
});

test("resource limits", async () => {
  const rlimits = [
    { type: "RLIMIT_FSIZE", soft: 100n, hard: 200n },
    // Not the soft one of NOFILE: runc's Go runtime raises it now and then while runc sets it (1.1.5 with Go 1.19).
    { type: "RLIMIT_NOFILE", soft: 150n, hard: 150n },
    { type: "RLIMIT_CORE", soft: 0n, hard: 2n ** 64n - 1n },
  ];
  const limits = await output("rlimits", "cat /proc/self/limits", { rlimits });
  expect(limits).toMatch(/^Max file size +100 +200 /m);
  expect(limits).toMatch(/^Max open files +150 +150 /m);
  expect(limits).toMatch(/^Max core file size +0 +unlimited /m);
});

test("noNewPrivileges: as asked for, not the init's", async () => {
  expect(await field("NoNewPrivs", { noNewPrivileges: true })).toBe("1");
  expect(await field("NoNewPrivs", { noNewPrivileges: false })).toBe("0");
});

test("apparmorProfile and selinuxLabel reach the runtime", async () => {
  const { path, on, off } = wrapRuntime(daemon.dir, "show", "exec", { kind: "hold" });
  using other = await startContainer(daemon, {
    name: "labelled",
    args: ["sleep", "1000"],
    request: { runtime: path },
  });
  on();
  const request = { apparmorProfile: "docker-default", selinuxLabel: "system_u:system_r:svirt_t:s0" };
  const failed = startExec(daemon, other, { pid: "labels", args: ["true"], request });
  failed.catch(() => {});
  const file = join(daemon.stateDir, other.id, "labels/process.json");
  const state = await eventually(() => JSON.parse(readFileSync(file, "utf8")));
  expect(state).toMatchObject(request);
  off();
  // A machine without the two refuses; one that has them knows no such profile or label.
  await expect(failed).rejects.toMatchObject({
    code: status.INTERNAL,
    details: expect.stringMatching(/^oci runtime error: .*(apparmor|selinux)/i),
  });
  await other.kill();
  await other.exit();
});

test("State shows an exec with all that it was started with", async () => {
  const request = {
    env: ["PATH=/bin", "A=b"],
    cwd: "/etc",
    user: { uid: 5, gid: 6, additionalGids: [7] },
    capabilities: ["CAP_KILL"],
    rlimits: [{ type: "RLIMIT_CORE", soft: 10n, hard: 2n ** 64n - 1n }],
    noNewPrivileges: true,
  };
  using exec = await startExec(daemon, container, { pid: "shown", args: ["sleep", "1000"], stdio: true, request });
  const state = (await daemon.api.state({ id: container.id })).containers[0]!;
  expect(state.processes.find(({ pid }) => pid === "shown")).toEqual({
    pid: "shown",
    terminal: false,
    args: ["sleep", "1000"],
    systemPid: exec.systemPid,
    ...exec.stdio.paths,
    apparmorProfile: "",
    selinuxLabel: "",
    ...request,
  });
  expect(state.pids).toContain(exec.systemPid);
  await exec.kill();
  await exec.exit();
  const after = (await daemon.api.state({ id: container.id })).containers[0]!;
  expect(after.processes.map(({ pid }) => pid)).not.toContain("shown");
  expect(after.pids).not.toContain(exec.systemPid);
});

test("an exec has a shim of its own, in a directory of its own, and leaves nothing", async () => {
  const before = daemon.snapshot();
  const exec = await startExec(daemon, container, { pid: "own", args: ["sleep", "1000"] });
  const directory = join(daemon.stateDir, container.id, "own");
  const shims = processes().filter((process) => process.directory === directory);
  expect(shims).toHaveLength(1);
  expect(shims[0]!.pid).toBe(processes().find(({ pid }) => pid === exec.systemPid)?.parent);
  expect(readlinkSync(`/proc/${shims[0]!.pid}/cwd`)).toBe(directory);
  await exec.kill();
  await exec.exit();
  expect(existsSync(directory)).toBe(false);
  await eventually(() => !processes().some((process) => process.directory.startsWith(directory)));
  await daemon.expectNoMoreDescriptors(before);
});

test("events: start-process, then exit, each once and with the name", async () => {
  using exec = await startExec(daemon, container, { pid: "events", args: ["true"] });
  expect(await exec.exit()).toBe(0);
  const events = daemon.events.all({ id: container.id, pid: "events" });
  expect(events.map(({ type, status }) => [type, status])).toEqual([
    ["start-process", 0],
    ["exit", 0],
  ]);
});

test("a name is free again as soon as the exit event is there", async () => {
  for (let round = 1; round <= 5; round++) {
    await startExec(daemon, container, { pid: "again", args: ["true"] });
    await eventually(() => daemon.events.all({ id: container.id, pid: "again", type: "exit" }).length === round, {
      interval: 1,
    });
  }
});

test("stdin arrives and ends with closeStdin", async () => {
  using exec = await startExec(daemon, container, { pid: "stdin", args: ["sh", "-c", "cat; echo end"], stdio: true });
  await new Promise((resolve) => exec.stdio.stdin.write("a line\n", resolve));
  await daemon.api.updateProcess({ id: container.id, pid: "stdin", closeStdin: true });
  exec.stdio.stdin.destroy();
  expect((await exec.output()).stdout).toBe("a line\nend\n");
  expect(await exec.exit()).toBe(0);
});

test("the exit waits until the stdio is closed", async () => {
  using exec = await startExec(daemon, container, {
    pid: "holder",
    args: ["sh", "-c", "(sleep 1; echo late) & echo early; exit 4"],
    stdio: true,
  });
  await eventually(() => !isRunning(exec.systemPid));
  expect(daemon.events.all({ id: container.id, type: "exit", pid: "holder" })).toEqual([]);
  const outputs = exec.output();
  expect(await exec.exit()).toBe(4);
  expect(holders(exec.stdio.paths.stdout).filter((pid) => pid !== process.pid)).toEqual([]);
  expect((await outputs).stdout).toBe("early\nlate\n");
});

test("Signal reaches an exec, and only it", async () => {
  using exec = await startExec(daemon, container, {
    pid: "signal",
    args: ["sh", "-c", "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.01; done"],
    stdio: true,
  });
  await exec.printed("ready");
  await exec.kill(0);
  await exec.kill(10);
  expect((await exec.output()).stdout).toBe("ready\ncaught\n");
  expect(await exec.exit()).toBe(9);
  expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
});

test("Signal to an exec that has ended but is held by its stdio: no such process, and nobody else is hit", async () => {
  using exec = await startExec(daemon, container, {
    pid: "ended",
    args: ["sh", "-c", "sleep 2 & exit 0"],
    stdio: true,
  });
  await eventually(() => !existsSync(`/proc/${exec.systemPid}`));
  await expect(exec.kill(9)).rejects.toMatchObject({ code: status.NOT_FOUND, details: "no such process" });
  expect(await exec.exit()).toBe(0);
});

test("Signal to an exec whose pid has been given to another process: no such process, and that one is not hit", async ({
  skip,
}) => {
  const last = "/proc/sys/kernel/ns_last_pid";
  if (!existsSync(last)) skip("this kernel does not let pids be chosen");
  /** False when somebody else on this machine has the pid, and keeps it. */
  const tried = async (name: string): Promise<boolean> => {
    using exec = await startExec(daemon, container, {
      pid: name,
      // What keeps its output open, until it is told to end, is in a session of its own: as long as a session has processes, its number is
      // not given out again.
      args: ["sh", "-c", "exec 3<&0; setsid sh -c 'read -r line <&3' & exit 0"],
      stdio: true,
    });
    const { systemPid } = exec;
    await eventually(() => !existsSync(`/proc/${systemPid}`));
    let stranger: ChildProcess | undefined;
    // Others start processes too: as often as it takes.
    while (stranger === undefined && !existsSync(`/proc/${systemPid}`)) {
      writeFileSync(last, String(systemPid - 1));
      const child = spawn("sleep", ["1000"]);
      if (child.pid === systemPid) stranger = child;
      else child.kill("SIGKILL");
      await sleep(1);
    }
    try {
      if (stranger !== undefined) {
        await expect(exec.kill(9)).rejects.toMatchObject({ code: status.NOT_FOUND, details: "no such process" });
        expect(isRunning(systemPid)).toBe(true);
      }
    } finally {
      stranger?.kill("SIGKILL");
    }
    exec.stdio.stdin.write("end\n");
    expect(await exec.exit()).toBe(0);
    return stranger !== undefined;
  };
  for (let n = 0; !(await tried(`recycled-${n}`)); n++) expect(n).toBeLessThan(20);
});

test("20 execs of one container and of others at once", async () => {
  const others = await Promise.all(
    [1, 2].map((n) => startContainer(daemon, { name: `side-${n}`, args: ["sleep", "1000"] })),
  );
  const targets = [container, ...others];
  const execs = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      startExec(daemon, targets[n % 3]!, { pid: `many-${n}`, args: ["sh", "-c", `echo ${n}; exit ${n}`], stdio: true }),
    ),
  );
  for (const [n, exec] of execs.entries()) {
    expect((await exec.output()).stdout).toBe(`${n}\n`);
    expect(await exec.exit()).toBe(n);
    exec[Symbol.dispose]();
  }
  for (const other of others) {
    await other.kill();
    await other.exit();
  }
});

test("execs of one container run side by side: a slow one holds up no other", async () => {
  const { path, on, off, called } = wrapRuntime(daemon.dir, "slow", "exec", { kind: "hold" });
  using other = await startContainer(daemon, { name: "slow", args: ["sleep", "1000"], request: { runtime: path } });
  on();
  const names = ["a", "b", "c", "d"];
  const starts = Promise.all(names.map((pid) => startExec(daemon, other, { pid, args: ["sleep", "1000"] })));
  // All of them are at it, and none has ended.
  await called("exec", names.length);
  off();
  await starts;
  await other.kill();
  await other.exit();
});

/** Of one container: the exits in the order of the events. */
const exits = (id: string) => daemon.events.all({ id, type: "exit" }).map(({ pid, status }) => [pid, status]);

test("when init is killed its execs' exits come before it", async () => {
  for (let round = 0; round < 5; round++) {
    using dying = await startContainer(daemon, { name: `dying-${round}`, args: ["sleep", "1000"] });
    await Promise.all(["a", "b", "c"].map((pid) => startExec(daemon, dying, { pid, args: ["sleep", "1000"] })));
    await dying.kill();
    await dying.exit();
    await sleep(50);
    const order = exits(dying.id);
    expect(order.at(-1)).toEqual(["init", 137]);
    expect(order.slice(0, -1).sort()).toEqual([
      ["a", 137],
      ["b", 137],
      ["c", 137],
    ]);
  }
  await eventually(async () => (await daemon.api.state()).containers.length === 1);
});

test("when init ends while nothing reads an exec's output, the exits come in order all the same", async () => {
  const out = join(daemon.dir, "unread.out");
  makeFifos(out);
  using dying = await startContainer(daemon, { name: "unread", args: ["sleep", "1000"] });
  using exec = await startExec(daemon, dying, {
    pid: "flood",
    // Without end: what is read before the reader has gone may be a lot.
    args: ["cat", "/dev/zero"],
    stdio: true,
  });
  exec.stdio.stdout.destroy();
  await sleep(200);
  await dying.kill();
  expect(await dying.exit()).toBe(137);
  expect(exits(dying.id)).toEqual([
    ["flood", 137],
    ["init", 137],
  ]);
});

test("when init dies while execs are being started, each of them fails or has its exit before the container's", async () => {
  const failures: string[] = [];
  for (let round = 0; round < 8; round++) {
    using dying = await startContainer(daemon, { name: `race-${round}`, args: ["sleep", "1000"] });
    const starts = ["a", "b", "c"].map((pid) => startExec(daemon, dying, { pid, args: ["sleep", "1000"] }));
    const results = Promise.allSettled(starts);
    await sleep(round * 8);
    await dying.kill();
    expect(await dying.exit()).toBe(137);
    const begun = daemon.events.all({ id: dying.id, type: "start-process" }).map(({ pid }) => pid);
    for (const [n, result] of (await results).entries()) {
      expect(begun.includes("abc"[n]!)).toBe(result.status === "fulfilled");
      if (result.status === "rejected") failures.push(result.reason.details);
    }
    await sleep(30);
    const order = exits(dying.id);
    expect(order.at(-1)![0]).toBe("init");
    expect(
      order
        .slice(0, -1)
        .map(([pid]) => pid)
        .sort(),
    ).toEqual(begun.sort());
  }
  for (const message of failures) {
    expect(message).toMatch(
      /^(containerd: container not found$|oci runtime error: |containerd: container not started$)/,
    );
  }
  await eventually(async () => (await daemon.api.state()).containers.length === 1);
});

test("a call that is cancelled ends the start of the exec and leaves nothing", async () => {
  const { path, on, off, called, idle } = wrapRuntime(daemon.dir, "cancelled", "exec", { kind: "hold" });
  using other = await startContainer(daemon, { name: "cancel", args: ["sleep", "1000"], request: { runtime: path } });
  const before = daemon.snapshot();
  on();
  const cancel = new AbortController();
  const call = startExec(daemon, other, { pid: "e", args: ["sleep", "1234"], call: { signal: cancel.signal } });
  call.catch(() => {});
  await called("exec");
  cancel.abort();
  await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
  off();
  const directory = join(daemon.stateDir, other.id, "e");
  await eventually(() => !existsSync(directory), { what: "the end of the exec's directory" });
  // The runtime was held until then.
  await idle();
  expect(processes().filter(({ command }) => command === "sleep 1234")).toEqual([]);
  await daemon.expectNoMoreDescriptors(before);
  // The name is free.
  using again = await startExec(daemon, other, { pid: "e", args: ["true"] });
  expect(await again.exit()).toBe(0);
  expect(daemon.events.all({ id: other.id, pid: "e" }).map(({ type }) => type)).toEqual(["start-process", "exit"]);
  await other.kill();
  await other.exit();
});

test("a call that is cancelled, or whose container ends, while a change of its container hangs waits no longer", async () => {
  const { path, on, called } = wrapRuntime(daemon.dir, "changing", ["update", "exec"], { kind: "hang" });
  using other = await startContainer(daemon, { name: "change", args: ["sleep", "1000"], request: { runtime: path } });
  on();
  const change = daemon.api.updateContainer({ id: other.id, resources: { cpuShares: 512n } });
  change.catch(() => {});
  await called("update");
  const directory = join(daemon.stateDir, other.id, "e");
  for (let round = 0; round < 2; round++) {
    const cancel = new AbortController();
    const call = startExec(daemon, other, { pid: "e", args: ["true"], call: { signal: cancel.signal } });
    call.catch(() => {});
    await eventually(() => existsSync(directory));
    cancel.abort();
    await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
    // With it its name is free, which the next round takes; the change hangs all the while.
    await eventually(() => !existsSync(directory));
  }
  const call = startExec(daemon, other, { pid: "e", args: ["true"] });
  call.catch(() => {});
  await eventually(() => existsSync(directory));
  await other.kill();
  await expect(call).rejects.toMatchObject({ code: status.NOT_FOUND, details: "containerd: container not found" });
  await expect(change).rejects.toMatchObject({ code: status.NOT_FOUND });
  expect(await other.exit()).toBe(137);
  expect(daemon.events.all({ id: other.id, pid: "e" })).toEqual([]);
});

test("a call whose deadline is over ends the start of the exec", async () => {
  const { path, on } = wrapRuntime(daemon.dir, "late", "exec", { kind: "hang" });
  using other = await startContainer(daemon, { name: "late", args: ["sleep", "1000"], request: { runtime: path } });
  on();
  await expect(startExec(daemon, other, { pid: "e", args: ["true"], call: { timeout: 300 } })).rejects.toMatchObject({
    code: status.DEADLINE_EXCEEDED,
  });
  // The runtime gets some time to end what it is at before it is killed.
  await eventually(() => !existsSync(join(daemon.stateDir, other.id, "e")));
  await other.kill();
  await other.exit();
});

test("--start-timeout ends an exec that takes too long", async () => {
  await using impatient = await startDaemon({ flags: await startTimeoutFlags() });
  const { path, on } = wrapRuntime(impatient.dir, "hanging", "exec", { kind: "hang" });
  using other = await startContainer(impatient, { name: "c", args: ["sleep", "1000"], request: { runtime: path } });
  on();
  await expect(startExec(impatient, other, { pid: "e", args: ["true"] })).rejects.toMatchObject({
    details: "containerd: container did not start before the specified timeout",
  });
  expect((await impatient.api.state()).containers[0]?.processes.map(({ pid }) => pid)).toEqual(["init"]);
  expect(existsSync(join(impatient.stateDir, other.id, "e"))).toBe(false);
});

test("errors: unknown container, no id, no pid, a pid in use, init's, one that leaves the directory", async () => {
  const fails = (request: object) => daemon.api.addProcess({ args: ["true"], ...request });
  await expect(fails({ id: "nobody", pid: "x" })).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: "containerd: container not found",
  });
  await expect(fails({ pid: "x" })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: "container id cannot be empty",
  });
  await expect(fails({ id: container.id })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: "process id cannot be empty",
  });
  using exec = await startExec(daemon, container, { pid: "taken", args: ["sleep", "1000"] });
  for (const pid of ["taken", "init"]) {
    await expect(fails({ id: container.id, pid })).rejects.toMatchObject({
      code: status.ALREADY_EXISTS,
      details: `mkdir ${daemon.stateDir}/${container.id}/${pid}: file exists`,
    });
  }
  for (const pid of ["..", ".", "a/b", "../x"]) {
    await expect(fails({ id: container.id, pid })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  }
  // What it hit is unhurt.
  await exec.kill(0);
  await exec.kill();
  await exec.exit();
});

test("a name that is taken by an exec still being started is refused", async () => {
  const results = await Promise.allSettled(
    [1, 2, 3].map(() => startExec(daemon, container, { pid: "twice", args: ["sh", "-c", "exit 3"] })),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  for (const result of results) {
    if (result.status === "rejected") expect(result.reason.code).toBe(status.ALREADY_EXISTS);
  }
  await daemon.events.waitFor({ id: container.id, type: "exit", pid: "twice" });
  expect(daemon.events.all({ id: container.id, type: "exit", pid: "twice" }).map((e) => e.status)).toEqual([3]);
});

test("errors: a failing runtime's words, and nothing is left", async () => {
  const before = daemon.snapshot();
  await expect(startExec(daemon, container, { pid: "nothing", args: ["no-such-program"] })).rejects.toMatchObject({
    code: status.INTERNAL,
    details: expect.stringMatching(/^oci runtime error: .*no-such-program.*(executable file not found|no such file)/),
  });
  await expect(startExec(daemon, container, { pid: "nothing", args: ["/etc"] })).rejects.toMatchObject({
    details: expect.stringMatching(/^oci runtime error: .*permission denied/),
  });
  await expect(startExec(daemon, container, { pid: "nothing", args: ["true"], request: { cwd: "/nowhere" } }))
    .resolves.toBeTruthy()
    .catch(() => {});
  expect(existsSync(join(daemon.stateDir, container.id, "nothing"))).toBe(false);
  await daemon.expectNoMoreDescriptors(before);
  expect(daemon.events.all({ id: container.id, pid: "nothing" })).toEqual([]);
});

test("errors: stdio that is not there", async () => {
  const stdout = join(daemon.dir, "missing.out");
  await expect(
    startExec(daemon, container, { pid: "missing", args: ["true"], request: { stdout } }),
  ).rejects.toMatchObject({
    details: expect.stringMatching(/^shim error: .*missing\.out.*no such file or directory/),
  });
  expect(existsSync(join(daemon.stateDir, container.id, "missing"))).toBe(false);
});

test("errors of Signal: unknown container, unknown process, bad number", async () => {
  await expect(daemon.api.signal({ id: "nobody", pid: "init", signal: 9 })).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: "containerd: container not found",
  });
  await expect(daemon.api.signal({ id: container.id, pid: "nobody", signal: 9 })).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: "containerd: process not found for container",
  });
  for (const signal of [65, 1000, 2 ** 31, 2 ** 32 - 1]) {
    await expect(daemon.api.signal({ id: container.id, pid: "init", signal })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "invalid argument",
    });
  }
  await daemon.api.signal({ id: container.id, pid: "init", signal: 0 });
});

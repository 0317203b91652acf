import { createHash, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { processesOf, waitsToWrite } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";
import { ctr, ctrError, fifoDirectories, runCtr, startCtr, startIsTold } from "./ctr.js";

const sha256 = (data: Buffer) => createHash("sha256").update(data).digest("hex");

test("an attached start shows both outputs and ends with the container's status", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("b", { args: ["sh", "-c", "echo out; echo err >&2; exit 7"] });
  const result = await runCtr(daemon, ["containers", "start", "--attach", daemon.id("a"), bundle]);
  expect({ ...result, stdout: String(result.stdout) }).toEqual({
    status: 7,
    signal: null,
    stdout: "out\n",
    stderr: "err\n",
  });
  expect(fifoDirectories(daemon)).toEqual([]);
  await daemon.expectNothingLeft();
});

test.each([
  ["15", 143],
  ["KILL", 137],
])("a container that is killed with %s", async (signal, status) => {
  await using daemon = await startDaemon();
  // As init, a shell only dies of signals that it has asked for.
  const bundle = daemon.bundle("b", {
    args: ["sh", "-c", "trap 'trap - TERM; exit 143' TERM; echo up; while :; do sleep 0.05; done"],
  });
  const running = startCtr(daemon, "containers", "start", "-a", daemon.id("a"), bundle);
  await running.printed("up");
  await ctr(daemon, "containers", "kill", "--signal", signal, daemon.id("a"));
  expect((await running.result).status).toBe(status);
});

test("stdin arrives whole and ends; stdout arrives whole, also when its reader is slow", async () => {
  await using daemon = await startDaemon();
  const data = randomBytes(5_000_000);
  const cat = daemon.bundle("cat", { args: ["cat"] });
  const copied = await runCtr(daemon, ["containers", "start", "-a", daemon.id("cat"), cat], data);
  expect(copied.status).toBe(0);
  expect(sha256(copied.stdout)).toBe(sha256(data));

  const big = daemon.bundle("big", { args: ["sh", "-c", "head -c 10485760 /dev/zero | tr '\\0' x; echo end"] });
  const running = startCtr(daemon, "containers", "start", "-a", daemon.id("big"), big);
  running.child.stdin!.end();
  running.child.stdout!.pause();
  await eventually(() => waitsToWrite(daemon.id("big")), { what: "full pipes" });
  running.child.stdout!.resume();
  const { status, stdout } = await running.result;
  expect(status).toBe(0);
  expect(stdout.length).toBe(10485760 + 4);
  expect(String(stdout.subarray(-4))).toBe("end\n");
});

test("an output that nobody reads any more does not hold up the container", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("b", { args: ["sh", "-c", "head -c 1000000 /dev/zero; exit 5"] });
  const running = startCtr(daemon, "containers", "start", "-a", daemon.id("a"), bundle);
  running.child.stdin!.end();
  running.child.stdout!.destroy();
  expect((await running.result).status).toBe(5);
});

test("a signal ends ctr and not the container; the FIFOs' folder is gone", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("b", { args: ["sh", "-c", "echo up; sleep 1000"] });
  for (const [signal, status] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    const id = daemon.id(signal);
    const running = startCtr(daemon, "containers", "start", "-a", id, bundle);
    await running.printed("up");
    await startIsTold(daemon, id);
    running.child.kill(signal);
    expect(await running.result).toMatchObject({ status, stderr: "" });
    expect(await ctr(daemon, "containers", "list", id)).toContain("running");
    await ctr(daemon, "containers", "kill", "-s", "KILL", id);
  }
  expect(fifoDirectories(daemon)).toEqual([]);
  await daemon.expectNothingLeft();
});

test("a signal while ctr waits for the start ends the start", async () => {
  await using daemon = await startDaemon();
  const slow = wrapRuntime(daemon.dir, "slow-runc", "create", { kind: "hang" });
  slow.on();
  const bundle = daemon.bundle("b", { args: ["sleep", "1000"] });
  const id = daemon.id("a");
  const running = startCtr(daemon, "containers", "start", "-a", "--runtime", slow.path, id, bundle);
  await slow.called("create");
  running.child.kill("SIGTERM");
  expect((await running.result).status).toBe(143);
  expect(fifoDirectories(daemon)).toEqual([]);
  await daemon.expectNothingLeft();
});

test("a daemon that is restarted while attached: output, input and status arrive", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("b", { args: ["sh", "-c", "echo up; read line; echo got $line; exit 9"] });
  const running = startCtr(daemon, "containers", "start", "-a", daemon.id("a"), bundle);
  await running.printed("up");
  await startIsTold(daemon, daemon.id("a"));
  await daemon.restart({ kill: true });
  running.child.stdin!.write("hello\n");
  const { status, stdout, stderr } = await running.result;
  expect({ status, stdout: String(stdout), stderr }).toEqual({ status: 9, stdout: "up\ngot hello\n", stderr: "" });
});

test("a container that ends while the daemon is away: its status arrives once that is back", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("b", { args: ["sh", "-c", "echo up; read line; exit 9"] });
  const running = startCtr(daemon, "containers", "start", "-a", daemon.id("a"), bundle);
  await running.printed("up");
  await startIsTold(daemon, daemon.id("a"));
  await daemon.kill();
  running.child.stdin!.end("go\n");
  await eventually(() => processesOf(daemon.id("a")).length === 0, { what: "the end" });
  await daemon.start();
  expect((await running.result).status).toBe(9);
});

test.skipIf(!full)("a daemon that does not come back is given up", async () => {
  await using daemon = await startDaemon();
  const bundle = daemon.bundle("b", { args: ["sh", "-c", "echo up; sleep 1000"] });
  const running = startCtr(daemon, "containers", "start", "-a", daemon.id("a"), bundle);
  await running.printed("up");
  await startIsTold(daemon, daemon.id("a"));
  await daemon.kill();
  const { status, stderr } = await running.result;
  expect(status).toBe(1);
  expect(stderr).toMatch(/^\[ctr\] cannot reach containerd at unix:.*; the process goes on running, without ctr\n$/);
  expect(fifoDirectories(daemon)).toEqual([]);
  await daemon.start();
  expect(await ctr(daemon, "containers")).toContain("running");
});

test("exec: outputs, status, user, environment and directory; the flags behind the command are its own", async () => {
  await using daemon = await startDaemon();
  const id = daemon.id("a");
  await ctr(daemon, "containers", "start", id, daemon.bundle("b", { args: ["sleep", "1000"] }));
  const exec = (...words: string[]) => runCtr(daemon, ["containers", "exec", "--id", id, ...words], "input\n");
  const script = "id -u; id -g; echo $A-$B; pwd; cat; echo err >&2; exit 3";
  const flags = ["-u", "1000", "--gid=1001", "-e", "A=1", "--env", "B=2", "--cwd", "/tmp"];
  const result = await exec("--pid", "one", "--attach", ...flags, "sh", "-c", script);
  expect({ ...result, stdout: String(result.stdout) }).toMatchObject({
    status: 3,
    stdout: "1000\n1001\n1-2\n/tmp\ninput\n",
    stderr: "err\n",
  });
  // Without --env there is a PATH all the same.
  expect(String((await exec("-pid", "two", "-a", "ls", "-a", "/")).stdout)).toContain("..\nbin\n");
  const missing = await exec("--pid", "three", "-a", "no-such-program");
  expect(missing.status).toBe(1);
  expect(missing.stderr).toContain("[ctr] ");
  expect(missing.stderr).toContain("no-such-program");
  expect(fifoDirectories(daemon)).toEqual([]);
});

test("a detached shell goes on waiting for input, and output that nobody reads does not hold it up", async () => {
  await using daemon = await startDaemon();
  const shell = daemon.id("shell");
  await ctr(daemon, "containers", "start", shell, daemon.bundle("shell", { args: ["sh"] }));
  const noisy = daemon.id("noisy");
  const script = "head -c 1000000 /dev/zero; exit 0";
  await ctr(daemon, "containers", "start", noisy, daemon.bundle("noisy", { args: ["sh", "-c", script] }));
  await eventually(async () => !(await ctr(daemon, "containers")).includes(noisy));
  expect(await ctr(daemon, "containers")).toContain(shell);
  const { status, stderr } = await runCtr(daemon, ["containers", "exec", "--id", shell, "--pid", "e", "sleep", "1000"]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining("nothing of it is shown") });
  expect(await ctr(daemon, "containers")).toMatch(/init,e\n/);
  expect(fifoDirectories(daemon)).toEqual([]);
  expect(await ctrError(daemon, "containers", "exec", "--id", shell, "--pid", "e", "true")).toMatch(
    /the name "e" is taken by a process.*file exists\)$/,
  );
});

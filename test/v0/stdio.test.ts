/** Bytes between a client and a container without a terminal. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { full } from "../harness/extent.js";
import { holders, waitsToWrite } from "../harness/processes.js";
import { collect, makeFifos, openReader } from "../harness/stdio.js";
import { eventually, sleep, within } from "../harness/wait.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const sha256 = (data: Buffer) => createHash("sha256").update(data).digest("hex");

test("10 MB through stdout arrive whole", async () => {
  await using container = await startContainer(daemon, {
    name: "10mb",
    args: [
      "sh",
      "-c",
      "dd if=/dev/urandom of=/tmp/data bs=1M count=10 2>/dev/null; sha256sum </tmp/data >&2; cat /tmp/data",
    ],
    stdio: true,
  });
  const { stdout, stderr } = await container.output(30_000);
  expect(stdout.length).toBe(10 * 2 ** 20);
  expect(sha256(stdout)).toBe(stderr.toString().split(" ")[0]);
  expect(await container.exit()).toBe(0);
});

test("10 MB go in through stdin and come out of stdout whole", async () => {
  await using container = await startContainer(daemon, { name: "cat", args: ["cat"], stdio: true });
  const data = Buffer.alloc(10 * 2 ** 20, "all work and no play makes jack a dull boy\n");
  container.stdio.stdin.write(data, () => {
    container.stdio.stdin.destroy();
    daemon.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
  });
  const { stdout } = await container.output(30_000);
  expect(stdout.length).toBe(data.length);
  expect(sha256(stdout)).toBe(sha256(data));
  expect(await container.exit()).toBe(0);
});

test("stdout and stderr are kept apart", async () => {
  await using container = await startContainer(daemon, {
    name: "both",
    args: ["sh", "-c", "echo out; echo err >&2; echo out2; echo err2 >&2"],
    stdio: true,
  });
  const { stdout, stderr } = await container.output();
  expect(stdout.toString()).toBe("out\nout2\n");
  expect(stderr.toString()).toBe("err\nerr2\n");
  await container.exit();
});

test("everything has arrived and the FIFOs are closed before the exit event", async () => {
  for (let round = 0; round < 5; round++) {
    await using container = await startContainer(daemon, {
      name: `whole-${round}`,
      args: ["sh", "-c", "dd if=/dev/zero bs=64k count=16 2>/dev/null; exit 5"],
      stdio: true,
    });
    const output = container.output();
    expect(await container.exit()).toBe(5);
    expect(holders(container.stdio.paths.stdout).filter((pid) => pid !== process.pid)).toEqual([]);
    expect((await output).stdout.length).toBe(2 ** 20);
  }
});

test("stdin does not end when its writer goes, only by closeStdin", async () => {
  await using container = await startContainer(daemon, { name: "stdin", args: ["cat"], stdio: true });
  container.stdio.stdin.write("one\n");
  await container.printed("one\n");
  container.stdio.stdin.destroy();
  await sleep(300);
  expect((await daemon.api.state({ id: container.id })).containers).toHaveLength(1);
  await daemon.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
  expect(await container.exit()).toBe(0);
  expect((await container.output()).stdout.toString()).toBe("one\n");
});

test("closeStdin with a writer that is still there: what was written arrives before the end", async () => {
  await using container = await startContainer(daemon, { name: "close", args: ["cat"], stdio: true });
  await new Promise((resolve) => container.stdio.stdin.write("last words\n", resolve));
  await daemon.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
  container.stdio.stdin.destroy();
  expect(await container.exit()).toBe(0);
  expect((await container.output()).stdout.toString()).toBe("last words\n");
});

test("an empty path is /dev/null", async () => {
  await using container = await startContainer(daemon, {
    name: "null",
    args: ["sh", "-c", 'read line; test -z "$line" || exit 1; echo out; echo err >&2; exit 6'],
  });
  expect(await container.exit()).toBe(6);
});

test("an empty path is told as /dev/null, in each answer and in process.json", async () => {
  await using container = await startContainer(daemon, { name: "told", args: ["sleep", "1000"] });
  const nothing = { stdin: "/dev/null", stdout: "/dev/null", stderr: "/dev/null" };
  expect(container.response.container!.processes[0]).toMatchObject(nothing);
  const stdout = join(daemon.dir, "told.out");
  writeFileSync(stdout, "");
  using _exec = await startExec(daemon, container, { pid: "told", args: ["sleep", "1000"], request: { stdout } });
  const { processes } = (await daemon.api.state({ id: container.id })).containers[0]!;
  expect(processes.find(({ pid }) => pid === "told")).toMatchObject({ ...nothing, stdout });
  for (const [name, out] of [
    ["init", "/dev/null"],
    ["told", stdout],
  ] as const) {
    const state = readFileSync(join(daemon.stateDir, container.id, name, "process.json"), "utf8");
    expect(JSON.parse(state)).toMatchObject({
      containerdStdin: "/dev/null",
      containerdStdout: out,
      containerdStderr: "/dev/null",
    });
  }
});

test("a path may be a regular file: output is appended", async () => {
  const stdout = join(daemon.dir, "file.out");
  const stderr = join(daemon.dir, "file.err");
  writeFileSync(stdout, "before\n");
  writeFileSync(stderr, "");
  await using container = await startContainer(daemon, {
    name: "file",
    args: ["sh", "-c", "echo out; echo err >&2"],
    request: { stdout, stderr },
  });
  expect(await container.exit()).toBe(0);
  expect(readFileSync(stdout, "utf8")).toBe("before\nout\n");
  expect(readFileSync(stderr, "utf8")).toBe("err\n");
});

test("a reader may leave and another one come: the container lives on and nothing in the FIFO is lost", async () => {
  await using container = await startContainer(daemon, {
    name: "reader",
    args: ["sh", "-c", "echo one; read go; i=0; while [ $i -lt 20 ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 8"],
    stdio: true,
  });
  await container.printed("one\n");
  container.stdio.stdout.destroy();
  container.stdio.stdin.write("go\n");
  await sleep(300);
  expect((await daemon.api.state({ id: container.id })).containers).toHaveLength(1);
  const second = openReader(container.stdio.paths.stdout);
  const rest = (await within(collect(second).whole, "the end of the output")).toString();
  expect(rest.trim().split("\n")).toEqual(Array.from({ length: 20 }, (_, n) => String(n)));
  expect(await container.exit()).toBe(8);
});

test("with nobody reading the container waits once the FIFO is full, and goes on when somebody reads", async () => {
  const stdout = join(daemon.dir, "full.out");
  makeFifos(stdout);
  const reader = openReader(stdout);
  reader.pause();
  await using container = await startContainer(daemon, {
    name: "full",
    args: ["sh", "-c", "dd if=/dev/zero bs=64k count=64 2>/dev/null; exit 3"],
    request: { stdout },
  });
  await eventually(() => waitsToWrite(container.id), { what: "a full FIFO" });
  expect(daemon.events.all({ id: container.id, type: "exit" })).toEqual([]);
  expect((await within(collect(reader).whole, "the output")).length).toBe(4 * 2 ** 20);
  expect(await container.exit()).toBe(3);
});

test("a FIFO that is not there fails the start", async () => {
  const missing = join(daemon.dir, "missing.out");
  await expect(
    startContainer(daemon, { name: "missing", args: ["true"], request: { stdout: missing } }),
  ).rejects.toMatchObject({ details: expect.stringMatching(/^shim error: .*missing\.out.*no such file or directory/) });
  await daemon.expectNothingLeft();
});

test.skipIf(!full)("a FIFO that nobody opens fails the start after 15 s, and holds up nobody else", async () => {
  const stdout = join(daemon.dir, "unopened.out");
  makeFifos(stdout);
  const begin = performance.now();
  const start = startContainer(daemon, { name: "unopened", args: ["true"], request: { stdout } });
  let over = false;
  start
    .catch(() => {})
    .finally(() => {
      over = true;
    });
  await using other = await startContainer(daemon, { name: "unopened-other", args: ["true"] });
  expect(await other.exit()).toBe(0);
  expect(over).toBe(false);
  await expect(start).rejects.toMatchObject({
    details: expect.stringMatching(/^shim error: .*unopened\.out.*deadline exceeded/),
  });
  expect(performance.now() - begin).toBeGreaterThan(14_000);
  await daemon.expectNothingLeft();
});

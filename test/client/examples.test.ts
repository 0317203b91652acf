/** The programs in examples/, each run to its end. */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, createWriteStream, readdirSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, connect } from "../../src/client/index.js";
import { expectNoNetworks } from "../harness/check-networks.js";
import { importRootfs } from "../harness/client.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { makeNetworkNamespace } from "../harness/network-namespace.js";
import { repository, unpackedProgram } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { startTimeout } from "../harness/start-timeout.js";
import { eventually } from "../harness/wait.js";
import { runProgram, startProgram } from "./typescript-program.js";

const image = "examples:1";
let daemon: TestDaemon;
let client: Client;
beforeAll(async () => {
  daemon = await startDaemon();
  // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
  chmodSync(daemon.dir, 0o711);
  client = connect(daemon.listen);
  await importRootfs(client, image);
});
afterAll(async () => {
  await client.images.prune({ all: true });
  client.close();
  await daemon.expectNothingLeft();
  await daemon[Symbol.asyncDispose]();
});

/** Neither the daemon nor the private directory, where programs have their temporary files, has anything of it; but the image stays. */
async function expectClean(): Promise<void> {
  expect(await client.containers.list()).toEqual([]);
  expect(await client.v0.containers.list()).toEqual([]);
  expect(readdirSync(daemon.dir).filter((name) => /^(ctr-|checkpoints-|fixture-)/.test(name))).toEqual([]);
}

test("every example has a test here, or one that needs a network in test/network", () => {
  const examples = readdirSync(join(repository, "examples"));
  expect(examples.sort()).toEqual([
    "agent.ts",
    "checkpoint.ts",
    "ci-runner.ts",
    "egress.ts",
    "events.ts",
    "hello.ts",
    "run-code.ts",
    "sandboxes.ts",
    "server.ts",
    "shell.ts",
    "stats.ts",
    "test-fixture.ts",
  ]);
});

test("server", async () => {
  await using host = await makeNetworkNamespace();
  await using node = await startDaemon({ wrapper: host.enter() });
  await using there = connect(node.listen);
  await importRootfs(there, image);
  const output = await runProgram(node, { file: "examples/server.ts" }, [image], {}, host.enter());
  expect(output).toBe("version 1\nversion 2\n");
  expect(await there.containers.list()).toEqual([]);
  await expectNoNetworks(host);
});

test("hello", async () => {
  const output = await runProgram(daemon, { file: "examples/hello.ts" }, [image]);
  expect(output).toBe("Hello from my-first-container\nexit status 0\n");
  await expectClean();
});

test("shell: a terminal of its own, and the exit status", async () => {
  using program = await startProgram(daemon, { file: "examples/shell.ts" }, [image]);
  await program.printed("# ");
  program.child.stdin!.write("tty; echo $((6*7))\r");
  await program.printed("/dev/pts/0\r\n42\r\n");
  program.child.stdin!.write("exit 5\r");
  expect((await program.result).status).toBe(5);
  await expectClean();
});

test("shell on a real terminal has its size", async () => {
  // script(1) gives it a terminal.
  const script = spawn(
    "script",
    [
      "-qec",
      `stty cols 91 rows 17; ${process.execPath} scripts/run-typescript.mjs examples/shell.ts ${image}`,
      "/dev/null",
    ],
    {
      cwd: repository,
      env: { PATH: process.env.PATH, TMPDIR: daemon.dir, CONTAINERD_ADDRESS: daemon.listen, TERM: "xterm" },
      stdio: "pipe",
    },
  );
  try {
    let output = "";
    script.stdout.on("data", (chunk) => {
      output += chunk;
    });
    const ended = new Promise((resolve) => script.once("close", resolve));
    await expect.poll(() => output).toContain("# ");
    script.stdin.write("stty size; exit 4\r");
    await expect.poll(() => output).toContain("17 91");
    expect(await ended).toBe(4);
  } finally {
    script.kill("SIGKILL");
  }
  await expectClean();
});

test("50 sandboxes with limits and timeouts", async () => {
  // What ends by itself does so before that, also on a busy machine.
  const timeout = 3 * (await startTimeout());
  const output = await runProgram(daemon, { file: "examples/sandboxes.ts" }, [image, `${timeout}`]);
  expect(output.match(/^10 × .*\n {2}.*$/gm)?.map((entry) => entry.split("\n  ")[1])).toEqual(
    expect.arrayContaining(["status 0: 42", "status 3: broken", "timed out", "out of memory", "status 0: 11"]),
  );
  expect(output.match(/^10 × /gm)).toHaveLength(5);
  await expectClean();
});

test("a service that runs what it gets by POST, in sandboxes", async () => {
  const env = { SANDBOXES: "1", TIMEOUT: `${10 * (await startTimeout())}` };
  using program = await startProgram(daemon, { file: "examples/run-code.ts" }, [image, "0", "sh", "-s"], env);
  const url = await eventually(() => /^listening on (\S+)$/m.exec(program.output())?.[1]);
  const post = async (code: string, signal?: AbortSignal) => {
    const response = await fetch(url, { method: "POST", body: code, ...(signal && { signal }) });
    return { code: response.status, ...((await response.json()) as object) };
  };
  /** The only sandbox is another one each time, which has to be made. */
  const answered = (code: string) =>
    eventually(async () => {
      const answer = await post(code);
      return answer.code !== 429 && answer;
    });
  const usual = await answered("echo $((6 * 7)); id -u; touch /x 2>&1; exit 3");
  expect(usual).toMatchObject({
    status: 3,
    stdout: expect.stringMatching(/^42\n65534\ntouch: .*Read-only file system\n$/),
  });
  expect(await answered("yes")).toMatchObject({ code: 422, error: "output", stdout: expect.stringMatching(/^y\n/) });
  expect((await post("x".repeat(100_000))).code).toBe(413);
  expect((await fetch(url)).status).toBe(405);
  // Who goes away frees the sandbox; until then there is none for others.
  const gone = new AbortController();
  const hold = async () => {
    while ((await post("sleep 100000", gone.signal)).code === 429);
  };
  const held = hold().catch((error) => error);
  await eventually(async () => (await client.containers.list()).some(({ info }) => (info?.execIds.length ?? 0) > 0));
  expect((await post("true")).code).toBe(429);
  gone.abort();
  await held;
  expect(await answered("echo again")).toMatchObject({ stdout: "again\n" });
  program.child.kill("SIGTERM");
  expect(await program.result).toMatchObject({ status: 0, stderr: "" });
  expect(await client.containers.list()).toEqual([]);
  await expectClean();
});

test("the computer of an agent", async () => {
  const output = await runProgram(daemon, { file: "examples/agent.ts" }, [image]);
  expect(output).toMatch(
    /^wrote 53 characters to \/work\/job.sh\nstatus 0\n55\nthere is no \/work\/no-such-file\n(thinking\n)?.*killed after its 2000 ms\n$/,
  );
  await expectClean();
});

test("a job of a CI, with its artefacts", async () => {
  const artefacts = join(daemon.dir, "artefacts.tar");
  using program = await startProgram(daemon, { file: "examples/ci-runner.ts" }, [image, artefacts]);
  const { status, stdout, stderr } = await program.result;
  expect(stdout.replace(/[\d.]+ s$/gm, "N s")).toBe(
    "== build\nbuilt\n== build took N s\n== test\nchecking out/main.txt\n== test took N s\n== report\n== report took N s\n" +
      `artefacts are in ${artefacts}\n`,
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: "warned\n" });
  const report = execFileSync("tar", ["-xOf", artefacts, "out/main.txt", "out/report"], { encoding: "utf8" });
  expect(report).toBe("HELLO\n6 out/main.txt\n");
  await expectClean();
});

test("a fixture of tests, with a daemon that the program brings", async () => {
  const archive = join(daemon.dir, "image.tar");
  await pipeline(client.images.export(image), createWriteStream(archive));
  const output = await runProgram(daemon, { file: "examples/test-fixture.ts" }, [image, archive]);
  expect(output).toMatch(/^. pass 2$/m);
  expect(output).toMatch(/^. fail 0$/m);
  await expectClean();
});

test("follow events, across a restart of the daemon", async () => {
  using program = await startProgram(daemon, { file: "examples/events.ts" }, [daemon.id("seen")]);
  using first = await startContainer(daemon, { name: "seen", args: ["sh", "-c", "exit 3"] });
  await program.printed(`${first.id} init: exit with status 3`);
  await daemon.restart({ kill: true });
  using second = await startContainer(daemon, { name: "seen", args: ["sh", "-c", "exit 4"] });
  await program.printed(`${second.id} init: exit with status 4`);
  program.child.kill("SIGTERM");
  const { status, stdout } = await program.result;
  expect(status).toBe(0);
  const events = stdout.split("\n").filter((line) => line.includes(first.id));
  expect(events.map((line) => line.split(": ").at(-1))).toEqual([
    "start-container",
    "exit with status 3",
    "start-container",
    "exit with status 4",
  ]);
  await expectClean();
});

test("stats chart", async () => {
  const output = await runProgram(daemon, { file: "examples/stats.ts" }, [image, "3"]);
  const lines = output.trim().split("\n");
  expect(lines.length).toBeGreaterThan(4);
  for (const line of lines)
    expect(line).toMatch(/^cpu [█·]{20} +\d+ % {2}memory [█·]{20} +\d+\.\d MiB {2}processes \d+$/);
  expect(Math.max(...lines.map((line) => Number(/(\d+) %/.exec(line)?.[1])))).toBeGreaterThan(10);
  await expectClean();
});

const criu = unpackedProgram("criu");

test.skipIf(!criu)(`checkpoint and restore${criu ? "" : " (skipped: no criu)"}`, async () => {
  const output = await runProgram(daemon, { file: "examples/checkpoint.ts" }, [sharedRootfs()]);
  const [, before, after] = /^counted to (\d+)\nsaved, and ended\nrestored, counted on to (\d+)\n$/.exec(output) ?? [];
  expect(Number(before)).toBe(10);
  expect(Number(after)).toBeGreaterThanOrEqual(20);
  await expectClean();
});

/** Whatever a caller gets wrong: a clear error in the original's words, and nothing left behind. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { cases } from "../harness/extent.js";
import { type Subcommand, wrapRuntime } from "../harness/runtime-wrapper.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { within } from "../harness/wait.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** Expects a call to fail with this code and these words, and everything to be as before. */
async function refused(
  call: () => Promise<unknown>,
  details: string | RegExp,
  code?: status,
  options: { on?: TestDaemon } = {},
): Promise<void> {
  const on = options.on ?? daemon;
  const before = on.snapshot();
  const stateBefore = await on.api.state();
  const error = await call().then(
    () => {
      throw new Error("the call succeeded");
    },
    (failure) => failure,
  );
  expect(error).toMatchObject({
    details: typeof details === "string" ? details : expect.stringMatching(details),
    ...(code === undefined ? {} : { code }),
  });
  expect((await on.api.state()).containers.map(({ id }) => id)).toEqual(stateBefore.containers.map(({ id }) => id));
  if (stateBefore.containers.length === 0) await on.expectNothingLeft({ before });
}

describe("CreateContainer", () => {
  test("no bundle path", async () => {
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("none") }),
      "empty bundle path",
      status.INVALID_ARGUMENT,
    );
  });

  test.each([
    ["empty", ""],
    ["dot", "."],
    ["dot dot", ".."],
    ["a path", "a/b"],
    ["a path upwards", "../escape"],
    ["an absolute path", "/tmp/escape"],
    ["a trailing slash", "a/"],
    ["a NUL", "a\0b"],
    ["too long for a file name", "x".repeat(300)],
  ])("an id that cannot name a directory: %s", async (name, id) => {
    const bundle = daemon.bundle(`id-${name.replaceAll(" ", "-")}`, { args: ["true"] });
    await refused(() => daemon.api.createContainer({ id, bundlePath: bundle }), /./);
    expect(readdirSync(daemon.stateDir).filter((entry) => entry !== "events.log")).toEqual([]);
    expect(existsSync(join(daemon.dir, "escape"))).toBe(false);
  });

  test("an id of the event log's name does no harm", async () => {
    const bundle = daemon.bundle("events-log", { args: ["true"] });
    const log = readFileSync(join(daemon.stateDir, "events.log"), "utf8");
    await refused(() => daemon.api.createContainer({ id: "events.log", bundlePath: bundle }), /./);
    expect(readFileSync(join(daemon.stateDir, "events.log"), "utf8")).toBe(log);
  });

  test("no such bundle", async () => {
    const bundlePath = join(daemon.dir, "no-such-bundle");
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("no-bundle"), bundlePath }),
      `open ${bundlePath}/config.json: no such file or directory`,
      status.NOT_FOUND,
    );
  });

  test("a bundle without config.json", async () => {
    const bundlePath = join(daemon.dir, "empty-bundle");
    mkdirSync(bundlePath);
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("no-config"), bundlePath }),
      `open ${bundlePath}/config.json: no such file or directory`,
      status.NOT_FOUND,
    );
  });

  test("a bundle path that is a file", async () => {
    const bundlePath = join(daemon.dir, "file-bundle");
    writeFileSync(bundlePath, "");
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("file-bundle"), bundlePath }),
      `open ${bundlePath}/config.json: not a directory`,
    );
  });

  test.each([
    ["cut off", '{"ociVersion": "1.0.2",\n "process": {', /config\.json/],
    ["no JSON", "hello", /config\.json/],
    ["empty", "", /config\.json/],
    ["a list", "[]", /config\.json/],
    ["without a process", '{"ociVersion": "1.0.2", "root": {"path": "rootfs"}}', /config\.json|process/],
    ["with a process of the wrong type", '{"ociVersion": "1.0.2", "process": 7}', /config\.json|process/],
    [
      "with args of the wrong type",
      '{"ociVersion": "1.0.2", "process": {"args": "sh", "cwd": "/"}}',
      /config\.json|args/,
    ],
  ])("a config.json that is %s", async (name, content, words) => {
    const bundlePath = join(daemon.dir, `broken-${name.replaceAll(" ", "-")}`);
    mkdirSync(bundlePath);
    writeFileSync(join(bundlePath, "config.json"), content);
    await refused(() => daemon.api.createContainer({ id: daemon.id("broken"), bundlePath }), words);
  });

  test("a broken config.json: the error has the file's path and the position", async () => {
    const bundlePath = join(daemon.dir, "position");
    mkdirSync(bundlePath);
    writeFileSync(join(bundlePath, "config.json"), '{\n  "ociVersion": "1.0.2",\n  "process": oops\n}\n');
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("position"), bundlePath }),
      /position\/config\.json.*(line 3|:3:|\b43\b|offset)/,
      status.INVALID_ARGUMENT,
    );
  });

  test("an id that exists", async () => {
    await using first = await startContainer(daemon, { name: "twice", args: ["sleep", "1000"] });
    await refused(
      () => daemon.api.createContainer({ id: first.id, bundlePath: first.bundle }),
      `mkdir ${daemon.stateDir}/${first.id}: file exists`,
      status.ALREADY_EXISTS,
    );
    expect((await daemon.api.state({ id: first.id })).containers[0]?.status).toBe("running");
    await first.kill();
    expect(await first.exit()).toBe(137);
  });

  test("two calls with one id at the same time: one container", async () => {
    const bundlePath = daemon.bundle("race", { args: ["sleep", "1000"] });
    const id = daemon.id("race");
    const results = await Promise.allSettled([1, 2, 3].map(() => daemon.api.createContainer({ id, bundlePath })));
    expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
    for (const result of results)
      if (result.status === "rejected") expect(result.reason).toMatchObject({ code: status.ALREADY_EXISTS });
    await daemon.api.signal({ id, pid: "init", signal: 9 });
    await daemon.events.waitFor({ id, type: "exit", status: 137 });
  });

  test.each([
    ["by name", "no-such-runtime", "no-such-runtime not installed on system"],
    ["by path", "/no/such/runtime", "fork/exec /no/such/runtime: no such file or directory"],
  ])("a runtime that is not there, %s", async (name, runtime, words) => {
    const bundlePath = daemon.bundle(`no-runtime-${name.replaceAll(" ", "-")}`, { args: ["true"] });
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("no-runtime"), bundlePath, runtime }),
      `shim error: ${words}`,
    );
  });

  test("a runtime that cannot be executed", async () => {
    const runtime = join(daemon.dir, "not-executable");
    writeFileSync(runtime, "#!/bin/sh\n");
    const bundlePath = daemon.bundle("not-executable", { args: ["true"] });
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("not-executable"), bundlePath, runtime }),
      /not-executable/,
    );
  });

  test.each([
    ["a name", "no-such-program", /^oci runtime error: .*no-such-program.*executable file not found/],
    ["a path", "/bin/no-such-program", /^oci runtime error: .*\/bin\/no-such-program.*no such file or directory/],
    ["a file that is not executable", "/etc/plain", /^oci runtime error: .*\/etc\/plain.*permission denied/],
  ])("a program that is not in the root file system: %s", async (name, program, words) => {
    const bundlePath = daemon.bundle(`program-${name.replaceAll(" ", "-")}`, { args: [program], ownRootfs: true });
    writeFileSync(join(bundlePath, "rootfs/etc/plain"), "no program", { mode: 0o644 });
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("no-program"), bundlePath }),
      words,
      status.INTERNAL,
    );
  });

  test("no root file system", async () => {
    const bundlePath = daemon.bundle("no-rootfs", {
      args: ["true"],
      spec: (spec) => {
        spec.root.path = "nowhere";
      },
    });
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("no-rootfs"), bundlePath }),
      /^oci runtime error: .*no-rootfs\/nowhere/,
      status.INTERNAL,
    );
  });

  test.each([
    ["fails", { kind: "fail", message: "out of luck" }],
    ["crashes", { kind: "crash" }],
    ["claims success and writes garbage", { kind: "garbage" }],
  ] as const)("a runtime that %s at create", async (name, fault) => {
    const runtime = wrapRuntime(daemon.dir, `create-${fault.kind}`, "create", fault);
    runtime.on();
    const bundlePath = daemon.bundle(`create-${fault.kind}`, { args: ["true"] });
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("fault"), bundlePath, runtime: runtime.path }),
      /containerd: container not started|oci runtime error|shim error/,
    );
    expect(name).toBeTruthy();
  });

  test.each([
    ["fails", { kind: "fail", message: "cannot start today" }, /^exit status 1: ".*cannot start today/],
    [
      "fails with what Go quotes",
      { kind: "fail", message: 'a "b" \\ \x07 \v \x1b \u00a0 größe' },
      String.raw`exit status 1: "a \"b\" \\ \a \v \x1b \u00a0 größe\n"`,
    ],
    ["crashes", { kind: "crash" }, /./],
  ] as const)("a runtime that %s at start", async (name, fault, words) => {
    const folder = mkdtempSync(join(daemon.dir, "runtime-"));
    const runtime = wrapRuntime(folder, "runtime", "start", fault);
    runtime.on();
    const bundlePath = daemon.bundle(`start-${name.replaceAll(" ", "-")}`, { args: ["true"] });
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("fault"), bundlePath, runtime: runtime.path }),
      words,
    );
  });

  test("the id of a failed start can be used", async () => {
    const id = daemon.id("retry");
    const bad = daemon.bundle("retry-bad", { args: ["no-such-program"] });
    const good = daemon.bundle("retry-good", { args: ["true"] });
    await expect(daemon.api.createContainer({ id, bundlePath: bad })).rejects.toThrow();
    await daemon.api.createContainer({ id, bundlePath: good });
    expect((await daemon.events.waitFor({ id, type: "exit" })).status).toBe(0);
    expect(daemon.events.all({ id }).map(({ type }) => type)).toEqual(["start-container", "exit"]);
  });

  test("twenty failing starts at once leave nothing, and no event", async () => {
    const before = daemon.snapshot();
    const bundlePath = daemon.bundle("failing", { args: ["no-such-program"] });
    const seen = daemon.events.events.length;
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => daemon.api.createContainer({ id: daemon.id(`failing-${n}`), bundlePath })),
    );
    for (const result of results) expect(result.status).toBe("rejected");
    await daemon.expectNothingLeft({ before });
    expect(daemon.events.events.slice(seen)).toEqual([]);
  });

  test("a shim that is not there", async () => {
    await using other = await startDaemon({ flags: ["--shim", "no-such-shim"] });
    const bundlePath = other.bundle("no-shim", { args: ["true"] });
    await refused(
      () => other.api.createContainer({ id: other.id("no-shim"), bundlePath }),
      "no-such-shim not installed on system",
      undefined,
      { on: other },
    );
  });

  test("a shim that ends at once", async () => {
    await using other = await startDaemon({ flags: ["--shim", "/bin/false"] });
    const bundlePath = other.bundle("dead-shim", { args: ["true"] });
    await refused(
      () => other.api.createContainer({ id: other.id("dead-shim"), bundlePath }),
      /^containerd: (container not started|shim exited before container process was started)$/,
      undefined,
      { on: other },
    );
  });

  test("a cancelled call ends its start and leaves nothing", async () => {
    const runtime = wrapRuntime(daemon.dir, "cancel", "create", { kind: "hang" });
    runtime.on();
    const before = daemon.snapshot();
    const bundlePath = daemon.bundle("cancel", { args: ["true"] });
    const abort = new AbortController();
    const call = daemon.api.createContainer(
      { id: daemon.id("cancel"), bundlePath, runtime: runtime.path },
      { signal: abort.signal },
    );
    setTimeout(() => abort.abort(), 300);
    await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
    await daemon.expectNothingLeft({ before });
  });

  test("an expired call ends its start and leaves nothing", async () => {
    const runtime = wrapRuntime(daemon.dir, "expire", "create", { kind: "hang" });
    runtime.on();
    const before = daemon.snapshot();
    const bundlePath = daemon.bundle("expire", { args: ["true"] });
    await expect(
      daemon.api.createContainer({ id: daemon.id("expire"), bundlePath, runtime: runtime.path }, { timeout: 500 }),
    ).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await daemon.expectNothingLeft({ before });
  });
});

describe("--start-timeout", () => {
  test.each(cases<Subcommand>(["create", "start"]))("a runtime that hangs at %s", async (subcommand) => {
    await using other = await startDaemon({ flags: await startTimeoutFlags() });
    const runtime = wrapRuntime(other.dir, "hanging", subcommand, { kind: "hang" });
    runtime.on();
    const bundlePath = other.bundle("hanging", { args: ["true"] });
    await refused(
      () => other.api.createContainer({ id: other.id("hanging"), bundlePath, runtime: runtime.path }),
      "containerd: container did not start before the specified timeout",
      status.DEADLINE_EXCEEDED,
      { on: other },
    );
  });
});

describe("State", () => {
  test("an unknown container", async () => {
    await refused(() => daemon.api.state({ id: "nobody" }), "containerd: container not found", status.NOT_FOUND);
  });
  test("an id that is a path", async () => {
    await refused(() => daemon.api.state({ id: "../.." }), "containerd: container not found", status.NOT_FOUND);
  });
});

describe("Signal", () => {
  test("an unknown container", async () => {
    await refused(
      () => daemon.api.signal({ id: "nobody", pid: "init", signal: 9 }),
      "containerd: container not found",
      status.NOT_FOUND,
    );
  });

  test("an unknown process, an unknown signal: the container goes on", async () => {
    await using container = await startContainer(daemon, { name: "signal", args: ["sleep", "1000"] });
    const { id } = container;
    await refused(
      () => daemon.api.signal({ id, pid: "nobody", signal: 9 }),
      "containerd: process not found for container",
      status.NOT_FOUND,
    );
    for (const signal of [65, 1000, 2 ** 32 - 1])
      await refused(() => daemon.api.signal({ id, pid: "init", signal }), "invalid argument", status.INVALID_ARGUMENT);
    expect((await daemon.api.state({ id })).containers[0]?.status).toBe("running");
    await container.kill();
    await container.exit();
  });

  test("a container that is gone", async () => {
    await using container = await startContainer(daemon, { name: "gone", args: ["true"] });
    await container.exit();
    await refused(() => container.kill(9), /container not found|no such process/);
  });
});

describe("Events", () => {
  test("storedOnly without a timestamp", async () => {
    using stream = daemon.api.subscribe({ storedOnly: true });
    await expect(within(stream.ended, "the end of the stream")).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp",
    });
  });

  test.each([-1, 1_000_000_000, 2_000_000_000])("a timestamp with %i nanoseconds", async (nanos) => {
    using stream = daemon.api.subscribe({ timestamp: { seconds: 1n, nanos }, storedOnly: true });
    await expect(within(stream.ended, "the end of the stream")).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining("nanos not in range [0, 1e9)"),
    });
  });
});

describe("other calls", () => {
  test("an unknown container", async () => {
    const calls = [
      () => daemon.api.updateContainer({ id: "nobody", status: "paused" }),
      () => daemon.api.updateProcess({ id: "nobody", pid: "init", closeStdin: true }),
      () => daemon.api.stats({ id: "nobody" }),
      () => daemon.api.addProcess({ id: "nobody", pid: "p", args: ["true"], cwd: "/" }),
      () => daemon.api.createCheckpoint({ id: "nobody", checkpoint: { name: "c" } }),
      () => daemon.api.deleteCheckpoint({ id: "nobody", name: "c" }),
    ];
    for (const call of calls) await refused(call, "containerd: container not found", status.NOT_FOUND);
    await refused(() => daemon.api.listCheckpoint({ id: "nobody" }), "no such containers", status.NOT_FOUND);
  });

  test("AddProcess without id or pid", async () => {
    await refused(
      () => daemon.api.addProcess({ pid: "p", args: ["true"] }),
      "container id cannot be empty",
      status.INVALID_ARGUMENT,
    );
    await refused(
      () => daemon.api.addProcess({ id: "nobody", args: ["true"] }),
      "process id cannot be empty",
      status.INVALID_ARGUMENT,
    );
  });

  test("what the original died of: AddProcess without user, CreateCheckpoint without checkpoint", async () => {
    await using container = await startContainer(daemon, { name: "nil", args: ["sleep", "1000"] });
    const { id } = container;
    const { systemPid } = await daemon.api.addProcess({
      id,
      pid: "exec",
      args: ["sleep", "1000"],
      cwd: "/",
      env: ["PATH=/bin"],
    });
    expect(readFileSync(`/proc/${systemPid}/status`, "utf8")).toMatch(/^Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0$/m);
    await expect(daemon.api.createCheckpoint({ id })).rejects.toMatchObject({ details: expect.stringMatching(/./) });
    expect((await daemon.api.state({ id })).containers[0]?.processes.map(({ pid }) => pid).sort()).toEqual([
      "exec",
      "init",
    ]);
    await container.kill();
    await container.exit();
  });

  test.each(["..", "../x", "a/b", ".", "a\0b", "init"])("AddProcess with the pid %j", async (pid) => {
    await using container = await startContainer(daemon, { name: "pids", args: ["sleep", "1000"] });
    const { id } = container;
    await refused(() => daemon.api.addProcess({ id, pid, args: ["true"], cwd: "/", env: ["PATH=/bin"] }), /./);
    expect(readdirSync(join(daemon.stateDir, id)).sort()).toEqual(["cgroup.json", "init", "state.json"]);
    await container.kill();
    await container.exit();
    await daemon.expectNothingLeft();
  });

  test("Signal with an empty pid: it is no process, and nothing is signalled", async () => {
    await using container = await startContainer(daemon, { name: "empty-pid", args: ["sleep", "1000"] });
    const { id } = container;
    await refused(
      () => daemon.api.signal({ id, pid: "", signal: 9 }),
      "containerd: process not found for container",
      status.NOT_FOUND,
    );
    // Whoever got it would have ended before this one does.
    await daemon.api.signal({ id, pid: "init", signal: 0 });
    expect(daemon.events.all({ id, type: "exit" })).toEqual([]);
    await container.kill();
    await container.exit();
  });

  test.each(["bundlePath", "stdin", "stdout", "stderr", "checkpoint", "checkpointDir", "runtime"] as const)(
    "CreateContainer with a NUL in %s",
    async (field) => {
      const request = { bundlePath: daemon.bundle(`nul-${field}`, { args: ["true"] }), [field]: "/a\0NAME=value" };
      await refused(
        () => daemon.api.createContainer({ id: daemon.id("nul"), ...request }),
        `invalid ${field} "/a\\u0000NAME=value": a NUL in it`,
        status.INVALID_ARGUMENT,
      );
    },
  );

  test.each([
    ["args", { args: ["echo", "a\0b"] }],
    ["env", { env: ["PATH=/bin", "A=a\0B=b"] }],
    ["cwd", { cwd: "/a\0b" }],
    ["stdin", { stdin: "/a\0b" }],
    ["capabilities", { capabilities: ["CAP_KILL\0"] }],
    ["apparmorProfile", { apparmorProfile: "a\0b" }],
    ["type", { rlimits: [{ type: "RLIMIT_CORE\0", soft: 1n, hard: 1n }] }],
  ])("AddProcess with a NUL in %s", async (field, request) => {
    await using container = await startContainer(daemon, { name: `nul-exec-${field}`, args: ["sleep", "1000"] });
    const { id } = container;
    await refused(
      () => daemon.api.addProcess({ id, pid: "nul", args: ["true"], ...request }),
      new RegExp(`^invalid ${field} ".*\\\\u0000.*": a NUL in it$`),
      status.INVALID_ARGUMENT,
    );
    expect(readdirSync(join(daemon.stateDir, id)).sort()).toEqual(["cgroup.json", "init", "state.json"]);
    await container.kill();
    await container.exit();
  });

  test("a NUL in an argument of a runtime, and in a limit", async () => {
    await using container = await startContainer(daemon, { name: "nul-limit", args: ["sleep", "1000"] });
    const { id, bundle: bundlePath } = container;
    const nul = /a NUL in it$/;
    await refused(
      () => daemon.api.createContainer({ id: daemon.id("nul"), bundlePath, runtime: "runc", runtimeArgs: ["--a\0"] }),
      nul,
    );
    await refused(() => daemon.api.updateContainer({ id, resources: { cpusetCpus: "0\0" } }), nul);
    await container.kill();
    await container.exit();
  });

  test("UpdateContainer with another status", async () => {
    await using container = await startContainer(daemon, { name: "status", args: ["sleep", "1000"] });
    await refused(
      () => daemon.api.updateContainer({ id: container.id, status: "dancing" }),
      "containerd: unknown container status ",
      status.INVALID_ARGUMENT,
    );
    await container.kill();
    await container.exit();
  });

  test("health of another service", async () => {
    await expect(daemon.api.healthOf("types.API")).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: "unknown service",
    });
  });

  test("the daemon has lived through all of it", async () => {
    expect((await daemon.api.getServerVersion()).minor).toBe(2);
    expect(daemon.log).not.toMatch(/unhandled|TypeError|ReferenceError/i);
  });
});

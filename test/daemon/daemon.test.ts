/** The daemon as a program: its command line, its socket, its log, its end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { version } from "../../build/version.js";
import { Api, status } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { daemonEnvironment, startDaemon, TestDaemon } from "../harness/daemon.js";
import { full, times } from "../harness/extent.js";
import { daemonProgram } from "../harness/paths.js";
import { isRunning } from "../harness/processes.js";
import { directoryPrefix } from "../harness/run-name.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually, sleep, within } from "../harness/wait.js";

/** Runs the daemon's program to its end. */
async function containerd(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const dir = mkdtempSync(directoryPrefix());
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const child = spawn(process.execPath, [daemonProgram, "--state-dir", join(dir, "state"), ...args], {
    env: daemonEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output.stderr += chunk;
  });
  const [code] = await within(once(child, "close"), `the end of containerd ${args.join(" ")}`);
  return { code, ...output };
}

/** A daemon that was made but not started. */
function prepare(options: ConstructorParameters<typeof TestDaemon>[0] = {}): TestDaemon {
  return new TestDaemon(options);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

describe("command line", () => {
  test.each(["--version", "-v"])("%s", async (flag) => {
    expect(await containerd(flag)).toEqual({ code: 0, stdout: `containerd version ${version()}\n`, stderr: "" });
    expect(version()).toMatch(/^0\.2\.\d+$/);
  });

  test.each(["--help", "-h", "-help"])("%s names every flag", async (flag) => {
    const { code, stdout } = await containerd(flag);
    expect(code).toBe(0);
    for (const name of [
      "debug",
      "log-level",
      "log-format",
      "state-dir",
      "metrics-interval",
      "listen",
      "runtime",
      "runtime-args",
      "shim",
      "pprof-address",
      "start-timeout",
      "start-workers",
      "retain-count",
      "graphite-address",
      "version",
    ])
      expect(stdout).toContain(`--${name}`);
  });

  test.each([
    [["--no-such-flag"], "no-such-flag"],
    [["--log-level", "chatty"], "chatty"],
    [["--log-format", "xml"], "xml"],
    [["--start-timeout", "10"], "10"],
    [["--start-timeout", "-1s"], "-1s"],
    [["--start-timeout=1w"], "1w"],
    [["--metrics-interval", "soon"], "soon"],
    [["--retain-count", "many"], "many"],
    [["--start-workers", "0"], "0"],
    [["--listen"], "listen"],
    [["surplus"], "surplus|argument"],
  ])("%j is refused, and the message says what is wrong", async (args, word) => {
    const { code, stdout, stderr } = await containerd(...args);
    expect(code).not.toBe(0);
    expect(stdout + stderr).toMatch(new RegExp(word));
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test.each(["/run/x.sock", "nonsense", ""])("a bad listen address: %j", async (address) => {
    const { code, stdout, stderr } = await containerd("-l", address);
    expect(code).toBe(1);
    expect(stdout + stderr).toContain(`bad listen address format ${address}, expected proto://address`);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test("Go's ways to write flags: one dash or two, = or a space, durations", async () => {
    await using daemon = await startDaemon({
      flags: ["-start-timeout=1h30m", "-metrics-interval", "2m", "--retain-count=7", "-debug", "-log-level=debug"],
    });
    expect((await daemon.api.getServerVersion()).major).toBe(0);
  });

  test("as dockerd starts it", async () => {
    await using daemon = prepare({
      flags: ["--start-timeout", "2m", "--runtime", "runc", "--runtime-args", "--debug", "--debug"],
    });
    await daemon.start();
    await using container = await startContainer(daemon, { name: "docker", args: ["true"] });
    expect(await container.exit()).toBe(0);
  });

  test("-r names the default runtime, --runtime-args are put before every subcommand", async () => {
    await using daemon = prepare();
    const { path } = wrapRuntime(daemon.dir, "my-runtime", "state", { kind: "fail" });
    await using configured = await startDaemon({
      flags: ["-r", path, "--runtime-args", "--root", "--runtime-args", join(daemon.dir, "root")],
    });
    await using container = await startContainer(configured, { name: "runtime", args: ["sleep", "1000"] });
    expect(container.response.container?.runtime).toBe(path);
    await container.kill();
    await container.exit();
    const calls = readFileSync(`${path}.calls`, "utf8").trim().split("\n");
    for (const verb of ["create", "start", "delete"]) {
      const words = calls.find((line) => line.split(" ").includes(verb))!.split(" ");
      expect(words.indexOf("--root"), verb).toBeGreaterThanOrEqual(0);
      expect(words.indexOf("--root"), verb).toBeLessThan(words.indexOf(verb));
      expect(words[words.indexOf("--root") + 1], verb).toBe(join(daemon.dir, "root"));
    }
  });
});

describe("socket", () => {
  test("its directory and the state directory are made", async () => {
    await using daemon = prepare();
    await using nested = await startDaemon({
      listen: `unix://${daemon.dir}/a/b/c.sock`,
      stateDir: join(daemon.dir, "d/e/state"),
    });
    expect(statSync(join(daemon.dir, "a/b/c.sock")).isSocket()).toBe(true);
    expect(existsSync(nested.stateDir)).toBe(true);
  });

  test("only its owner may connect", async () => {
    await using daemon = await startDaemon();
    const { mode } = statSync(join(daemon.dir, "s"));
    expect(mode & 0o007).toBe(0);
  });

  test("a stale one is replaced", async () => {
    await using daemon = await startDaemon();
    await daemon.kill();
    expect(existsSync(join(daemon.dir, "s"))).toBe(true);
    await daemon.start();
    expect((await daemon.api.getServerVersion()).minor).toBe(2);
  });

  test("a live one is refused, and goes on answering", async () => {
    await using daemon = await startDaemon();
    const { code, stdout, stderr } = await containerd("--listen", daemon.listen);
    expect(code).toBe(1);
    expect(stdout + stderr).toContain(join(daemon.dir, "s"));
    expect(stderr).not.toMatch(/^\s+at /m);
    expect((await daemon.api.getServerVersion()).minor).toBe(2);
  });

  test("a file that is no socket is not removed", async () => {
    await using daemon = prepare();
    const path = join(daemon.dir, "precious");
    writeFileSync(path, "data");
    const { code } = await containerd("--listen", `unix://${path}`);
    expect(code).toBe(1);
    expect(readFileSync(path, "utf8")).toBe("data");
  });

  test.skipIf(!full)("a second daemon on the same state directory is refused", async () => {
    await using daemon = await startDaemon();
    await using other = prepare({ listen: `unix://${daemon.dir}/other` });
    const { code, stdout, stderr } = await containerd("--state-dir", daemon.stateDir, "--listen", other.listen);
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(
      new RegExp(`${daemon.stateDir} is in use by another daemon.*--state-dir DIR --listen`),
    );
    expect((await daemon.api.getServerVersion()).minor).toBe(2);
  });

  test("tcp, only when it is said to be meant", async () => {
    const listen = `tcp://127.0.0.1:${await freePort()}`;
    const { code, stdout, stderr } = await containerd("--listen", listen);
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(/tls|insecure/i);
    await using daemon = await startDaemon({ listen, flags: ["--insecure-tcp"] });
    expect((await daemon.api.getServerVersion()).minor).toBe(2);
  });
});

describe("API", () => {
  test("version and health", async () => {
    await using daemon = await startDaemon();
    const { major, minor, patch } = await daemon.api.getServerVersion();
    expect(`${major}.${minor}.${patch}`).toBe(version());
    expect(await daemon.api.health()).toBe(true);
    await expect(daemon.api.healthOf("no.such.Service")).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: "unknown service",
    });
  });

  test("health answers as soon as the socket is there, also while many containers are restored", async () => {
    await using daemon = await startDaemon();
    const containers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => startContainer(daemon, { name: `r${n}`, args: ["sleep", "1000"] })),
    );
    await daemon.kill();
    daemon.spawn();
    await eventually(
      () =>
        new Promise<boolean>((resolve) => {
          const socket = connect(join(daemon.dir, "s"), () => resolve(true));
          socket.on("error", () => resolve(false));
          socket.on("connect", () => socket.destroy());
        }),
      { interval: 1 },
    );
    const [health, state] = await Promise.all([daemon.api.health(), daemon.api.state()]);
    expect(health).toBe(true);
    expect(state.containers).toHaveLength(20);
    await Promise.all(containers.map((container) => container.kill()));
    await Promise.all(containers.map((container) => container.exit()));
    await daemon.expectNothingLeft();
  });

  test("a client that sends the socket's path as :authority, as Docker does", async () => {
    await using daemon = await startDaemon();
    const api = new Api(daemon.address, {
      "grpc.default_authority": "/var/run/docker/libcontainerd/docker-containerd.sock",
    });
    for (let n = 0; n < 5; n++) expect((await api.getServerVersion()).minor).toBe(2);
    api.close();
  });

  test("an error's message goes over the wire with its spaces: grpc-go 0.11 does not decode it", async () => {
    await using daemon = await startDaemon();
    const session = connectHttp2("http://localhost", { createConnection: () => connect(join(daemon.dir, "s")) });
    const stream = session.request({
      ":method": "POST",
      ":path": "/types.API/State",
      "content-type": "application/grpc",
      te: "trailers",
    });
    // StateRequest{id: "x"}: not compressed, 3 bytes.
    stream.end(Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x78]));
    const seen: Record<string, unknown> = {};
    stream.on("response", (headers) => Object.assign(seen, headers));
    stream.on("trailers", (headers) => Object.assign(seen, headers));
    stream.resume();
    await within(once(stream, "close"), "the answer");
    session.destroy();
    expect(seen).toMatchObject({ "grpc-status": "5", "grpc-message": "containerd: container not found" });
  });
});

describe("log", () => {
  test("text by default: time, level, msg", async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "log", args: ["true"] });
    await container.exit();
    await daemon.stop();
    const lines = daemon.log.trim().split("\n");
    for (const line of lines) expect(line).toMatch(/^time="[^"]+" level=(info|warn|warning|error) msg=("[^"]*"|\S+)/);
    await expect.poll(() => daemon.log).toContain(container.id);
  });

  test("--log-format json: an object on each line", async () => {
    await using daemon = await startDaemon({ flags: ["--log-format", "json"] });
    await daemon.stop();
    const lines = daemon.log
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines)
      expect(line).toMatchObject({ level: expect.any(String), msg: expect.any(String), time: expect.any(String) });
  });

  test("--debug says more, --log-level error less", async () => {
    const logs = [];
    for (const flags of [["--debug"], [], ["--log-level", "error"]]) {
      await using daemon = await startDaemon({ flags });
      await using container = await startContainer(daemon, { name: "level", args: ["true"] });
      await container.exit();
      await daemon.stop();
      logs.push(daemon.log);
    }
    expect(logs[0]).toContain("level=debug");
    expect(logs[1]).toContain("level=info");
    expect(logs[1]).not.toContain("level=debug");
    expect(logs[2]).not.toContain("level=info");
  });

  test("where it listens is said as it is, and that its runtime is not installed, which keeps it from nothing", async () => {
    await using daemon = await startDaemon({ flags: ["--runtime", "nosuch"] });
    await expect.poll(() => daemon.log).toContain(`level=info msg="containerd: listening" address="${daemon.listen}"`);
    await eventually(() => /level=warning msg="containerd: the runtime can't be used.*runtime=nosuch/.test(daemon.log));
    using container = await startContainer(daemon, {
      name: "another",
      args: ["sh", "-c", "exit 6"],
      request: { runtime: "runc" },
    });
    expect(await container.exit()).toBe(6);
  });

  test("nothing is said of a runtime that is installed", async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "usual", args: ["true"] });
    await container.exit();
    expect(daemon.log).not.toContain("can't be used");
  });

  test("SIGUSR1: what is going on goes to the log, and the daemon goes on", async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "dump", args: ["sleep", "1000"] });
    const before = daemon.log.length;
    process.kill(daemon.pid, "SIGUSR1");
    await eventually(() => daemon.log.slice(before).includes(container.id), { what: "the container in the dump" });
    expect((await daemon.api.state()).containers).toHaveLength(1);
    await container.kill();
    await container.exit();
  });
});

describe("end", () => {
  test.each([
    ["SIGTERM", "terminated"],
    ["SIGINT", "interrupt"],
  ] as const)("%s ends the daemon with code 0 and a line in the log, its container goes on", async (signal, word) => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "goes-on", args: ["sleep", "1000"] });
    const pid = container.response.container!.processes[0]!.systemPid;
    expect(await daemon.stop(signal)).toEqual({ code: 0, signal: null });
    await expect.poll(() => daemon.log).toMatch(new RegExp(`stopping containerd after receiving ${word}`));
    await sleep(100);
    expect(isRunning(pid)).toBe(true);
    await daemon.start();
    const { containers } = await daemon.api.state();
    expect(containers).toHaveLength(1);
    expect(containers[0]).toMatchObject({ id: container.id, status: "running" });
    expect(containers[0]!.processes[0]!.systemPid).toBe(pid);
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("SIGTERM with clients that hold connections and streams: code 0, time and again", async () => {
    for (let round = 0; round < times(10, 2); round++) {
      await using daemon = await startDaemon();
      using stream = daemon.api.subscribe({ timestamp: { seconds: 0n, nanos: 0 } });
      await daemon.api.state();
      const begin = performance.now();
      expect(await daemon.stop()).toEqual({ code: 0, signal: null });
      // What it gives calls that do not end.
      expect(performance.now() - begin).toBeLessThan(10_000);
      await stream.ended.catch(() => {});
    }
  });

  test("SIGTERM while containers run whose shims it has started: code 0, and no error", async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "running", args: ["sleep", "1000"] });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    expect(daemon.log).not.toMatch(/level=(error|fatal)/);
    await daemon.start();
    await container.kill();
    await container.exit();
  });

  test("SIGTERM in the middle of starts: code 0; afterwards each container runs or is nowhere", async () => {
    await using daemon = await startDaemon();
    const starts = Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => startContainer(daemon, { name: `mid-${n}`, args: ["sleep", "1000"] })),
    );
    // Some are under way, and few have come to their end.
    await eventually(() => readdirSync(daemon.stateDir).filter((name) => name.includes("mid-")).length > 10);
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });
    await starts;
    await daemon.start();
    const { containers } = await daemon.api.state();
    for (const { id, status, processes } of containers) {
      expect(status, id).toBe("running");
      expect(isRunning(processes[0]!.systemPid), id).toBe(true);
    }
    await Promise.all(containers.map(({ id }) => daemon.api.signal({ id, pid: "init", signal: 9 })));
    for (const { id } of containers) await daemon.events.waitFor({ id, type: "exit" });
    await daemon.expectNothingLeft();
  });

  test("an exit while the daemon is down arrives after the restart", async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "down", args: ["sh", "-c", "sleep 0.5; exit 11"] });
    await daemon.kill();
    await eventually(() => existsSync(join(daemon.stateDir, container.id, "init/exitStatus")));
    await daemon.start();
    expect(await container.exit()).toBe(11);
    await daemon.expectNothingLeft();
  });
});

test("a low limit of open files is raised to the hard limit", async () => {
  await using daemon = await startDaemon({ wrapper: ["sh", "-c", 'ulimit -Sn 512; ulimit -Hn 4096; exec "$@"', "sh"] });
  const limits = readFileSync(`/proc/${daemon.pid}/limits`, "utf8");
  expect(limits).toMatch(/^Max open files\s+4096\s+4096\s/m);
});

/** What the daemon logs: each step of a container's life once, and never an environment. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

type Line = Record<string, unknown> & { level: string; msg: string };

const lines = (daemon: TestDaemon): Line[] =>
  daemon.log
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));

test("at info: one line for each step of a life, with id, pid and duration", async () => {
  await using daemon = await startDaemon({ flags: ["--log-format", "json"] });
  using container = await startContainer(daemon, { name: "one", args: ["sleep", "1000"] });
  using exec = await startExec(daemon, container, { pid: "e", args: ["true"] });
  await exec.exit();
  await daemon.api.updateContainer({ id: container.id, pid: "init", status: "paused" });
  await daemon.api.updateContainer({ id: container.id, pid: "init", status: "running" });
  await container.kill();
  expect(await container.exit()).toBe(137);
  const { id } = container;
  const duration = expect.any(Number);
  const systemPid = expect.any(Number);
  const life = () =>
    lines(daemon)
      .filter((line) => line.id === id)
      .map(({ time: _, ...line }) => line);
  await expect.poll(life).toEqual([
    { level: "info", msg: "containerd: container started", id, pid: "init", systemPid, duration },
    { level: "info", msg: "containerd: process started", id, pid: "e", systemPid: exec.systemPid, duration },
    { level: "info", msg: "containerd: process exited", id, pid: "e", systemPid: exec.systemPid, status: 0, duration },
    { level: "info", msg: "containerd: container paused", id, duration },
    { level: "info", msg: "containerd: container resumed", id, duration },
    { level: "info", msg: "containerd: container exited", id, pid: "init", systemPid, status: 137, duration },
  ]);
});

test("at debug: every operation, with its duration, and with the error when it fails", async () => {
  await using daemon = await startDaemon({ flags: ["--debug", "--log-format", "json"] });
  using container = await startContainer(daemon, { name: "one", args: ["sleep", "1000"] });
  const { id } = container;
  await daemon.api.state();
  await daemon.api.stats({ id });
  await daemon.api.signal({ id, pid: "init", signal: 0 });
  await expect(daemon.api.stats({ id: "nobody" })).rejects.toThrow();
  await container.kill();
  await container.exit();
  await eventually(() => lines(daemon).some(({ kind }) => kind === "exit"));
  expect(lines(daemon)).toContainEqual(
    expect.objectContaining({ level: "debug", msg: "containerd: events subscribed", id: "", storedOnly: false }),
  );
  const operations = lines(daemon).filter(({ msg }) => msg.startsWith("containerd: operation"));
  for (const [kind, about] of [
    ["start", id],
    ["state", ""],
    ["stats", id],
    ["signal", id],
    ["exit", id],
  ]) {
    expect(operations).toContainEqual(expect.objectContaining({ kind, id: about, duration: expect.any(Number) }));
  }
  expect(operations).toContainEqual(
    expect.objectContaining({ kind: "stats", id: "nobody", error: 'no container "nobody"' }),
  );
});

test("the environment of containers, execs and the daemon is never logged, whatever fails", async () => {
  const secret = "hunter2-4711";
  await using daemon = await startDaemon({
    flags: ["--debug", "--metrics-interval", "50ms"],
    env: { DAEMON_PASSWORD: secret },
  });
  const env = [`PASSWORD=${secret}`];
  const request = { env: ["PATH=/bin", ...env] };
  using container = await startContainer(daemon, { name: "one", args: ["sleep", "1000"], env });
  using exec = await startExec(daemon, container, { pid: "e", args: ["true"], request });
  await exec.exit();
  await expect(startExec(daemon, container, { pid: "bad", args: ["/no/such/program"], request })).rejects.toThrow();
  await expect(
    startExec(daemon, container, { pid: "dir", args: ["true"], request: { ...request, cwd: "/no/such" } }),
  ).rejects.toThrow();
  await expect(startContainer(daemon, { name: "bad", args: ["/no/such/program"], env })).rejects.toThrow();
  await expect(
    startContainer(daemon, {
      name: "worse",
      args: ["true"],
      env,
      spec: (spec) => {
        spec.process.env.push(`NOT-EVEN-A-VARIABLE ${secret}`);
        spec.mounts.push({ destination: "/x", type: "nonsense", source: "nonsense" });
      },
    }),
  ).rejects.toThrow();
  await expect(daemon.api.createContainer({ id: container.id, bundlePath: container.bundle })).rejects.toThrow();
  process.kill(daemon.pid, "SIGUSR1");
  await eventually(() => daemon.log.includes("state of event subscriber"));
  await daemon.restart({ kill: true });
  process.kill(daemon.pid, "SIGUSR1");
  await container.kill();
  expect((await daemon.api.state()).containers.length).toBeLessThan(2);
  await daemon.stop();
  await expect.poll(() => daemon.log).toContain("invalid environment variable");
  expect(daemon.log).not.toContain(secret);
  expect(daemon.log).not.toContain("PASSWORD");
});

const SECRET = "hunter2-4711";

/** Entries that a runtime refuses, quoting them in its error: [what is special, entry]. */
const refused: [string, string][] = [
  ["plain", `NO-VARIABLE ${SECRET}`],
  ["without a name", `=${SECRET}`],
  ["with quotes and backslashes", `NO-VARIABLE "${SECRET}" \\${SECRET}\\ '${SECRET}' <${SECRET}>`],
  ["with control characters", `NO-VARIABLE ${SECRET}\n\t${SECRET}\u0001\u007f${SECRET}`],
  ["with a NUL", `NAME=${SECRET}\0${SECRET}`],
  ["beyond ASCII", `NO-VARIABLE größe ${SECRET} \u{1f600} ${SECRET}`],
  ["with spaces that Go escapes", `NO-VARIABLE\u00a0${SECRET}\u2028${SECRET}\u3000`],
  // Cut off by whoever passes the message on, it could no longer be told for what it is.
  ["of 100 kB", `NO-VARIABLE ${`${SECRET} `.repeat(8000)}`],
];

test.each(["text", "json"])(
  "an environment that a runtime quotes is left out of the %s log, however it is quoted",
  async (format) => {
    await using daemon = await startDaemon({ flags: ["--debug", "--log-format", format] });
    using host = await startContainer(daemon, { name: "host", args: ["sleep", "1000"] });
    let quoted = 0;
    for (const [index, [what, entry]] of refused.entries()) {
      const attempts = [
        () => startContainer(daemon, { name: `c${index}`, args: ["true"], env: [entry] }),
        () => startExec(daemon, host, { pid: `e${index}`, args: ["true"], request: { env: ["PATH=/bin", entry] } }),
      ];
      for (const attempt of attempts) {
        const error = await attempt().then(
          () => undefined,
          (reason: Error) => reason,
        );
        expect(error, what).toBeDefined();
        // The caller, whose environment it is, is told; that is what makes this a test.
        if (error?.message.includes(SECRET)) quoted++;
        expect(daemon.log.includes(SECRET), `the log after an entry ${what}`).toBe(false);
      }
    }
    expect(quoted).toBe(2 * refused.length);
    expect(daemon.log.split("<environment>").length).toBeGreaterThan(2 * refused.length);
  },
);

test("nor is it logged when config.json is no JSON, a start outlives its daemon, or process.json is half-written", async () => {
  await using daemon = await startDaemon({ flags: ["--debug"] });
  const env = [`PASSWORD=${SECRET}`];
  const broken = daemon.bundle("broken", { args: ["true"], env });
  const whole = readFileSync(join(broken, "config.json"), "utf8");
  // In the middle of the entry, right before it, right behind it.
  for (const wrong of [
    whole.slice(0, whole.indexOf(SECRET) + 3),
    whole.replace(`"PASSWORD=${SECRET}"`, `PASSWORD=${SECRET}`),
    whole.replace(`"PASSWORD=${SECRET}"`, `"PASSWORD=${SECRET}" "${SECRET}"`),
    whole.replace(`"PASSWORD=${SECRET}"`, `"PASSWORD=\\q${SECRET}"`),
  ]) {
    writeFileSync(join(broken, "config.json"), wrong);
    await expect(daemon.api.createContainer({ id: daemon.id("broken"), bundlePath: broken })).rejects.toThrow(
      /config\.json:\d+:\d+/,
    );
  }

  using container = await startContainer(daemon, { name: "one", args: ["sleep", "1000"], env });
  const wrapper = wrapRuntime(daemon.dir, "slow", "create", { kind: "sleep", seconds: 1 });
  wrapper.on();
  const unfinished = startContainer(daemon, { name: "slow", args: ["true"], env, request: { runtime: wrapper.path } });
  unfinished.catch(() => {});
  await eventually(() => existsSync(`${wrapper.path}.calls`));
  await daemon.kill();
  await expect(unfinished).rejects.toThrow();
  const state = join(daemon.stateDir, container.id, "init/process.json");
  const text = readFileSync(state, "utf8");
  writeFileSync(state, text.slice(0, text.indexOf(SECRET) + 5));
  await daemon.start();
  await container.kill();
  await eventually(async () => (await daemon.api.state()).containers.length === 0);
  await eventually(() => daemon.log.includes("container was not started"));
  expect(daemon.log).not.toContain(SECRET.slice(0, 5));
  expect(daemon.log).not.toContain("PASSWORD");
});

test.each([{ PASSWORD: SECRET }, 4711])("an env of %j is refused, and leaves nothing", async (env) => {
  await using daemon = await startDaemon({ flags: ["--debug"] });
  const spec = (spec: { process: object }) => Object.assign(spec.process, { env });
  await expect(startContainer(daemon, { name: "one", args: ["true"], spec })).rejects.toThrow(/\benv\b/);
  await expect.poll(() => daemon.log).toContain("containerd: start container");
  expect(daemon.log).not.toContain(SECRET);
  await daemon.expectNothingLeft();
});

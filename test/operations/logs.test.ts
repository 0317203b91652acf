/** What the daemon logs: each step of a container's life once, and never an environment. */
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
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
  const life = lines(daemon)
    .filter((line) => line.id === id)
    .map(({ time: _, ...line }) => line);
  expect(life).toEqual([
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
    expect.objectContaining({ kind: "stats", id: "nobody", error: "containerd: container not found" }),
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
  expect(daemon.log).toContain("invalid environment variable");
  expect(daemon.log).not.toContain(secret);
  expect(daemon.log).not.toContain("PASSWORD");
});

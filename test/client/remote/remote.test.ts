/** The client's own daemon: started, adopted, watched, restarted and stopped as dockerd does it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { Remote, type RemoteChange, type RemoteOptions } from "../../../src/client/index.js";
import { TestDaemon } from "../../harness/daemon.js";
import { daemonProgram, repository, shimProgram } from "../../harness/paths.js";
import { isRunning, kill, processes } from "../../harness/processes.js";
import { eventually } from "../../harness/wait.js";

/** Never started: gives names and removes everything at the end. */
let place: TestDaemon;
let stateDir: string;
beforeEach(() => {
  place = new TestDaemon({});
  stateDir = join(place.dir, "remote");
});
afterEach(async () => {
  for (const { pid, command } of processes()) if (command.includes(`${place.dir}/remote/containerd `)) kill(pid);
  await place[Symbol.asyncDispose]();
});

function options(more: Partial<RemoteOptions> = {}): RemoteOptions {
  return { stateDir, program: [process.execPath, daemonProgram], shim: shimProgram, output: "ignore", ...more };
}

const pidPath = () => join(stateDir, "docker-containerd.pid");
const pidInFile = () => Number(readFileSync(pidPath(), "utf8"));
const procFile = (pid: number, name: string) => readFileSync(`/proc/${pid}/${name}`, "utf8");

/** Starts a container and answers its id. */
async function run(remote: Remote, name: string, ...args: string[]): Promise<string> {
  const id = place.id(name);
  await remote.client.v0.containers.start({ id, bundle: place.bundle(name, { args }), stdio: "ignore" });
  return id;
}

describe("starting", () => {
  test("with dockerd's arguments, in a session of its own, and without NOTIFY_SOCKET", async () => {
    process.env.NOTIFY_SOCKET = join(place.dir, "notify");
    onTestFinished(() => {
      delete process.env.NOTIFY_SOCKET;
    });
    await using remote = await Remote.start(
      options({ runtime: "runc", runtimeArgs: ["--debug"], debug: true, oomScoreAdj: 123 }),
    );
    expect(remote.adopted).toBe(false);
    expect(pidInFile()).toBe(remote.pid);
    expect(statSync(pidPath()).mode & 0o777).toBe(0o600);
    expect(statSync(stateDir).mode & 0o777).toBe(0o700);
    const command = procFile(remote.pid, "cmdline").split("\0").slice(2, -1);
    expect(command).toEqual([
      "-l",
      `unix://${stateDir}/docker-containerd.sock`,
      "--metrics-interval=0",
      "--start-timeout",
      "2m",
      "--state-dir",
      `${stateDir}/containerd`,
      "--shim",
      shimProgram,
      "--runtime",
      "runc",
      "--debug",
      "--runtime-args",
      "--debug",
    ]);
    const stat = procFile(remote.pid, "stat");
    // Field 6: the session.
    expect(Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3])).toBe(remote.pid);
    expect(procFile(remote.pid, "oom_score_adj").trim()).toBe("123");
    expect(procFile(remote.pid, "environ")).not.toContain("NOTIFY_SOCKET");
    expect((await remote.client.version()).version).toMatch(/^0\.2\./);
  });

  test("stop ends it and leaves no pid file and no socket; containers go on", async () => {
    const remote = await Remote.start(options());
    const id = await run(remote, "on", "sleep", "1000");
    const { pid } = remote;
    await remote.stop();
    expect(isRunning(pid)).toBe(false);
    expect(existsSync(pidPath())).toBe(false);
    expect(existsSync(join(stateDir, "docker-containerd.sock"))).toBe(false);
    await using next = await Remote.start(options());
    const container = await next.client.v0.containers.get(id);
    await container.kill("SIGKILL");
    expect((await container.wait()).status).toBe(137);
  });

  test("a daemon that still runs is adopted, and stopped as one of its own", async () => {
    const first = await Remote.start(options());
    const { pid } = first;
    await first.close();
    expect(isRunning(pid)).toBe(true);
    const second = await Remote.start(options());
    expect(second.adopted).toBe(true);
    expect(second.pid).toBe(pid);
    await second.stop();
    expect(isRunning(pid)).toBe(false);
  });

  test.each<[string, () => string]>([
    ["of a process that has ended", () => "4194303"],
    ["that another process has got since", () => `${process.pid}`],
    ["that is no number", () => "garbage"],
    ["that is empty", () => ""],
  ])("a pid file with a pid %s is replaced", async (_, content) => {
    mkdirSync(stateDir, { recursive: true });
    writeFileSync(pidPath(), content());
    await using remote = await Remote.start(options());
    expect(remote.adopted).toBe(false);
    expect(pidInFile()).toBe(remote.pid);
  });

  test("an oom score that can't be set: the daemon is killed again", async () => {
    await expect(Remote.start(options({ oomScoreAdj: 5000 }))).rejects.toThrow();
    await eventually(() => !processes().some(({ command }) => command.includes(`unix://${stateDir}/`)));
  });

  test.each<[string, Partial<RemoteOptions>]>([
    ["a program that there is not", { program: ["/no/such/containerd"] }],
    ["a flag that there is not", { args: ["--no-such-flag"] }],
  ])("%s: an error", async (_, more) => {
    await expect(Remote.start(options(more))).rejects.toThrow("ended before it answered");
  });
});

describe("watching", () => {
  test("a daemon that is killed is started again, and what was asked of it meanwhile is answered", async () => {
    const changes: RemoteChange[] = [];
    await using remote = await Remote.start(options({ onChange: (change) => changes.push(change) }));
    const { pid } = remote;
    const id = await run(remote, "kill", "sleep", "1000");
    kill(pid);
    await eventually(() => changes.some(({ kind }) => kind === "started"));
    expect(changes).toEqual([
      { kind: "lost", pid, reason: "ended" },
      { kind: "started", pid: remote.pid },
    ]);
    expect(remote.pid).not.toBe(pid);
    expect(pidInFile()).toBe(remote.pid);
    const container = await remote.client.v0.containers.get(id);
    await container.kill("SIGKILL");
    await container.wait();
  });

  test("one that does not answer is killed after three failures", async () => {
    const changes: RemoteChange[] = [];
    await using remote = await Remote.start(options({ onChange: (change) => changes.push(change) }));
    const { pid } = remote;
    kill(pid, "SIGSTOP");
    await eventually(() => changes.some(({ kind }) => kind === "started"));
    expect(changes[0]).toEqual({ kind: "lost", pid, reason: "unhealthy" });
    expect(isRunning(pid)).toBe(false);
  });

  test("one that can't be started again now is tried again", async () => {
    const changes: RemoteChange[] = [];
    const program = join(place.dir, "containerd");
    writeFileSync(program, `#!/bin/sh\nexec ${process.execPath} ${daemonProgram} "$@"\n`, { mode: 0o755 });
    await using remote = await Remote.start(
      options({ program: [program], onChange: (change) => changes.push(change) }),
    );
    chmodSync(program, 0o644);
    kill(remote.pid);
    await eventually(() => changes.filter(({ kind }) => kind === "failed").length >= 2);
    chmodSync(program, 0o755);
    await eventually(() => changes.some(({ kind }) => kind === "started"));
    expect((await remote.client.version()).version).toMatch(/^0\.2\./);
  });
});

/** A process of its own that starts a daemon, prints each event's type and id, and does not end by itself. */
function otherProcess(): { child: ChildProcess; lines: string[] } {
  const client = pathToFileURL(join(repository, "dist/client/index.cjs"));
  const script = `
    import { Remote } from ${JSON.stringify(client)};
    const remote = await Remote.start(${JSON.stringify(options())});
    console.log("pid", remote.pid);
    for await (const { type, id } of remote.events()) console.log(type, id);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const lines: string[] = [];
  child.stdout!.on("data", (chunk) => lines.push(...String(chunk).split("\n").filter(Boolean)));
  return { child, lines };
}

describe("the end of the process that has started it", () => {
  test("ends the daemon, however it comes; its successor sees the events of the time between", async () => {
    const first = otherProcess();
    const pid = Number((await eventually(() => first.lines.find((line) => line.startsWith("pid"))))?.split(" ")[1]);
    // Its reader has subscribed once this is there.
    await eventually(() => existsSync(join(stateDir, "event.ts")));
    const adopted = await Remote.start(options());
    expect(adopted.pid).toBe(pid);
    const short = await run(adopted, "short", "true");
    const long = await run(adopted, "long", "sleep", "1000");
    await eventually(() => first.lines.includes(`start-container ${long}`));
    await eventually(() => first.lines.includes(`exit ${short}`));
    await adopted.close();
    // The time of the last event is written when the next one is asked for.
    const logged = readFileSync(join(stateDir, "containerd/events.log"), "utf8").trim().split("\n");
    const { timestamp } = JSON.parse(logged.at(-1)!) as { timestamp: string };
    await eventually(() => readFileSync(join(stateDir, "event.ts"), "utf8") === timestamp);
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
    await eventually(() => !isRunning(pid));
    const init = processes().find(
      ({ command, cgroups }) => command === "sleep 1000" && cgroups.some((path) => path.includes(long)),
    );
    kill(init!.pid);
    const second = otherProcess();
    await eventually(() => second.lines.includes(`exit ${long}`));
    expect(second.lines.slice(1)).toEqual([`exit ${long}`]);
    second.child.kill("SIGKILL");
    await once(second.child, "exit");
  });
});

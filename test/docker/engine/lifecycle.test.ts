/** What Docker's users do with a container between its start and its removal. */
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";
import { eventually } from "../../harness/wait.js";

const fixture = useDockerHost();

/** Starts a container in the background. */
const start = (name: string, script: string, ...flags: string[]) =>
  fixture.host.docker("run", "--detach", `--name=${name}`, ...flags, image, "sh", "-c", script);
const state = (name: string) => fixture.host.inspect(name, "{{.State.Status}} {{.State.ExitCode}}");
const becomes = (name: string, wanted: string) =>
  eventually(async () => {
    expect(await state(name)).toBe(wanted);
    return true;
  });

describe.skipIf(!hasDocker)("a container", () => {
  test("logs -f: what was, what comes, and the end", async () => {
    const script = "echo before; until test -e /tmp/go; do sleep 0.05; done; echo after; exit 4";
    await start("talker", script);
    using logs = fixture.host.spawn("docker", "logs", "--follow", "--timestamps", "talker");
    await logs.printed(/^\S+Z before\n/);
    await fixture.host.docker("exec", "talker", "touch", "/tmp/go");
    const { code, stdout } = await logs.outcome;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\S+Z before\n\S+Z after\n$/);
  });

  test("attach: input and output of one that runs; the keys that leave it running", async () => {
    await fixture.host.docker("run", "-dit", "--name=asked", image, "sh");
    using client = fixture.host.spawn("script", "-qec", "docker attach asked", "/dev/null");
    await eventually(
      async () => {
        client.child.stdin!.write("echo a$((1 + 1))b\r");
        return client.stdout.includes("a2b");
      },
      { interval: 200 },
    );
    client.child.stdin!.write("\x10\x11");
    await client.outcome;
    expect(await state("asked")).toBe("running 0");
  });

  test("stop: SIGTERM, and SIGKILL when that is not heard; kill with a signal; wait", async () => {
    const trap = "trap 'echo stopped; exit 5' TERM USR1; while :; do sleep 0.05; done";
    await start("polite", `echo ready; ${trap}`);
    await start("deaf", "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    await start("asked", `echo ready; ${trap}`);
    for (const name of ["polite", "deaf", "asked"]) {
      await eventually(async () => (await fixture.host.docker("logs", name)) === "ready");
    }
    const waited = fixture.host.docker("wait", "polite", "deaf", "asked");
    await fixture.host.docker("stop", "polite");
    await fixture.host.docker("stop", "--time=1", "deaf");
    await fixture.host.docker("kill", "--signal=USR1", "asked");
    expect((await waited).split("\n")).toEqual(["5", "137", "5"]);
    expect(await fixture.host.docker("logs", "polite")).toBe("ready\nstopped");
    expect(await fixture.host.attempt(["kill", "polite"])).toMatchObject({ code: 1 });
  });

  test("pause, unpause; start, restart of one that was stopped", async () => {
    await start("held", "exec sleep 1000");
    await fixture.host.docker("pause", "held");
    expect(await state("held")).toBe("paused 0");
    expect(await fixture.host.attempt(["exec", "held", "true"])).toMatchObject({ code: 1 });
    await fixture.host.docker("unpause", "held");
    expect(await state("held")).toBe("running 0");
    const first = await fixture.host.inspect("held", "{{.State.Pid}}");
    await fixture.host.docker("restart", "--time=0", "held");
    expect(await fixture.host.inspect("held", "{{.State.Pid}}")).not.toBe(first);
    await fixture.host.docker("kill", "held");
    await becomes("held", "exited 137");
    await fixture.host.docker("start", "held");
    expect(await state("held")).toBe("running 0");
  });

  test("top; rename; a paused one is removed by force", async () => {
    await start("old", "sleep 1001 & sleep 1002 & wait");
    const listed = await eventually(async () => {
      const lines = (await fixture.host.docker("top", "old", "-o", "pid,args")).split("\n").slice(1);
      return lines.length === 3 && lines;
    });
    expect(listed.map((line) => line.trim().replace(/^\d+ +/, "")).sort()).toEqual([
      "sh -c sleep 1001 & sleep 1002 & wait",
      "sleep 1001",
      "sleep 1002",
    ]);
    await fixture.host.docker("rename", "old", "new");
    await fixture.host.docker("pause", "new");
    await fixture.host.docker("rm", "--force", "new");
    expect(await fixture.host.docker("ps", "--all", "--quiet")).toBe("");
  });

  test("restart policies", async () => {
    await start("fails", "exit 3", "--restart=on-failure:2");
    await start("always", "sleep 0.1", "--restart=always");
    await becomes("fails", "exited 3");
    expect(await fixture.host.inspect("fails", "{{.RestartCount}}")).toBe("2");
    await eventually(async () => Number(await fixture.host.inspect("always", "{{.RestartCount}}")) >= 2);
    await fixture.host.docker("stop", "always");
    expect(await fixture.host.inspect("always", "{{.State.Status}}")).toBe("exited");
  });

  test("a health check: starting, healthy, unhealthy", async () => {
    const flags = ["--health-interval=100ms", "--health-retries=2", "--health-cmd=test ! -e /bad"];
    await start("checked", "exec sleep 1000", ...flags);
    const health = (wanted: string) =>
      eventually(async () => (await fixture.host.inspect("checked", "{{.State.Health.Status}}")) === wanted);
    await health("healthy");
    await fixture.host.docker("exec", "checked", "touch", "/bad");
    await health("unhealthy");
  });

  test("events, in their order", async () => {
    const since = `${Math.floor(Date.now() / 1000)}`;
    await start("told", "exec sleep 1000");
    await fixture.host.docker("exec", "told", "true");
    await fixture.host.docker("pause", "told");
    await fixture.host.docker("unpause", "told");
    await fixture.host.docker("kill", "told");
    await fixture.host.docker("wait", "told");
    await fixture.host.docker("rm", "told");
    const filters = ["--filter=type=container", "--filter=container=told", "--format={{.Action}}"];
    const until = `${Math.ceil(Date.now() / 1000) + 1}`;
    const actions = (await fixture.host.docker("events", `--since=${since}`, `--until=${until}`, ...filters)).split(
      "\n",
    );
    const order = [
      "create",
      "start",
      "exec_create: true ",
      "exec_start: true ",
      "exec_die",
      "pause",
      "unpause",
      "kill",
    ];
    expect(actions.filter((action) => action !== "attach").slice(0, order.length)).toEqual(order);
    expect(actions.slice(-2).sort()).toEqual(["destroy", "die"].sort());
  });

  test("prune: what has ended goes, what runs stays", async () => {
    await start("ended", "true");
    await fixture.host.docker("wait", "ended");
    await start("runs", "exec sleep 1000");
    await fixture.host.docker("system", "prune", "--force", "--volumes");
    expect(await fixture.host.docker("ps", "--all", "--format={{.Names}}")).toBe("runs");
  });
});

/** The behaviours that crun supports, on crun with cgroup v2 alone (as far as this machine has its controllers: often only hugetlb). */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { crunForCgroupV2, inCgroupV2, withoutCgroupV2 } from "../harness/cgroup-v2.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { processes } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { collect } from "../harness/stdio.js";
import { eventually, sleep } from "../harness/wait.js";

const crun = crunForCgroupV2();
const lacking = withoutCgroupV2() ?? (crun ? undefined : "no crun of Debian trixie in /var/cache/containerd-ts");

describe.skipIf(lacking)(lacking ? `crun on cgroup v2 (skipped: ${lacking})` : "crun on cgroup v2", () => {
  let daemon: TestDaemon;
  let container: TestContainer;
  beforeAll(async () => {
    daemon = await startDaemon({ wrapper: inCgroupV2(), flags: ["--runtime", crun!] });
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

  const pidOf = (of: TestContainer) => of.response.container!.processes[0]!.systemPid;
  /** A file of the container's cgroup, read where the daemon sees it. */
  const file = (of: TestContainer, name: string) => {
    const directory = `/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/${pidOf(of)}/cgroup)`;
    const enter = [`--mount=/proc/${daemon.pid}/ns/mnt`, "sh", "-c", `cat ${directory}/${name}`];
    return execFileSync("nsenter", enter, { encoding: "utf8" }).trim();
  };
  const exits = (id: string) => daemon.events.all({ id, type: "exit" }).map(({ pid, status }) => [pid, status]);

  async function end(of: TestContainer): Promise<void> {
    await of.kill();
    await of.exit();
  }

  async function output(pid: string, script: string, request: object = {}): Promise<string> {
    using exec = await startExec(daemon, container, { pid, args: ["sh", "-c", script], stdio: true, request });
    const { stdout, stderr } = await exec.output();
    expect(stderr).toBe("");
    expect(await exec.exit()).toBe(0);
    return stdout;
  }

  test("a container is started without a second call of crun", async () => {
    const { path } = wrapRuntime(mkdtempSync(join(daemon.dir, "runtime-")), "crun", "state", { kind: "fail" }, crun!);
    using saved = await startContainer(daemon, {
      name: "saved",
      args: ["sh", "-c", "echo ran; exec sleep 1000"],
      stdio: true,
      request: { runtime: path },
    });
    await saved.printed("ran");
    await end(saved);
    const words = readFileSync(`${path}.calls`, "utf8").split(/\s/);
    expect(words.filter((word) => word === "create" || word === "start")).toEqual(["create"]);
  });

  test("exec: args, env, cwd; without the last two the init's", async () => {
    expect(await output("own", "echo $TASTE; pwd", { env: ["TASTE=sweet", "PATH=/bin"], cwd: "/etc" })).toBe(
      "sweet\n/etc\n",
    );
    expect(await output("init's", "echo $COLOR; pwd")).toBe("blue\n/tmp\n");
  });

  test("exec: user, groups, capabilities, limits, noNewPrivileges", async () => {
    const request = {
      user: { uid: 1000, gid: 1001, additionalGids: [7] },
      capabilities: ["CAP_KILL"],
      rlimits: [{ type: "RLIMIT_CORE", soft: 4096n, hard: 8192n }],
      noNewPrivileges: true,
    };
    const script = "id -u; id -G; grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status; grep core /proc/self/limits";
    expect(await output("rights", script, request)).toMatch(
      /^1000\n1001 7\nCapBnd:\t0000000000000020\nNoNewPrivs:\t1\nMax core file size +4096 +8192 /,
    );
    expect(await output("root", "id -u; id -g; grep -E '^Cap(Bnd|Eff|Prm)' /proc/self/status | sort -u -k2")).toBe(
      "0\n0\nCapBnd:\t0000000000000000\n",
    );
  });

  test("exec: the umask is the init's", async () => {
    using other = await startContainer(daemon, {
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
    await end(other);
  });

  test("exec: exit code, signals, errors in the runtime's words", async () => {
    using exec = await startExec(daemon, container, { pid: "code", args: ["sh", "-c", "exit 7"] });
    expect(await exec.exit()).toBe(7);
    using killed = await startExec(daemon, container, { pid: "killed", args: ["sleep", "1000"] });
    await killed.kill(15);
    expect(await killed.exit()).toBe(143);
    await expect(startExec(daemon, container, { pid: "bad", args: ["no-such-program"] })).rejects.toMatchObject({
      code: status.INTERNAL,
      details: expect.stringMatching(/^oci runtime error: .*no-such-program/),
    });
  });

  test("exec: its exit comes before its container's", async () => {
    using dying = await startContainer(daemon, { name: "dying", args: ["sleep", "1000"] });
    await Promise.all(["a", "b"].map((pid) => startExec(daemon, dying, { pid, args: ["sleep", "1000"] })));
    await end(dying);
    expect(exits(dying.id).at(-1)).toEqual(["init", 137]);
    expect(exits(dying.id)).toHaveLength(3);
  });

  test("terminal: of an init and of an exec, with its size", async () => {
    using init = await startContainer(daemon, {
      name: "tty",
      args: ["sh", "-c", "read x; stty size; echo got $x"],
      terminal: true,
      stdio: true,
    });
    await daemon.api.updateProcess({ id: init.id, pid: "init", width: 90, height: 30 });
    init.stdio.stdin.write("word\n");
    expect(await init.exit()).toBe(0);
    init.stdio.stderr.destroy();
    expect((await init.output()).stdout.toString()).toBe("word\r\n30 90\r\ngot word\r\n");

    using exec = await startExec(daemon, container, {
      pid: "tty",
      args: ["sh", "-c", "read x; stty size; echo got $x"],
      stdio: true,
      request: { terminal: true },
    });
    const seen = collect(exec.stdio.stdout);
    await daemon.api.updateProcess({ id: container.id, pid: "tty", width: 91, height: 31 });
    exec.stdio.stdin.write("word\n");
    expect(await exec.exit()).toBe(0);
    await eventually(() => seen.soFar().toString().endsWith("31 91\r\ngot word\r\n"));
  });

  test("stdin ends with closeStdin", async () => {
    using cat = await startContainer(daemon, { name: "cat", args: ["cat"], stdio: true });
    await new Promise((resolve) => cat.stdio.stdin.write("line\n", resolve));
    await daemon.api.updateProcess({ id: cat.id, pid: "init", closeStdin: true });
    cat.stdio.stdin.destroy();
    expect((await cat.output()).stdout.toString()).toBe("line\n");
    expect(await cat.exit()).toBe(0);
  });

  test("pause and resume: by cgroup.freeze; State and events tell", async () => {
    using ticking = await startContainer(daemon, {
      name: "pause",
      args: ["sh", "-c", "while :; do echo tick; sleep 0.02; done"],
      stdio: true,
    });
    await ticking.printed("tick");
    await daemon.api.updateContainer({ id: ticking.id, status: "paused" });
    expect(file(ticking, "cgroup.freeze")).toBe("1");
    expect((await daemon.api.state({ id: ticking.id })).containers[0]?.status).toBe("paused");
    let ticks = 0;
    ticking.stdio.stdout.on("data", () => ticks++);
    // What it printed before may still be on its way.
    await eventually(async () => {
      ticks = 0;
      await sleep(200);
      return ticks === 0;
    });
    await daemon.api.updateContainer({ id: ticking.id, status: "running" });
    await eventually(() => ticks > 2);
    await daemon.events.waitFor({ id: ticking.id, type: "resume" });
    expect((await daemon.api.state({ id: ticking.id })).containers[0]?.status).toBe("running");
    expect(daemon.events.all({ id: ticking.id }).map(({ type }) => type)).toEqual([
      "start-container",
      "pause",
      "resume",
    ]);
    await end(ticking);
  });

  test("update: what v2 has no controller for here is refused in clear words, and the container runs on", async () => {
    const controllers = file(container, "cgroup.controllers").split(" ");
    const resources = { pidsLimit: 55n };
    const call = daemon.api.updateContainer({ id: container.id, resources });
    if (controllers.includes("pids")) {
      await call;
      expect(file(container, "pids.max")).toBe("55");
    } else {
      await expect(call).rejects.toMatchObject({
        code: status.INTERNAL,
        details: expect.stringMatching(/^exit status 1: ".*pids/),
      });
    }
    await expect(
      daemon.api.updateContainer({ id: container.id, resources: { blkioLeafWeight: 5n } }),
    ).rejects.toMatchObject({ details: expect.stringMatching(/leaf/i) });
    expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
  });

  test("State: pids of the init, the execs and what they have started", async () => {
    using family = await startContainer(daemon, { name: "pids", args: ["sh", "-c", "sleep 1000 & wait"] });
    await startExec(daemon, family, { pid: "e", args: ["sleep", "1001"] });
    const { pids } = await eventually(async () => {
      const found = (await daemon.api.state({ id: family.id })).containers[0]!;
      return found.pids.length === 3 && found;
    });
    const own = processes().filter(({ cgroups }) => cgroups.some((path) => path.split("/").includes(family.id)));
    expect([...pids].sort()).toEqual(own.map(({ pid }) => pid).sort());
    await end(family);
  });

  test("Stats: the CPU's numbers are those of cpu.stat, and all parts are there", async () => {
    using busy = await startContainer(daemon, {
      name: "busy",
      args: ["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; sleep 1000"],
      stdio: true,
    });
    await busy.printed("done");
    await daemon.api.updateContainer({ id: busy.id, status: "paused" });
    const { cgroup_stats, timestamp } = await daemon.api.stats({ id: busy.id });
    const cpu = Object.fromEntries(
      file(busy, "cpu.stat")
        .split("\n")
        .map((line) => line.split(" ") as [string, string]),
    );
    const usage = cgroup_stats!.cpu_stats!.cpu_usage!;
    // The kernel splits the time into user's and its own anew at each reading, and adds the last microseconds late.
    const near = (value: bigint, microseconds: string) =>
      expect(Math.abs(Number(value) - Number(microseconds) * 1000)).toBeLessThan(2_000_000);
    near(usage.total_usage, cpu.usage_usec!);
    near(usage.usage_in_usermode, cpu.user_usec!);
    near(usage.usage_in_kernelmode, cpu.system_usec!);
    expect(usage.total_usage).toBeGreaterThan(10_000_000n);
    expect(usage.percpu_usage).toEqual([]);
    expect(timestamp).toBeDefined();
    expect(cgroup_stats!.cpu_stats!.throttling_data).toBeDefined();
    expect(cgroup_stats!.memory_stats!.usage).toBeDefined();
    expect(cgroup_stats!.blkio_stats).toBeDefined();
    if (file(busy, "cgroup.controllers").split(" ").includes("hugetlb")) {
      expect(Object.keys(cgroup_stats!.hugetlb_stats)).toContain("2MB");
    }
    await daemon.api.updateContainer({ id: busy.id, status: "running" });
    await end(busy);
  });

  test("a call that is cancelled leaves nothing of the exec", async () => {
    const cancel = new AbortController();
    const call = startExec(daemon, container, {
      pid: "gone",
      args: ["sleep", "1234"],
      call: { signal: cancel.signal },
    });
    call.catch(() => {});
    await sleep(5);
    cancel.abort();
    await call.catch(() => {});
    await eventually(async () => {
      // The cancellation may have crossed the answer: the exec is there then, with its event.
      const told = daemon.events.all({ id: container.id, type: "start-process", pid: "gone" });
      if (told.length > 0) await daemon.api.signal({ id: container.id, pid: "gone", signal: 9 }).catch(() => {});
      const { processes: listed } = (await daemon.api.state({ id: container.id })).containers[0]!;
      return listed.length === 1;
    });
    await eventually(() => !processes().some(({ command }) => command === "sleep 1234"));
  });

  test("nothing is left of a container", async () => {
    await using own = await startDaemon({ wrapper: inCgroupV2(), flags: ["--runtime", crun!] });
    const before = own.snapshot();
    using last = await startContainer(own, { name: "last", args: ["sleep", "1000"] });
    await startExec(own, last, { pid: "e", args: ["sleep", "1000"] });
    await last.kill();
    expect(await last.exit()).toBe(137);
    await own.expectNothingLeft({ before });
  });
});

/** Limits of Docker's containers: set at `docker run`, changed by `docker update`, seen in the cgroup and in `docker stats`. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { hasDocker, image, useDockerHost } from "../../harness/docker-host.js";
import { eventually } from "../../harness/wait.js";

const fixture = useDockerHost();

/** What a file of a container's cgroup says, by the hierarchies of cgroup v1. */
async function limit(name: string, hierarchy: string, file: string): Promise<string> {
  const id = await fixture.host.inspect(name, "{{.Id}}");
  return readFileSync(`/sys/fs/cgroup/${hierarchy}/${fixture.host.cgroup}/${id}/${file}`, "utf8").trim();
}

describe.skipIf(!hasDocker)("limits", () => {
  test("are set by docker run and changed by docker update; what is not named stays", async () => {
    const flags = ["--memory=64m", "--cpu-shares=512", "--cpus=0.5", "--pids-limit=50", "--cpuset-cpus=0"];
    await fixture.host.docker("run", "--detach", "--name=limited", ...flags, image, "sleep", "1000");
    expect(await limit("limited", "memory", "memory.limit_in_bytes")).toBe(`${64 << 20}`);
    expect(await limit("limited", "cpu", "cpu.shares")).toBe("512");
    expect(await limit("limited", "cpu", "cpu.cfs_quota_us")).toBe("50000");
    expect(await limit("limited", "pids", "pids.max")).toBe("50");
    expect(await limit("limited", "cpuset", "cpuset.cpus")).toBe("0");
    await fixture.host.docker("update", "--memory=96m", "--memory-swap=-1", "limited");
    expect(await limit("limited", "memory", "memory.limit_in_bytes")).toBe(`${96 << 20}`);
    expect(await limit("limited", "cpu", "cpu.shares")).toBe("512");
    await fixture.host.docker("update", "--cpu-shares=256", "--pids-limit=20", "limited");
    expect(await limit("limited", "cpu", "cpu.shares")).toBe("256");
    expect(await limit("limited", "pids", "pids.max")).toBe("20");
    expect(await limit("limited", "memory", "memory.limit_in_bytes")).toBe(`${96 << 20}`);
  });

  test("docker stats shows memory with its limit, CPU time and processes", async () => {
    const script = "head -c 10000000 /dev/zero >/dev/shm/used; while :; do :; done";
    await fixture.host.docker("run", "--detach", "--name=busy", "--memory=64m", image, "sh", "-c", script);
    const format = "{{.Name}} {{.MemUsage}} {{.CPUPerc}} {{.PIDs}}";
    await eventually(async () => {
      const line = await fixture.host.docker("stats", "--no-stream", "--format", format, "busy");
      expect(line).toMatch(/^busy (9\.[5-9]|1\d(\.\d+)?)\d*MiB \/ 64MiB ([1-9]\d*\.\d+)% 1$/);
      return true;
    });
  });

  test("out of memory: the container is ended with 137, and Docker says why", async () => {
    const run = ["run", "--name=hungry", "--memory=16m", "--memory-swap=16m", image];
    const outcome = await fixture.host.attempt([...run, "sh", "-c", "x=a; while :; do x=$x$x; done"]);
    expect(outcome.code).toBe(137);
    expect(await fixture.host.inspect("hungry", "{{.State.OOMKilled}} {{.State.ExitCode}}")).toBe("true 137");
    // Also what was before this client came.
    using events = fixture.host.spawn(
      "docker",
      "events",
      "--since=0",
      "--filter=container=hungry",
      "--format={{.Action}}",
    );
    await events.printed(/oom/);
  });
});

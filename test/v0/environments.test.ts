/** The same containers with other runtimes and on other cgroup hierarchies than runc's on this machine. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { crunForCgroupV2, inCgroupV1, inCgroupV2, withoutCgroupV2 } from "../harness/cgroup-v2.js";
import { startContainer } from "../harness/container.js";
import { type DaemonOptions, startDaemon } from "../harness/daemon.js";
import { findProgram, unpackedProgram } from "../harness/paths.js";
import { collect, makeFifos, openReader } from "../harness/stdio.js";
import { eventually } from "../harness/wait.js";

const noV2 = withoutCgroupV2();
const crun = findProgram("crun");
const newCrun = crunForCgroupV2();

const environments: { name: string; lacking?: string | undefined; options: DaemonOptions }[] = [
  {
    name: "crun on cgroup v1",
    lacking: crun ? undefined : "crun is not installed",
    options: { wrapper: inCgroupV1(), flags: ["--runtime", "crun"] },
  },
  { name: "runc on cgroup v2", lacking: noV2, options: { wrapper: inCgroupV2() } },
  {
    name: "crun on cgroup v2",
    lacking: noV2 ?? (newCrun ? undefined : "no crun of Debian trixie in /var/cache/containerd-ts"),
    options: { wrapper: inCgroupV2(), flags: ["--runtime", newCrun ?? "crun"] },
  },
];

describe.each(environments)("$name", ({ lacking, options }) => {
  const title = (name: string) => (lacking ? `${name} (skipped: ${lacking})` : name);

  test.skipIf(lacking)(title("a container runs, is listed with its pids, and leaves nothing"), async () => {
    await using daemon = await startDaemon(options);
    const before = daemon.snapshot();
    await using container = await startContainer(daemon, {
      name: "env",
      args: ["sh", "-c", "echo up; sleep 1000 & wait"],
      stdio: true,
    });
    await container.printed("up\n");
    const state = await eventually(async () => {
      const { containers } = await daemon.api.state({ id: container.id });
      return containers[0]?.pids.length === 2 && containers[0];
    });
    expect(state.status).toBe("running");
    await container.kill();
    expect(await container.exit()).toBe(137);
    expect((await container.output()).stdout.toString()).toBe("up\n");
    await daemon.expectNothingLeft({ before });
  });

  test.skipIf(lacking)(title("exec, exit codes, errors in the runtime's words"), async () => {
    await using daemon = await startDaemon(options);
    await using container = await startContainer(daemon, { name: "env", args: ["sleep", "1000"] });
    await daemon.api.addProcess({
      id: container.id,
      pid: "p",
      args: ["sh", "-c", "exit 9"],
      cwd: "/",
      env: ["PATH=/bin"],
    });
    expect((await daemon.events.waitFor({ id: container.id, type: "exit", pid: "p" })).status).toBe(9);
    await container.kill();
    await container.exit();
    await expect(startContainer(daemon, { name: "bad", args: ["no-such-program"] })).rejects.toMatchObject({
      details: expect.stringMatching(/^oci runtime error: .*no-such-program/),
    });
    await daemon.expectNothingLeft();
  });

  test.skipIf(lacking)(title("a container goes on over a restart of the daemon"), async () => {
    await using daemon = await startDaemon(options);
    await using container = await startContainer(daemon, { name: "env", args: ["sleep", "1000"] });
    await daemon.restart({ kill: true });
    expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });
});

describe("CRIU", () => {
  const criu = unpackedProgram("criu");
  const title = criu ? "a counter goes on where it was" : "(skipped: no CRIU in /var/cache/containerd-ts)";

  test.skipIf(!criu)(`checkpoint and restore: ${title}`, async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, {
      name: "criu",
      args: ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"],
      stdio: true,
      ownRootfs: true,
    });
    await container.printed("\n20\n");
    await daemon.api.createCheckpoint({ id: container.id, checkpoint: { name: "first", exit: true } });
    await container.exit();
    const last = Number((await container.output()).stdout.toString().trim().split("\n").at(-1));
    expect(readFileSync(join(container.bundle, "checkpoints/first/config.json"), "utf8")).toContain('"first"');

    const out = join(daemon.dir, "restored.out");
    makeFifos(out);
    const output = collect(openReader(out));
    await daemon.api.createContainer({
      id: container.id,
      bundlePath: container.bundle,
      checkpoint: "first",
      stdout: out,
    });
    const next = await eventually(() => output.soFar().includes("\n") && output.soFar().toString().split("\n")[0]);
    expect(Number(next)).toBeGreaterThanOrEqual(last);
    expect(Number(next)).toBeLessThan(last + 3);
    await container.kill();
    await daemon.events.waitFor({ id: container.id, type: "exit", status: 137 });
    await daemon.expectNothingLeft();
  });
});

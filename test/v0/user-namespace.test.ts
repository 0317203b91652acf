/** Containers whose root is another user of the host, as Docker's --userns-remap makes them: stdio of every kind, on runc and crun. */
import { chmodSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inCgroupV1 } from "../harness/cgroup-v2.js";
import { type ContainerOptions, startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { sharedRootfs } from "../harness/rootfs.js";

const HOST_ID = 100_000;

describe.each([
  { runtime: "runc", wrapper: [] },
  { runtime: "crun", wrapper: inCgroupV1() },
])("$runtime", ({ runtime, wrapper }) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startDaemon({ wrapper, flags: ["--runtime", runtime] });
    // That user has to get to the root file system.
    for (const directory of [daemon.dir, dirname(sharedRootfs())]) chmodSync(directory, 0o755);
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
  });

  function start(options: ContainerOptions): Promise<TestContainer> {
    return startContainer(daemon, {
      ...options,
      spec: (spec) => {
        spec.linux.namespaces.push({ type: "user" });
        const mapping = { containerID: 0, hostID: HOST_ID, size: 65_536 };
        spec.linux.uidMappings = [mapping];
        spec.linux.gidMappings = [mapping];
        options.spec?.(spec);
      },
    });
  }

  const others = [
    ["root", 0],
    ["another user", 1000],
  ] as const;

  test.each(others)("without any stdio, as %s", async (_who, uid) => {
    await using container = await start({
      name: `none-${uid}`,
      args: ["sh", "-c", "read line; echo out && echo err >&2 && echo null >/dev/null && exit 6"],
      spec: ({ process }) => {
        process.user = { uid, gid: uid };
      },
    });
    expect(await container.exit()).toBe(6);
  });

  test("without stdin", async () => {
    await using container = await start({
      name: "no-stdin",
      args: ["sh", "-c", "read line; echo $? $(id -u); echo err >&2"],
      stdio: true,
      request: { stdin: "" },
    });
    expect(await container.exit()).toBe(0);
    const { stdout, stderr } = await container.output();
    expect(`${stdout}${stderr}`).toBe("1 0\nerr\n");
  });

  test("with all three", async () => {
    await using container = await start({ name: "all", args: ["cat"], stdio: true });
    container.stdio.stdin.write("hello\n");
    await container.printed("hello\n");
    container.stdio.stdin.destroy();
    await daemon.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
    expect(await container.exit()).toBe(0);
  });

  test("with a terminal, and without a client of it", async () => {
    await using container = await start({
      name: "terminal",
      args: ["sh", "-c", "test -t 0 && test -t 2 && read line && echo got $line"],
      terminal: true,
      stdio: true,
    });
    container.stdio.stdin.write("typed\n");
    await container.printed("got typed\r\n");
    expect(await container.exit()).toBe(0);
    await using alone = await start({ name: "alone", args: ["sh", "-c", "tty && exit 5"], terminal: true });
    expect(await alone.exit()).toBe(5);
  });

  test("an exec: without stdio, without stdin, with all, with a terminal", async () => {
    await using container = await start({ name: "execs", args: ["sleep", "1000"] });
    using none = await startExec(daemon, container, {
      pid: "none",
      args: ["sh", "-c", "read line; echo null >/dev/null && exit 4"],
    });
    expect(await none.exit()).toBe(4);
    using noStdin = await startExec(daemon, container, {
      pid: "no-stdin",
      args: ["sh", "-c", "read line; echo $? $(id -u)"],
      stdio: true,
      request: { stdin: "" },
    });
    expect((await noStdin.output()).stdout).toBe("1 0\n");
    using all = await startExec(daemon, container, { pid: "all", args: ["cat"], stdio: true });
    all.stdio.stdin.write("hello\n");
    await all.printed("hello\n");
    await all.kill();
    using terminal = await startExec(daemon, container, {
      pid: "terminal",
      args: ["sh", "-c", "read line && echo got $line"],
      stdio: true,
      request: { terminal: true },
    });
    terminal.stdio.stdin.write("typed\n");
    await terminal.printed("got typed\r\n");
    expect(await terminal.exit()).toBe(0);
  });
});

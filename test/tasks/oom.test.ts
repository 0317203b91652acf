/** The `oom` event, with a real memory limit and the kernel's OOM killer (cgroup v1; v2's files are tested in src/cgroup). */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cgroupDirectory } from "../harness/cgroup-files.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { eventually, sleep } from "../harness/wait.js";

const hasMemory = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const LIMIT = 24 * 2 ** 20;
/** Wants 64 MB at once, and gets killed. */
const GREEDY = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null";

const types = ({ id }: { id: string }, of = daemon) =>
  of.events.all({ id }).map(({ type, pid }) => (pid ? `${type} ${pid}` : type));

async function end(container: TestContainer): Promise<void> {
  await container.kill();
  await container.exit();
}

describe.runIf(hasMemory)("oom", () => {
  test("an init that is killed for its memory: start-container, oom, exit 137", async () => {
    using container = await startContainer(daemon, {
      name: "init",
      args: ["sh", "-c", `sleep 0.2; exec ${GREEDY}`],
      memoryLimit: LIMIT,
    });
    expect(await container.exit()).toBe(137);
    expect(types(container)).toEqual(["start-container", "oom", "exit init"]);
  });

  test("right at its start: still after start-container", async () => {
    const containers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        startContainer(daemon, {
          name: `early-${n}`,
          args: ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"],
          memoryLimit: LIMIT,
        }),
      ),
    );
    for (const container of containers) {
      expect(await container.exit()).toBe(137);
      expect(types(container)).toEqual(["start-container", "oom", "exit init"]);
    }
  });

  test("a process that is not the init: oom, and the container goes on; each kill is told", async () => {
    using container = await startContainer(daemon, {
      name: "child",
      args: ["sh", "-c", `${GREEDY}; sleep 0.3; ${GREEDY}; sleep 1000`],
      memoryLimit: LIMIT,
    });
    await eventually(() => daemon.events.all({ id: container.id, type: "oom" }).length >= 2);
    expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
    await end(container);
  });

  test("an exec", async () => {
    using container = await startContainer(daemon, { name: "exec", args: ["sleep", "1000"], memoryLimit: LIMIT });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", `sleep 0.1; exec ${GREEDY}`] });
    expect(await exec.exit()).toBe(137);
    await daemon.events.waitFor({ id: container.id, type: "oom" });
    expect(daemon.events.all({ id: container.id, type: "exit", pid: "init" })).toEqual([]);
    await end(container);
  });

  test("an event without pid and status", async () => {
    using container = await startContainer(daemon, {
      name: "plain",
      args: ["sh", "-c", `sleep 0.1; exec ${GREEDY}`],
      memoryLimit: LIMIT,
    });
    expect(await daemon.events.waitFor({ id: container.id, type: "oom" })).toMatchObject({ pid: "", status: 0 });
    await container.exit();
  });

  test("a limit that comes by an update counts too", async () => {
    using container = await startContainer(daemon, {
      name: "update",
      args: ["sh", "-c", `read x; exec ${GREEDY}`],
      stdio: true,
    });
    await daemon.api.updateContainer({ id: container.id, resources: { memoryLimit: BigInt(LIMIT) } });
    container.stdio.stdin.write("go\n");
    expect(await container.exit()).toBe(137);
    expect(types(container)).toEqual(["start-container", "oom", "exit init"]);
  });

  test("never for a container that ends by itself, nor for another that took over the id", async () => {
    const id = daemon.id("again");
    const hungry = daemon.bundle("again-hungry", { args: ["sh", "-c", `exec ${GREEDY}`], memoryLimit: LIMIT });
    const modest = daemon.bundle("again-modest", { args: ["sh", "-c", "exit 3"], memoryLimit: LIMIT });
    void daemon.events;
    for (let round = 1; round <= 8; round++) {
      await daemon.api.createContainer({ id, bundlePath: round % 2 === 1 ? hungry : modest });
      await eventually(() => daemon.events.all({ id, type: "exit" }).length === round, { interval: 1 });
    }
    await sleep(200);
    const expected = Array.from({ length: 4 }, () => [
      "start-container",
      "oom",
      "exit init",
      "start-container",
      "exit init",
    ]).flat();
    expect(types({ id })).toEqual(expected);
  });

  test("after a restart of the daemon: what comes is told, what came before is not told again", async () => {
    await using other = await startDaemon();
    using container = await startContainer(other, {
      name: "c",
      args: ["sh", "-c", `${GREEDY}; read x; ${GREEDY}; sleep 1000`],
      memoryLimit: LIMIT,
      stdio: true,
    });
    await other.events.waitFor({ id: container.id, type: "oom" });
    await other.restart({ kill: true });
    await sleep(300);
    void other.events;
    await other.events.waitFor({ id: container.id, type: "oom" });
    expect(types(container, other)).toEqual(["start-container", "oom"]);
    container.stdio.stdin.write("go\n");
    await eventually(() => types(container, other).length > 2);
    expect(types(container, other)).toEqual(["start-container", "oom", "oom"]);
  });

  test("while no daemon is there: told by the next one, before the exit", async () => {
    await using other = await startDaemon();
    using container = await startContainer(other, {
      name: "c",
      args: ["sh", "-c", `read x; exec ${GREEDY}`],
      memoryLimit: LIMIT,
      stdio: true,
    });
    await other.kill();
    container.stdio.stdin.write("go\n");
    await eventually(() => existsSync(join(other.stateDir, container.id, "init/exitStatus")));
    await other.start();
    void other.events;
    expect(await container.exit()).toBe(137);
    expect(types(container, other)).toEqual(["start-container", "oom", "exit init"]);
  });

  test("while no daemon is there, of a container that goes on: told once, over any number of restarts", async () => {
    await using other = await startDaemon();
    using container = await startContainer(other, {
      name: "c",
      args: ["sh", "-c", `${GREEDY}; read x; ${GREEDY}; echo over; read x`],
      memoryLimit: LIMIT,
      stdio: true,
    });
    await other.events.waitFor({ id: container.id, type: "oom" });
    await other.kill();
    container.stdio.stdin.write("go\n");
    await container.printed("over");
    await other.start();
    void other.events;
    await eventually(() => types(container, other).length === 3);
    await other.restart({ kill: true });
    void other.events;
    container.stdio.stdin.write("end\n");
    expect(await container.exit()).toBe(0);
    expect(types(container, other)).toEqual(["start-container", "oom", "oom", "exit init"]);
  });

  test("an exec may have any name: what is kept of OOM kills is in nobody's way, and nobody in its", async () => {
    await using other = await startDaemon();
    const options = { args: ["sleep", "1000"], memoryLimit: LIMIT };
    using container = await startContainer(other, { name: "c", ...options });
    const kept = ["oom", "ended"];
    for (const pid of kept) await startExec(other, container, { pid, args: ["sleep", "1000"] });
    using killed = await startExec(other, container, { pid: "greedy", args: ["sh", "-c", `exec ${GREEDY}`] });
    expect(await killed.exit()).toBe(137);
    for (const pid of kept) await other.api.signal({ id: container.id, pid, signal: 9 });
    for (const pid of kept) await other.events.waitFor({ id: container.id, type: "exit", pid });
    for (const pid of kept) await startExec(other, container, { pid, args: ["sleep", "1000"] });
    await other.restart({ kill: true });
    void other.events;
    await container.kill();
    await container.exit();
    expect(other.events.all({ id: container.id, type: "oom" })).toHaveLength(1);
  });

  test("of a process in a cgroup below: told while it runs when the limit is the container's, at its end at the latest", async () => {
    using container = await startContainer(daemon, {
      name: "below",
      args: ["sleep", "1000"],
      memoryLimit: LIMIT,
    });
    const below = (name: string, limit: number) => {
      const directory = join(cgroupDirectory(container.response.container!.processes[0]!.systemPid, "memory"), name);
      mkdirSync(directory);
      if (limit > 0) writeFileSync(join(directory, "memory.limit_in_bytes"), String(limit));
      return directory;
    };
    const run = async (pid: string, directory: string) => {
      using exec = await startExec(daemon, container, {
        pid,
        args: ["sh", "-c", `read x; exec ${GREEDY}`],
        stdio: true,
      });
      writeFileSync(join(directory, "cgroup.procs"), String(exec.systemPid));
      exec.stdio.stdin.write("go\n");
      expect(await exec.exit()).toBe(137);
    };
    await run("a", below("a", 0));
    await eventually(() => daemon.events.all({ id: container.id, type: "oom" }).length === 1);
    await run("b", below("b", LIMIT / 2));
    await end(container);
    expect(daemon.events.all({ id: container.id, type: "oom" })).toHaveLength(2);
  });

  test("a container leaves no descriptor of its watch", async () => {
    const before = daemon.snapshot();
    for (let round = 0; round < 3; round++) {
      using container = await startContainer(daemon, {
        name: `fd-${round}`,
        args: ["sh", "-c", `exec ${GREEDY}`],
        memoryLimit: LIMIT,
      });
      await container.exit();
    }
    await daemon.expectNothingLeft({ before });
  });
});

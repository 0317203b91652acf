/** Runtimes that fail, hang, crash or answer garbage at each step: a clear error, nothing left, everything else goes on. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases, full } from "../harness/extent.js";
import { describe as describeLeftovers, findLeftovers } from "../harness/leftovers.js";
import { type Fault, type RuntimeWrapper, type Subcommand, wrapRuntime } from "../harness/runtime-wrapper.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { eventually } from "../harness/wait.js";

const FAULTS: [string, Fault][] = [
  ["fails", { kind: "fail", message: "made to fail" }],
  ["hangs", { kind: "hang" }],
  ["crashes", { kind: "crash" }],
  ["answers garbage", { kind: "garbage" }],
  ["does it and fails afterwards", { kind: "fail-afterwards" }],
];

/** Kills a container whose runtime has the fault at that moment: its end is told, and its directory goes. */
async function expectExit(daemon: TestDaemon, name: string, wrapper: RuntimeWrapper, fault: Fault): Promise<void> {
  using container = await startContainer(daemon, {
    name,
    args: ["sleep", "1000"],
    request: { runtime: wrapper.path },
  });
  wrapper.on();
  await container.kill();
  expect(await container.exit()).toBe(137);
  expect((await daemon.api.state({})).containers.map(({ id }) => id)).not.toContain(container.id);
  wrapper.off();
  // One that says that it has deleted what it has not is believed.
  if (fault.kind === "garbage") spawnSync("runc", ["delete", "--force", container.id]);
  await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
}

// Beside the others, on a daemon of its own: the shim gives it two times 10 s, and then the daemon 30 s.
describe.concurrent("a runtime that hangs at delete", () => {
  test.skipIf(!full)("the exit is told all the same", async () => {
    await using daemon = await startDaemon();
    const fault: Fault = { kind: "hang" };
    await expectExit(daemon, "c", wrapRuntime(daemon.dir, "runtime", "delete", fault), fault);
    await daemon.expectNothingLeft();
  });
});

describe.concurrent("beside a container that nothing happens to", () => {
  let daemon: TestDaemon;
  let bystander: { id: string };
  let wrappers = 0;
  beforeAll(async () => {
    daemon = await startDaemon({ flags: await startTimeoutFlags() });
    bystander = await startContainer(daemon, { name: "bystander", args: ["sleep", "100000"] });
  });
  afterAll(async () => {
    await daemon.api.signal({ id: bystander.id, pid: "init", signal: 9 });
    await daemon.events.waitFor({ type: "exit", id: bystander.id, pid: "init", status: 137 });
    await daemon.expectNothingLeft();
    await daemon[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    // Whatever happened, somebody else's container is as it was and can be used.
    const { containers } = await daemon.api.state();
    expect(containers.map(({ id, status }) => [id, status])).toEqual([[bystander.id, "running"]]);
    using exec = await startExec(daemon, bystander, { pid: `after-${wrappers++}`, args: ["true"] });
    expect(await exec.exit()).toBe(0);
  });

  function faulty(at: Subcommand, fault: Fault): { name: string; wrapper: RuntimeWrapper } {
    const name = `f${wrappers++}`;
    return { name, wrapper: wrapRuntime(daemon.dir, `${name}-runtime`, at, fault) };
  }

  /** Nothing is there but the bystander. */
  async function nothingLeft(name: string): Promise<void> {
    const isStranger = (...texts: string[]) => !texts.some((text) => text.includes(bystander.id));
    const strangers = () => {
      const left = findLeftovers({ dir: daemon.dir, stateDir: daemon.stateDir, pid: daemon.pid });
      const processes = left.processes.filter(({ cgroups, command, directory }) =>
        isStranger(...cgroups, command, directory),
      );
      return describeLeftovers({
        runtime: left.runtime.filter((path) => isStranger(path)),
        cgroups: left.cgroups.filter((path) => isStranger(path)),
        state: left.state.filter((path) => isStranger(path)),
        mounts: left.mounts,
        processes,
      });
    };
    await expect.poll(strangers, { interval: 50 }).toEqual([]);
    expect(existsSync(join(daemon.stateDir, daemon.id(name)))).toBe(false);
  }

  describe.sequential.each(FAULTS)("a runtime that %s", (_, fault) => {
    /** Where one fault stands for all, but in the full run. */
    const once = <Case>(all: Case[]) => (fault === FAULTS[0]![1] ? all : cases(all, 0));

    test.each<Subcommand>(["create", ...once<Subcommand>(["start"])])(
      "at %s: the start fails, nothing is left, the id is usable",
      async (at) => {
        const { name, wrapper } = faulty(at, fault);
        wrapper.on();
        const start = startContainer(daemon, { name, args: ["sleep", "1000"], request: { runtime: wrapper.path } });
        if (at === "start" && fault.kind === "garbage") {
          // It said that it had done so: nobody can know better. The container waits for ever, and can be killed.
          using container = await start;
          wrapper.off();
          await container.kill();
          expect(await container.exit()).toBe(137);
        } else {
          await expect(start).rejects.toThrow(
            /oci runtime error|shim error|exit status|not started|start before the specified/,
          );
        }
        await nothingLeft(name);
        wrapper.off();
        using again = await startContainer(daemon, {
          name,
          args: ["sh", "-c", "exit 3"],
          request: { runtime: wrapper.path },
        });
        expect(again.id).toBe(daemon.id(name));
        await daemon.events.waitFor({ type: "exit", id: again.id, pid: "init", status: 3 });
        await nothingLeft(name);
      },
    );

    test("at exec: the exec fails, the container goes on", async () => {
      const { name, wrapper } = faulty("exec", fault);
      using container = await startContainer(daemon, {
        name,
        args: ["sleep", "1000"],
        request: { runtime: wrapper.path },
      });
      wrapper.on();
      await expect(startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] })).rejects.toThrow();
      wrapper.off();
      const { containers } = await daemon.api.state({ id: container.id });
      expect(containers[0]!.processes).toHaveLength(1);
      await expect.poll(async () => (await daemon.api.state({ id: container.id })).containers[0]!.pids).toHaveLength(1);
      using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "exit 4"] });
      expect(await exec.exit()).toBe(4);
      await container.kill();
      expect(await container.exit()).toBe(137);
      await nothingLeft(name);
    });

    test.each<[Subcommand, "paused" | "running"]>(
      once([
        ["pause", "paused"],
        ["resume", "running"],
      ]),
    )("at %s: the call fails, the container can be ended", async (at, status) => {
      const { name, wrapper } = faulty(at, fault);
      using container = await startContainer(daemon, {
        name,
        args: ["sleep", "1000"],
        request: { runtime: wrapper.path },
      });
      if (at === "resume") await daemon.api.updateContainer({ id: container.id, status: "paused" });
      wrapper.on();
      const change = daemon.api.updateContainer({ id: container.id, status });
      if (fault.kind === "garbage") await change;
      else await expect(change).rejects.toThrow();
      wrapper.off();
      // A runtime that failed may have paused it all the same.
      await daemon.api.updateContainer({ id: container.id, status: "running" }).catch(() => {});
      await container.kill();
      expect(await container.exit()).toBe(137);
      await nothingLeft(name);
    });

    // A delete that hangs is waited for longest: see above.
    test.each<Subcommand>(fault.kind === "hang" ? ["kill"] : ["delete", "kill"])(
      "at %s: the exit is told all the same",
      async (at) => {
        const { name, wrapper } = faulty(at, fault);
        await expectExit(daemon, name, wrapper, fault);
        await nothingLeft(name);
      },
    );

    test.each<Subcommand>(once(["state", "ps"]))("at %s, which is not needed: nothing is noticed", async (at) => {
      const { name, wrapper } = faulty(at, fault);
      wrapper.on();
      using container = await startContainer(daemon, {
        name,
        args: ["sleep", "1000"],
        request: { runtime: wrapper.path },
      });
      const { containers } = await daemon.api.state({ id: container.id });
      expect(containers[0]!.pids).toHaveLength(1);
      await container.kill();
      expect(await container.exit()).toBe(137);
      await nothingLeft(name);
    });
  });

  describe.sequential("a restart while the runtime is broken", () => {
    test.each(cases(FAULTS))("it %s at state: running containers are not dropped", async (_, fault) => {
      const { name, wrapper } = faulty("state", fault);
      using container = await startContainer(daemon, {
        name,
        args: ["sleep", "1000"],
        request: { runtime: wrapper.path },
      });
      wrapper.on();
      await daemon.restart({ kill: true });
      expect((await daemon.api.state({ id: container.id })).containers).toMatchObject([{ status: "running" }]);
      await container.kill();
      expect(await container.exit()).toBe(137);
      wrapper.off();
      await nothingLeft(name);
    });
  });
});

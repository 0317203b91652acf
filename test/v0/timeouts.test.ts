/** Every wait has an end, and a start that ends early leaves nothing. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases } from "../harness/extent.js";
import { type Subcommand, wrapRuntime } from "../harness/runtime-wrapper.js";
import { startTimeout, startTimeoutFlags } from "../harness/start-timeout.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually, PATIENCE } from "../harness/wait.js";

const TIMED_OUT = "containerd: container did not start before the specified timeout";

/** At least, in ms. That it ends at all is seen by its end. */
async function expectTakes<T>(atLeast: number, run: () => Promise<T>): Promise<T> {
  const begin = performance.now();
  try {
    return await run();
  } finally {
    // Timers of Node may come a millisecond early.
    expect(performance.now() - begin).toBeGreaterThan(0.9 * atLeast);
  }
}

/** A shim that never does anything; it notes that it was there. */
function hangingShim(daemon: { dir: string }, trap = ""): string {
  const path = join(daemon.dir, "hanging-shim");
  writeFileSync(path, `#!/bin/bash\n${trap}\ntouch ${daemon.dir}/shim-called\nwhile :; do sleep 1000 & wait; done\n`, {
    mode: 0o755,
  });
  return path;
}

async function usable(daemon: TestDaemon, name: string): Promise<void> {
  const bundle = daemon.bundle(`${name}-again`, { args: ["sh", "-c", "exit 9"] });
  const { events } = daemon;
  await daemon.api.createContainer({ id: daemon.id(name), bundlePath: bundle });
  await events.waitFor({ type: "exit", id: daemon.id(name), pid: "init", status: 9 });
}

describe("--start-timeout", () => {
  test.each<Subcommand>(cases(["create", "start"]))("with a runtime that hangs at %s", async (at) => {
    await using daemon = await startDaemon({ flags: await startTimeoutFlags() });
    const { path, on } = wrapRuntime(daemon.dir, "hanging", at, { kind: "hang" });
    on();
    const before = daemon.snapshot();
    await expectTakes(await startTimeout(), () =>
      expect(
        startContainer(daemon, { name: "c", args: ["sleep", "1000"], request: { runtime: path } }),
      ).rejects.toMatchObject({
        code: status.DEADLINE_EXCEEDED,
        details: TIMED_OUT,
      }),
    );
    expect((await daemon.api.state()).containers).toEqual([]);
    expect(daemon.events.events).toEqual([]);
    await daemon.expectNothingLeft({ before });
    await usable(daemon, "c");
  });

  test("with a runtime that hangs at exec: the container goes on", async () => {
    await using daemon = await startDaemon({ flags: await startTimeoutFlags() });
    const { path, on, off } = wrapRuntime(daemon.dir, "hanging", "exec", { kind: "hang" });
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"], request: { runtime: path } });
    on();
    await expectTakes(await startTimeout(), () =>
      expect(startExec(daemon, container, { pid: "e", args: ["true"] })).rejects.toMatchObject({
        details: TIMED_OUT,
      }),
    );
    expect(existsSync(join(daemon.stateDir, container.id, "e"))).toBe(false);
    off();
    using again = await startExec(daemon, container, { pid: "e", args: ["true"] });
    expect(await again.exit()).toBe(0);
    await container.kill();
    await container.exit();
    await daemon.expectNothingLeft();
  });

  test.each<[string, Subcommand, "paused" | "running"]>(
    cases([
      ["pause", "pause", "paused"],
      ["resume", "resume", "running"],
    ]),
  )("with a runtime that hangs at %s: the call ends, the container goes on", async (_, at, change) => {
    await using daemon = await startDaemon({ flags: await startTimeoutFlags() });
    const { path, on, off } = wrapRuntime(daemon.dir, "hanging", at, { kind: "hang" });
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"], request: { runtime: path } });
    on();
    if (change === "running") await daemon.api.updateContainer({ id: container.id, status: "paused" });
    await expect(daemon.api.updateContainer({ id: container.id, status: change })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
    off();
    if (change === "running") await daemon.api.updateContainer({ id: container.id, status: "running" });
    using exec = await startExec(daemon, container, { pid: "e", args: ["true"] });
    expect(await exec.exit()).toBe(0);
    await container.kill();
    await container.exit();
    await daemon.expectNothingLeft();
  });

  test.each(
    cases([
      { what: "hangs and ignores signals", trap: "trap '' TERM INT HUP" },
      { what: "hangs", trap: "" },
    ]),
  )("with a shim that $what", async ({ trap }) => {
    await using daemon = await startDaemon({ flags: await startTimeoutFlags() });
    const shim = hangingShim(daemon, trap);
    await daemon.stop();
    await using other = await startDaemon({ flags: [...(await startTimeoutFlags()), "--shim", shim] });
    const before = other.snapshot();
    await expectTakes(await startTimeout(), () =>
      expect(startContainer(other, { name: "c", args: ["true"] })).rejects.toMatchObject({
        code: status.DEADLINE_EXCEEDED,
        details: TIMED_OUT,
      }),
    );
    expect(existsSync(join(daemon.dir, "shim-called"))).toBe(true);
    await other.expectNothingLeft({ before });
  });

  test("one start that hangs does not hold up the others", async () => {
    await using daemon = await startDaemon({ flags: ["--start-timeout", `${PATIENCE}ms`] });
    const { path, on, called } = wrapRuntime(daemon.dir, "hanging", "create", { kind: "hang" });
    on();
    const left = new AbortController();
    const hanging = startContainer(daemon, {
      name: "hanging",
      args: ["true"],
      request: { runtime: path },
      call: { signal: left.signal },
    });
    let over = false;
    hanging
      .catch(() => {})
      .finally(() => {
        over = true;
      });
    await called("create");
    using quick = await startContainer(daemon, { name: "quick", args: ["true"] });
    expect(await quick.exit()).toBe(0);
    expect(over).toBe(false);
    left.abort();
    await expect(hanging).rejects.toMatchObject({ code: status.CANCELLED });
    await daemon.expectNothingLeft();
  });

  test("waiting for a free worker does not count", async () => {
    await using daemon = await startDaemon({ flags: [...(await startTimeoutFlags()), "--start-workers", "1"] });
    const { path, on, called } = wrapRuntime(daemon.dir, "hanging", "create", { kind: "hang" });
    on();
    const begin = performance.now();
    // Each holds the worker until its own time is over; the last one waits for all of that, and has its own time then.
    const hanging = [0, 1].map((n) =>
      expect(
        startContainer(daemon, { name: `hanging-${n}`, args: ["true"], request: { runtime: path } }),
      ).rejects.toMatchObject({ details: TIMED_OUT }),
    );
    await called("create");
    await eventually(() => hanging.every((_, n) => existsSync(join(daemon.stateDir, daemon.id(`hanging-${n}`)))));
    using last = await startContainer(daemon, { name: "last", args: ["true"] });
    expect(performance.now() - begin).toBeGreaterThan(1.5 * (await startTimeout()));
    expect(await last.exit()).toBe(0);
    await Promise.all(hanging);
  });
});

describe("FIFOs that nobody opens", () => {
  test("the shim gives up", async () => {
    await using daemon = await startDaemon({ env: { CONTAINERD_SHIM_FIFO_TIMEOUT: "1000" } });
    const stdout = join(daemon.dir, "lonely");
    makeFifos(stdout);
    const before = daemon.snapshot();
    await expectTakes(1000, () =>
      expect(startContainer(daemon, { name: "c", args: ["true"], request: { stdout } })).rejects.toThrow(
        /shim error: .*lonely.*deadline exceeded/,
      ),
    );
    await daemon.expectNothingLeft({ before });
    await usable(daemon, "c");
  });

  test("--start-timeout is shorter", async () => {
    await using daemon = await startDaemon({
      flags: await startTimeoutFlags(),
      env: { CONTAINERD_SHIM_FIFO_TIMEOUT: "600000" },
    });
    const stdout = join(daemon.dir, "lonely");
    makeFifos(stdout);
    await expectTakes(await startTimeout(), () =>
      expect(startContainer(daemon, { name: "c", args: ["true"], request: { stdout } })).rejects.toMatchObject({
        details: TIMED_OUT,
      }),
    );
    await daemon.expectNothingLeft();
  });

  test("an exec's: the container goes on", async () => {
    await using daemon = await startDaemon({ env: { CONTAINERD_SHIM_FIFO_TIMEOUT: "1000" } });
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    const stdout = join(daemon.dir, "lonely");
    makeFifos(stdout);
    await expect(startExec(daemon, container, { pid: "e", args: ["true"], request: { stdout } })).rejects.toThrow(
      /lonely/,
    );
    expect((await daemon.api.state()).containers[0]!.processes).toHaveLength(1);
    await container.kill();
    await container.exit();
    await daemon.expectNothingLeft();
  });
});

describe("a caller that leaves", () => {
  const ways = [
    { what: "cancels", code: status.CANCELLED, leave: (ms: number) => ({ signal: AbortSignal.timeout(ms) }) },
    { what: "has a deadline", code: status.DEADLINE_EXCEEDED, leave: (ms: number) => ({ timeout: ms }) },
  ];

  describe.each(cases(ways))("and $what", ({ code, leave }) => {
    test.each<Subcommand>(["create", "start"])("while the runtime is at %s: nothing is left", async (at) => {
      await using daemon = await startDaemon();
      const { path, on, off } = wrapRuntime(daemon.dir, "slow", at, { kind: "hold" });
      on();
      const before = daemon.snapshot();
      const start = startContainer(daemon, {
        name: "c",
        args: ["sleep", "1000"],
        request: { runtime: path },
        call: leave(500),
      });
      await expect(start).rejects.toMatchObject({ code });
      // The runtime is held on: let go before the daemon has heard of the end of the call, it would finish the start.
      await daemon.expectNothingLeft({ before });
      off();
      expect((await daemon.api.state()).containers).toEqual([]);
      expect(daemon.events.events).toEqual([]);
      await usable(daemon, "c");
    });

    test("while it waits for its turn: it is never begun", async () => {
      await using daemon = await startDaemon({ flags: ["--start-workers", "1"] });
      const { path, on, off, called } = wrapRuntime(daemon.dir, "slow", "create", { kind: "hold" });
      on();
      const first = startContainer(daemon, { name: "first", args: ["true"], request: { runtime: path } });
      await called("create");
      const second = startContainer(daemon, {
        name: "second",
        args: ["true"],
        request: { runtime: path },
        call: leave(200),
      });
      await expect(second).rejects.toMatchObject({ code });
      off();
      await eventually(() => !existsSync(join(daemon.stateDir, daemon.id("second"))));
      expect(await (await first).exit()).toBe(0);
      expect(readFileSync(`${path}.calls`, "utf8")).not.toContain(daemon.id("second"));
      await daemon.expectNothingLeft();
    });

    test("during an exec: the container goes on without it", async () => {
      await using daemon = await startDaemon();
      const { path, on, off } = wrapRuntime(daemon.dir, "slow", "exec", { kind: "hold" });
      using container = await startContainer(daemon, {
        name: "c",
        args: ["sleep", "1000"],
        request: { runtime: path },
      });
      on();
      await expect(
        startExec(daemon, container, { pid: "e", args: ["sleep", "1000"], call: leave(300) }),
      ).rejects.toMatchObject({ code });
      off();
      await eventually(() => !existsSync(join(daemon.stateDir, container.id, "e")));
      const { containers } = await daemon.api.state();
      expect(containers[0]!.processes).toHaveLength(1);
      await eventually(async () => (await daemon.api.state()).containers[0]!.pids.length === 1);
      expect(daemon.events.all({ type: "start-process" })).toEqual([]);
      await container.kill();
      await container.exit();
      await daemon.expectNothingLeft();
    });
  });

  test("many at once, at all moments: nothing is left", async () => {
    await using daemon = await startDaemon();
    const before = daemon.snapshot();
    for (let round = 0; round < 4; round++) {
      await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          startContainer(daemon, {
            name: `m${n}`,
            args: ["sh", "-c", "sleep 0.1"],
            call: { signal: AbortSignal.timeout(20 + 25 * n + 6 * round) },
          }).then(
            (container) => container.exit(),
            (error) => expect(error.code).toBe(status.CANCELLED),
          ),
        ),
      );
      await daemon.expectNothingLeft({ before });
    }
  });
});

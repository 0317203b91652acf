/** Requests to a shim that does not read them: it gets the last of each kind when it goes on, also from the next daemon. */
import { execFileSync } from "node:child_process";
import { closeSync, constants, existsSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parentOf } from "../../src/system/linux/proc-stat.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const directoryOf = ({ id }: TestContainer) => join(daemon.stateDir, id, "init");
const waiting = (container: TestContainer) => existsSync(join(directoryOf(container), "control.waiting"));
const pidOf = (container: TestContainer) => container.response.container!.processes[0]!.systemPid;

/** Stops the shim and fills its control FIFO; calling what is returned lets it go on. */
function stopShim(container: TestContainer): () => void {
  const shim = parentOf(pidOf(container))!;
  process.kill(shim, "SIGSTOP");
  const fd = openSync(join(directoryOf(container), "control"), constants.O_RDWR | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(fd, "1 1 1\n");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
  } finally {
    closeSync(fd);
  }
  return () => process.kill(shim, "SIGCONT");
}

test.each([false, true])("closeStdin, the daemon killed in between: %s", async (killed) => {
  using container = await startContainer(daemon, { name: "cat", args: ["cat"], stdio: true });
  const goOn = stopShim(container);
  try {
    await daemon.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
    expect(waiting(container)).toBe(true);
    if (killed) await daemon.restart({ kill: true });
  } finally {
    goOn();
  }
  container.stdio.stdin.destroy();
  expect(await container.exit()).toBe(0);
});

test.each([false, true])("the last size, the daemon killed in between: %s", async (killed) => {
  await using container = await startContainer(daemon, {
    name: "terminal",
    args: ["sleep", "1000"],
    terminal: true,
    stdio: true,
  });
  const goOn = stopShim(container);
  try {
    for (const width of [90, 100, 110]) {
      await daemon.api.updateProcess({ id: container.id, pid: "init", width, height: 30 });
    }
    if (killed) await daemon.restart({ kill: true });
  } finally {
    goOn();
  }
  const size = () => execFileSync("stty", ["-F", `/proc/${pidOf(container)}/fd/0`, "size"], { encoding: "utf8" });
  await eventually(() => size() === "30 110\n", { what: "the last size" });
  await eventually(() => !waiting(container), { what: "nothing waits any more" });
});

test("a thousand requests to a shim that does not read take no longer than to one that does", async () => {
  await using container = await startContainer(daemon, { name: "often", args: ["sleep", "1000"], terminal: true });
  /** In ms. */
  const resizeOften = async () => {
    const begin = performance.now();
    const resize = (width: number) => daemon.api.updateProcess({ id: container.id, pid: "init", width, height: 30 });
    await Promise.all(Array.from({ length: 1000 }, (_, n) => resize(n + 1)));
    return performance.now() - begin;
  };
  const reading = Math.max(await resizeOften(), await resizeOften());
  const goOn = stopShim(container);
  try {
    expect(Math.min(await resizeOften(), await resizeOften())).toBeLessThan(3 * reading);
    await daemon.api.state();
  } finally {
    goOn();
  }
});

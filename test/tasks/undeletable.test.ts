/** A runtime, or the kernel, that can't let go of a container: its exit is told, and its id is free once it can. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { type RuntimeWrapper, wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
let runtime: RuntimeWrapper;
beforeEach(async () => {
  daemon = await startDaemon();
  runtime = wrapRuntime(daemon.dir, "undeletable", "delete", { kind: "fail", message: "device or resource busy" });
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const isTaken = (id: string) => existsSync(join(daemon.stateDir, id));
const start = (name: string, id?: string) =>
  startContainer(daemon, { name, args: ["sleep", "1000"], request: { runtime: runtime.path, ...(id && { id }) } });

async function endUndeletable(name: string) {
  const container = await start(name);
  runtime.on(container.id);
  await container.kill();
  expect(await container.exit()).toBe(137);
  return container;
}

describe("a runtime whose delete fails", () => {
  test("the exit is told, the container is gone, its id is taken until the runtime lets go", async () => {
    const { id } = await endUndeletable("c");
    expect((await daemon.api.state({})).containers).toEqual([]);
    await expect(start("again", id)).rejects.toThrow("file exists");
    expect(isTaken(id)).toBe(true);
    runtime.off();
    await eventually(() => !isTaken(id));
    const again = await start("free", id);
    expect(again.response.container?.id).toBe(id);
    await daemon.api.signal({ id, pid: "init", signal: 9 });
    await eventually(() => !isTaken(id));
    await daemon.expectNothingLeft();
  });

  test("it is tried again by the next daemon, which tells no exit twice", async () => {
    const { id } = await endUndeletable("c");
    await daemon.restart({ kill: true });
    void daemon.events;
    await expect(start("again", id)).rejects.toThrow("file exists");
    runtime.off();
    await eventually(() => !isTaken(id));
    expect((await daemon.events.waitFor({ id, type: "exit" })).status).toBe(137);
    expect(daemon.events.all({ id, type: "exit" })).toHaveLength(1);
    await daemon.expectNothingLeft();
  });

  test("a start that fails: its error is told, its id is free later", async () => {
    const id = daemon.id("s");
    runtime.on(id);
    const bundlePath = daemon.bundle("s", { args: ["/not/there"] });
    await expect(daemon.api.createContainer({ id, bundlePath, runtime: runtime.path })).rejects.toThrow("/not/there");
    runtime.off();
    await eventually(() => !isTaken(id));
    await daemon.expectNothingLeft();
  });

  test("others are not held up", async () => {
    await endUndeletable("c");
    await using other = await start("other");
    await other.kill();
    expect(await other.exit()).toBe(137);
    runtime.off();
    await daemon.expectNothingLeft();
  });
});

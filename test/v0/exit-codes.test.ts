/** How a container's end arrives in its exit event. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Spec } from "../harness/bundle.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** Without a pid namespace: the first process of one ignores every signal that it has no handler for. */
const hostPids = (spec: Spec) => {
  spec.linux.namespaces = spec.linux.namespaces.filter(({ type }) => type !== "pid");
};

test.each([0, 1, 7, 126, 255])("exit status %i", async (status) => {
  await using container = await startContainer(daemon, {
    name: `exit-${status}`,
    args: ["sh", "-c", `exit ${status}`],
  });
  expect(await container.exit()).toBe(status);
  await daemon.expectNothingLeft();
});

test.each([
  [9, 137],
  [15, 143],
  [2, 130],
  [6, 134],
])("death by signal %i is status %i", async (signal, status) => {
  await using container = await startContainer(daemon, {
    name: `signal-${signal}`,
    // Once it has said something it is what it is to be: at the answer to CreateContainer it may still be the runtime's init, just
    // before its execve, and a signal can get lost in one.
    args: ["sh", "-c", "echo up; exec sleep 1000"],
    spec: hostPids,
    stdio: true,
  });
  await container.printed("up\n");
  await container.kill(signal);
  expect(await container.exit()).toBe(status);
  await daemon.expectNothingLeft();
});

test("SIGKILL reaches init of a pid namespace", async () => {
  await using container = await startContainer(daemon, { name: "kill", args: ["sleep", "1000"] });
  await container.kill(9);
  expect(await container.exit()).toBe(137);
});

test("a handled signal: the status is what the handler makes of it", async () => {
  await using container = await startContainer(daemon, {
    name: "trap",
    args: ["sh", "-c", "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done"],
    stdio: true,
  });
  await container.printed("ready\n");
  await container.kill(15);
  expect(await container.exit()).toBe(9);
  expect((await container.output()).stdout.toString()).toContain("bye\n");
});

test("signal 0 only asks whether the process is there", async () => {
  await using container = await startContainer(daemon, { name: "probe", args: ["sleep", "1000"] });
  await container.kill(0);
  expect((await daemon.api.state({ id: container.id })).containers[0]?.status).toBe("running");
  await container.kill(9);
  await container.exit();
});

test("every exit event of many containers has the right status", async () => {
  const statuses = Array.from({ length: 30 }, (_, n) => n);
  const containers = await Promise.all(
    statuses.map((n) => startContainer(daemon, { name: `many-${n}`, args: ["sh", "-c", `exit ${n}`] })),
  );
  expect(await Promise.all(containers.map((container) => container.exit()))).toEqual(statuses);
  for (const { id } of containers) expect(daemon.events.all({ id, type: "exit" })).toHaveLength(1);
});

/** Tasks of containerd 1.x's API that are saved in a directory, and go on from there, with real CRIU. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { CheckpointOptions, Options } from "../../src/proto/containerd/types/runc/options/oci.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { createTask, startTask, type TestTask } from "../harness/task.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();

/** Counts for ever; where it is shows whether it was saved. */
const COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];

const checkpointOptions = (fields: Partial<CheckpointOptions>) => ({
  typeUrl: "containerd.runc.v1.CheckpointOptions",
  value: Buffer.from(CheckpointOptions.encode(CheckpointOptions.fromPartial(fields)).finish()),
});
const restoreOptions = (criuImagePath: string) => ({
  typeUrl: "containerd.runc.v1.Options",
  value: Buffer.from(Options.encode(Options.fromPartial({ criuImagePath })).finish()),
});
const checkpoint = ({ id: containerId }: TestTask, fields: Partial<CheckpointOptions>) =>
  fixture.api.tasks.checkpoint({ containerId, options: checkpointOptions(fields) });

test("a task that was saved ends, or goes on; another one begins where it was", async () => {
  const { daemon, api } = fixture;
  using events = await api.subscribe(`namespace==${api.namespace}`);
  const imagePath = join(daemon.dir, "saved");
  await using task = await startTask(daemon, api, { name: "saved", args: COUNTER, stdio: true });
  await task.printed("\n20\n");
  await checkpoint(task, { imagePath: `${imagePath}-running` });
  // The topic is containerd's, and so was the event with the shims of 1.0; those of 1.6 do not tell it.
  if (!isDebians)
    await events.waitFor("/tasks/checkpointed", { containerId: task.id, checkpoint: `${imagePath}-running` });
  expect((await api.tasks.get({ containerId: task.id })).process?.status).toBe(2);
  await checkpoint(task, { imagePath, exit: true });
  await task.wait();
  await task.delete();
  const told = await task.output();
  const last = Number(told.stdout.trim().split("\n").at(-1));
  expect(last).toBeGreaterThanOrEqual(20);

  await using restored = await createTask(daemon, api, {
    name: "restored",
    args: COUNTER,
    stdio: true,
    request: { options: restoreOptions(imagePath) },
  });
  // With containerd 1.6 there is no process, and no pid, before the start.
  const pid = await restored.start();
  expect(restored.pid).toBe(isDebians ? 0 : pid);
  await restored.printed("\n");
  await restored.kill();
  expect(await restored.exit()).toBe(137);
  const { stdout } = await restored.output();
  const first = Number(stdout.split("\n")[0]);
  expect(first).toBeGreaterThanOrEqual(20);
  expect(first).toBeLessThanOrEqual(last + 2);
  const { event } = await events.waitFor("/tasks/create", { containerId: restored.id });
  expect(event.checkpoint).toBe(imagePath);
});

// containerd 1.6 hands any path to CRIU, which writes to it as root.
test.skipIf(isDebians)("what can't be saved, or restored", async () => {
  const { daemon, api } = fixture;
  await using task = await startTask(daemon, api, { name: "unsaved", args: ["sleep", "100000"] });
  await expect(checkpoint(task, { imagePath: "saved" })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringContaining('invalid image_path "saved": not an absolute path'),
  });
  const taken = join(daemon.dir, "taken");
  mkdirSync(taken);
  await expect(checkpoint(task, { imagePath: taken })).rejects.toMatchObject({ code: status.ALREADY_EXISTS });
  await expect(checkpoint(task, { imagePath: "/tmp/anybodys" })).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    details: expect.stringContaining("/tmp"),
  });
  await expect(
    api.tasks.checkpoint({ containerId: task.id, options: { typeUrl: "foo.Bar", value: Buffer.from("abc") } }),
  ).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringContaining('options of type "foo.Bar", which is not known here'),
  });
  await expect(api.tasks.checkpoint({ containerId: daemon.id("none") })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
  await expect(
    createTask(daemon, api, {
      name: "unrestored",
      args: COUNTER,
      request: { options: restoreOptions(join(daemon.dir, "nothing")) },
    }),
  ).rejects.toMatchObject({ code: status.NOT_FOUND });
  await task.kill();
  await task.wait();
  await expect(checkpoint(task, { imagePath: join(daemon.dir, "late") })).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
  });
  await eventually(() => !existsSync(join(daemon.dir, "late")));
});

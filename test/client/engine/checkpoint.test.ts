/** Containers that are saved, and go on from there, with real CRIU. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ContainerdError, CreatedContainer } from "../../../src/client/index.js";
import { importRootfs, removeAll, useClient } from "../../harness/client.js";
import { full } from "../../harness/extent.js";
import { eventually } from "../../harness/wait.js";

const here = useClient();
const image = "base:1";

beforeAll(async () => {
  await importRootfs(here.client, image);
});
afterAll(async () => {
  await removeAll(here.client);
  await here.client.images.prune({ all: true });
});

/** Counts for ever, also in a file: where it is shows whether it was saved. Another file has a line for each time that it has begun. */
const COUNTER = [
  "sh",
  "-c",
  "echo >> /tmp/begun; i=0; while :; do i=$((i+1)); echo $i > /tmp/next; mv /tmp/next /tmp/count; sleep 0.02; done",
];

const create = () => here.client.containers.create({ image, pull: "never", args: COUNTER, stopTimeout: 0 });

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("it went well"),
    (error: unknown) => error as ContainerdError,
  );

const count = async (container: CreatedContainer) => Number(await container.readFile("/tmp/count"));

async function counted(container: CreatedContainer, least: number): Promise<number> {
  let last = 0;
  await eventually(async () => {
    last = await count(container);
    return last > least;
  });
  return last;
}

test("a container that was saved ends, and goes on where it was", async () => {
  await using container = await create();
  await container.start();
  await counted(container, 30);
  await container.checkpoint("first");
  expect(await container.state()).toBe("stopped");
  const saved = await count(container);
  await container.writeFile("/tmp/count", "0");
  await container.start({ checkpoint: "first" });
  const next = await counted(container, 0);
  expect(next).toBeGreaterThan(saved);
  expect(await container.readFile("/tmp/begun", { encoding: "utf8" })).toBe("\n");
  expect(await failure(container.checkpoint("first"))).toMatchObject({ kind: "id-in-use" });
  // From the beginning.
  await container.stop();
  await container.writeFile("/tmp/count", "0");
  await container.start();
  await counted(container, 0);
  expect(await container.readFile("/tmp/begun", { encoding: "utf8" })).toBe("\n\n");
  const own = join(here.daemon.root, "engine/checkpoints/default");
  expect(readdirSync(join(own, container.id))).toEqual(["first"]);
  await container.remove({ force: true });
  expect(existsSync(join(own, container.id))).toBe(false);
});

test.skipIf(!full)("it may go on, be saved in a directory, and outlive the daemon", async () => {
  await using container = await create();
  await container.start();
  await counted(container, 20);
  const directory = join(here.daemon.dir, "saved");
  await container.checkpoint(directory, { leaveRunning: true });
  const { pid } = await container.inspect();
  const saved = await count(container);
  expect(await container.state()).toBe("running");
  await counted(container, saved);
  await container.kill();
  await container.wait();
  await container.writeFile("/tmp/count", "0");
  await here.daemon.kill();
  await here.daemon.start();
  await container.start({ checkpoint: directory });
  expect(await counted(container, 0)).toBeGreaterThan(20);
  expect((await container.inspect()).pid).not.toBe(pid);
  await here.daemon.kill();
  await here.daemon.start();
  expect(await container.state()).toBe("running");
  await container.kill();
  expect(await container.wait()).toMatchObject({ status: 137 });
});

test.skipIf(!full)("what can't be saved, or begun with, is told why, and leaves nothing", async () => {
  await using container = await create();
  expect(await failure(container.checkpoint("early"))).toMatchObject({ kind: "wrong-state" });
  await container.start();
  await counted(container, 1);
  expect(await failure(container.checkpoint("no/name"))).toMatchObject({ kind: "refused" });
  const open = join(here.daemon.dir, "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  expect(await failure(container.checkpoint(join(open, "place")))).toMatchObject({ kind: "wrong-state" });
  expect(await failure(container.checkpoint("x.partial"))).toMatchObject({ kind: "refused" });
  await container.stop();
  expect(await failure(container.start({ checkpoint: "none" }))).toMatchObject({ kind: "not-found" });
  expect(await container.state()).toBe("stopped");
  await container.start();
  await counted(container, 1);
  const small = join(here.daemon.dir, "small");
  mkdirSync(small);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k,mode=755", "small", small]);
  try {
    const refused = await failure(container.checkpoint(join(small, "saved")));
    expect(refused).toMatchObject({ code: "INTERNAL", message: expect.stringMatching(/CRIU has logged:\n.*Error/) });
    expect(readdirSync(small)).toEqual([]);
  } finally {
    execFileSync("umount", [small]);
  }
  expect(await container.state()).toBe("running");
  await container.checkpoint("broken");
  const own = join(here.daemon.root, "engine/checkpoints/default", container.id);
  rmSync(join(own, "broken/core-1.img"));
  const unreadable = await failure(container.start({ checkpoint: "broken" }));
  expect(unreadable.message).toMatch(/CRIU has logged:\n.*Error/);
  expect(await container.state()).toBe("stopped");
  await container.start();
});

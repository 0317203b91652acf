/** What the next daemon makes of the engine's containers when one was killed. */
import { beforeAll, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

const SLEEP = { args: texts("sleep", "1000") };

test("what runs goes on, what is created can be started, what has ended is known", async () => {
  const [created, runs, ended, removed] = [newId(daemon), newId(daemon), newId(daemon), newId(daemon)];
  let { engine } = daemon.v1();
  await engine.create(requestFor({ id: created, name: "created", config: { ...SLEEP, writable: true } }));
  await engine.run({ create: requestFor({ id: runs, config: SLEEP }), stdio: NO_STDIO });
  await engine.run({
    create: requestFor({ id: ended, config: { args: texts("sh", "-c", "exit 4") } }),
    stdio: NO_STDIO,
  });
  await engine.wait({ id: ended });
  await engine.run({ create: requestFor({ id: removed, config: SLEEP, autoRemove: true }), stdio: NO_STDIO });
  await daemon.kill();
  await daemon.start();
  ({ engine } = daemon.v1());
  const statuses = (await engine.list()).containers.map(({ id, status }) => [id, status]);
  expect(Object.fromEntries(statuses)).toEqual({
    [created]: "created",
    [runs]: "running",
    [ended]: "stopped",
    [removed]: "running",
  });
  expect((await engine.get({ id: ended })).exit?.status).toBe(4);
  expect((await engine.get({ id: "created" })).id).toBe(created);
  await engine.start({ id: created, stdio: NO_STDIO });
  await engine.kill({ id: runs });
  expect((await engine.wait({ id: runs })).status).toBe(137);
  await engine.kill({ id: removed });
  await eventually(async () => expect(await refusal(engine.get({ id: removed }))).toContain("NOT_FOUND"));
  for (const id of [created, runs, ended]) await engine.remove({ id, force: true });
  expect((await daemon.v1().tasks.list()).tasks).toEqual([]);
  expect((await daemon.v1().containers.list()).containers).toEqual([]);
});

/** A start that is asked for again, as after a lost connection, has a container run once. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { bindOf, importImage, NO_STDIO, newId, requestFor, texts, type Wanted } from "../harness/engine.js";
import { cases, full } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

/** A request for a container that leaves a line on the host each time that it runs, and how many there are. */
function counting(wanted: Partial<Wanted> = {}, script = "exit 3") {
  const id = newId(daemon);
  const directory = join(daemon.dir, id);
  mkdirSync(directory);
  const config = {
    args: texts("sh", "-c", `echo x >> /out/runs; ${script}`),
    mounts: [bindOf(directory, "/out")],
  };
  const runs = () => readFileSync(join(directory, "runs"), "utf8").length / 2;
  return { id, create: requestFor({ id, config, ...wanted }), runs };
}

test.each(cases([{ owned: false }, { owned: true }]))(
  "what has ended is not started by the same call: %o",
  async (wanted) => {
    let { engine } = daemon.v1();
    const { id, create, runs } = counting(wanted);
    await engine.create(create);
    const start = (startId: string) => engine.start({ id, stdio: NO_STDIO, startId });
    expect((await start("first")).pid).toBeGreaterThan(0);
    expect((await engine.wait({ id })).status).toBe(3);
    expect(await start("first")).toMatchObject({ id, pid: 0 });
    await daemon.kill();
    await daemon.start();
    ({ engine } = daemon.v1());
    expect(await start("first")).toMatchObject({ id, pid: 0 });
    expect((await engine.wait({ id })).status).toBe(3);
    expect(runs()).toBe(1);
    await start("second");
    await engine.wait({ id });
    // One that has no name is a start of its own.
    await start("");
    await engine.wait({ id });
    expect(runs()).toBe(3);
    const tooLong = "x".repeat(200);
    expect(await refusal(start(tooLong))).toMatch(/INVALID_ARGUMENT: start_id "xxx/);
    await engine.remove({ id });
  },
);

test.skipIf(!full)("nor is what was restarted by the same call", async () => {
  const { engine } = daemon.v1();
  const { id, create, runs } = counting({}, "exec sleep 1000");
  await engine.run({ create, stdio: NO_STDIO });
  await eventually(() => expect(runs()).toBe(1));
  const restart = () => engine.restart({ id, grace: 0n, stdio: NO_STDIO, startId: "again" });
  const { pid } = await restart();
  expect((await restart()).pid).toBe(pid);
  await eventually(() => expect(runs()).toBe(2));
  await engine.kill({ id });
  await engine.wait({ id });
  expect((await restart()).pid).toBe(0);
  expect(runs()).toBe(2);
  await engine.remove({ id });
});

test.skipIf(!full)("a run of what goes with its end is not run once more", async () => {
  let { engine } = daemon.v1();
  const { id, create, runs } = counting({ autoRemove: true });
  await engine.run({ create, stdio: NO_STDIO });
  await eventually(async () => expect(await refusal(engine.get({ id }))).toContain("NOT_FOUND"));
  expect(await engine.run({ create, stdio: NO_STDIO })).toMatchObject({ id, pid: 0 });
  expect(runs()).toBe(1);
  // Its end is seen by the next daemon.
  const late = counting({ autoRemove: true }, "exec sleep 1000");
  const { pid } = await engine.run({ create: late.create, stdio: NO_STDIO });
  await eventually(() => expect(late.runs()).toBe(1));
  await daemon.kill();
  process.kill(pid, "SIGKILL");
  await daemon.start();
  ({ engine } = daemon.v1());
  await eventually(async () => expect(await refusal(engine.get({ id: late.id }))).toContain("NOT_FOUND"));
  expect(await engine.run({ create: late.create, stdio: NO_STDIO })).toMatchObject({ id: late.id, pid: 0 });
  expect(late.runs()).toBe(1);
});

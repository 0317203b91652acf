/** A daemon that takes over many containers in all their states. */
import { expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { importImage, NO_STDIO, newId, requestFor, texts, type Wanted } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();

test.skipIf(!full)(
  "50 containers, half of which end while there is no daemon, are what they are to the next one",
  async () => {
    const { daemon } = fixture;
    await importImage(daemon);
    let { engine } = daemon.v1();
    const make = async (
      count: number,
      wanted: Partial<Wanted>,
      then: (id: string) => Promise<unknown> = async () => {},
    ) => {
      const ids: string[] = [];
      for (let n = 0; n < count; n++) {
        const id = newId(daemon);
        const config = { args: texts("sleep", "100000"), writable: n % 2 === 0, ...wanted.config };
        await engine.create(requestFor({ id, ...wanted, config, name: `${wanted.name}-${n}` }));
        await then(id);
        ids.push(id);
      }
      return ids;
    };
    const start = (id: string) => engine.start({ id, stdio: NO_STDIO });
    const created = await make(10, { name: "created" });
    const running = await make(16, { name: "running" }, start);
    const paused = await make(4, { name: "paused" }, async (id) => {
      await start(id);
      await engine.pause({ id });
    });
    const stopped = await make(10, { name: "stopped", config: { args: texts("sh", "-c", "exit 5") } }, async (id) => {
      await start(id);
      await engine.wait({ id });
    });
    const owned = await make(4, { name: "owned", owned: true }, start);
    const passing = await make(6, { name: "passing", autoRemove: true }, start);
    const pids = new Map((await engine.list()).containers.map(({ id, pid }) => [id, pid]));
    await daemon.kill();
    const dying = [...running.slice(0, 8), ...owned.slice(0, 2), ...passing.slice(0, 3)];
    for (const id of dying) process.kill(pids.get(id)!, "SIGKILL");
    await daemon.start();
    ({ engine } = daemon.v1());
    for (const id of [...running.slice(0, 8), ...owned.slice(0, 2)])
      expect(await engine.wait({ id })).toMatchObject({ status: 137, error: "" });
    for (const id of passing.slice(0, 3))
      await eventually(async () => expect(await refusal(engine.get({ id }))).toContain("NOT_FOUND"));
    const { containers } = await engine.list();
    expect(containers).toHaveLength(47);
    const found = new Map(containers.map(({ id, status, name }) => [id, `${name.split("-")[0]} ${status}`]));
    const expectAll = (ids: string[], what: string) =>
      expect(ids.map((id) => found.get(id))).toEqual(ids.map(() => what));
    expectAll(created, "created created");
    expectAll(running.slice(0, 8), "running stopped");
    expectAll(running.slice(8), "running running");
    expectAll(paused, "paused paused");
    expectAll(stopped, "stopped stopped");
    expectAll(owned.slice(0, 2), "owned stopped");
    expectAll(owned.slice(2), "owned running");
    expectAll(passing.slice(3), "passing running");
    for (const { id, exit } of containers) if (stopped.includes(id)) expect(exit?.status).toBe(5);
    for (const id of [...running.slice(8), ...paused]) expect((await engine.get({ id })).pid).toBe(pids.get(id));
    // Each does what one of its state does.
    await Promise.all(created.map((id) => engine.start({ id, stdio: NO_STDIO })));
    await Promise.all(paused.map((id) => engine.resume({ id })));
    await Promise.all(
      [...created, ...paused, ...running.slice(8)].map(async (id) => {
        const execId = newId(daemon);
        await engine.exec({ id, execId, args: ["true"], stdio: NO_STDIO });
        expect((await engine.wait({ id, execId })).status).toBe(0);
        await engine.deleteExec({ id, execId });
      }),
    );
    await Promise.all(containers.map(({ id }) => engine.remove({ id, force: true })));
    expect((await daemon.v1().containers.list()).containers).toEqual([]);
    expect((await daemon.v1().tasks.list()).tasks).toEqual([]);
    expect(await daemon.v1().listSnapshots("overlayfs", "kind==active")).toEqual([]);
  },
);

/** The machine is started anew: nothing runs, nothing is mounted, what was in --run-dir is gone; what is below --root is there. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { bindOf, importImage, NO_STDIO, newId, requestFor, texts, type Wanted } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { findLeftovers, removeLeftovers } from "../harness/leftovers.js";
import { refusal } from "../harness/v1.js";
import { volumeAt } from "../harness/volumes.js";
import { eventually } from "../harness/wait.js";

/** Of a shell that runs its arguments as a command line for which the boot id is what is in the file $0. */
const BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';

async function startAnew(daemon: TestDaemon, file: string): Promise<void> {
  await daemon.kill();
  const territory = { dir: daemon.dir, stateDir: daemon.stateDir, runDir: daemon.runDir };
  await removeLeftovers(territory);
  rmSync(daemon.runDir, { recursive: true });
  rmSync(daemon.stateDir, { recursive: true });
  expect(findLeftovers(territory)).toMatchObject({ processes: [], mounts: [], cgroups: [] });
  writeFileSync(file, "22222222-2222-4222-8222-222222222222\n");
  await daemon.start();
}

test.skipIf(!full)("after a new start of the machine", async () => {
  const file = `/tmp/ctd-boot-id-${process.pid}`;
  writeFileSync(file, "11111111-1111-4111-8111-111111111111\n");
  try {
    const wrapper = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", BOOT, file];
    await using daemon = await startContainerd1({ wrapper });
    chmodSync(daemon.dir, 0o711);
    await importImage(daemon);
    let { engine } = daemon.v1();
    const [out, sleep] = [join(daemon.dir, "out"), "exec sleep 1000"];
    const make = async (
      what: string,
      wanted: Partial<Wanted> = {},
      script = `echo x >> /kept; echo ${what} >> /lasting/log; echo ${what} >> /out/log; ${sleep}`,
    ) => {
      const id = newId(daemon);
      const config = {
        args: texts("sh", "-c", script),
        writable: true,
        mounts: [bindOf(out, "/out", { createSource: true }), volumeAt("lasting", "/lasting")],
        ...wanted.config,
      };
      await engine.create(requestFor({ id, ...wanted, config, name: what }));
      return id;
    };
    const start = (id: string) => engine.start({ id, stdio: NO_STDIO, startId: "first" });
    const created = await make("created");
    const running = await make("running", { config: { ipc: "shareable" } });
    const paused = await make("paused");
    const ended = await make("ended", {}, "exit 4");
    const owned = await make("owned", { owned: true });
    const passing = await make("passing", { autoRemove: true });
    const own = await make("own", { config: { userns: "auto" } });
    // With something mounted over a file of /proc nobody in a user namespace may mount it: that one is not started.
    for (const id of [running, paused, ended, owned, passing]) await start(id);
    await engine.wait({ id: ended });
    await engine.pause({ id: paused });
    await eventually(() => expect(readFileSync(join(out, "log"), "utf8").split("\n").length).toBeGreaterThanOrEqual(5));

    // The power goes.
    await startAnew(daemon, file);
    ({ engine } = daemon.v1());

    await eventually(async () => expect((await engine.list()).containers).toHaveLength(5));
    const states = (await engine.list()).containers.map(({ name, status }) => [name, status]);
    expect(Object.fromEntries(states)).toEqual({
      created: "created",
      running: "stopped",
      paused: "stopped",
      ended: "stopped",
      own: "created",
    });
    expect((await engine.get({ id: ended })).exit).toMatchObject({ status: 4, error: "" });
    for (const id of [running, paused]) {
      const lost = { status: 255, error: expect.stringContaining("started anew") };
      expect((await engine.get({ id })).exit).toMatchObject(lost);
      expect(await engine.wait({ id })).toMatchObject(lost);
      expect(await engine.stop({ id })).toMatchObject(lost);
      expect(await refusal(engine.kill({ id }))).toMatch(/FAILED_PRECONDITION: .*stopped/);
    }
    for (const id of [owned, passing]) expect(await refusal(engine.get({ id }))).toContain("NOT_FOUND");
    expect((await daemon.v1().tasks.list()).tasks).toEqual([]);
    const volume = await daemon.v1().volumes.get({ name: "lasting", size: false });
    expect(volume.containers).toHaveLength(5);
    expect(readFileSync(join(volume.path, "log"), "utf8").split("\n")).toEqual(
      expect.arrayContaining(["running", "passing"]),
    );
    // What was written is there, once more when it was run before; and all can run again.
    for (const id of [created, running, paused]) {
      await engine.start({ id, stdio: NO_STDIO });
      const { pid } = await engine.get({ id });
      const lines = id === created ? "x\n" : "x\nx\n";
      await eventually(() => expect(readFileSync(`/proc/${pid}/root/kept`, "utf8")).toBe(lines));
    }
    // Ranges of ids are nobody else's still.
    const [range] = (await engine.get({ id: own })).uidMap;
    const another = await make("another", { config: { userns: "auto" } });
    expect((await engine.get({ id: another })).uidMap).not.toContainEqual(range);
    for (const { id } of (await engine.list()).containers) await engine.remove({ id, force: true });
    expect(await daemon.v1().listSnapshots("overlayfs", "kind==active")).toEqual([]);
  } finally {
    rmSync(file, { force: true });
  }
});

test.skipIf(!full)("policies after a new start of the machine", async () => {
  const file = `/tmp/ctd-boot-id-policies-${process.pid}`;
  writeFileSync(file, "11111111-1111-4111-8111-111111111111\n");
  try {
    const wrapper = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", BOOT, file];
    await using daemon = await startContainerd1({ wrapper });
    await importImage(daemon);
    let { engine } = daemon.v1();
    const make = async (what: string, policy: string, script = "exec sleep 1000") => {
      const id = newId(daemon);
      const config = { args: texts("sh", "-c", script), restart: { name: policy, maxRetries: 0 } };
      await engine.create(requestFor({ id, config, name: what }));
      return id;
    };
    for (const policy of ["no", "on-failure", "always", "unless-stopped"]) {
      await engine.start({ id: await make(`runs-${policy}`, policy), stdio: NO_STDIO });
      const id = await make(`stopped-${policy}`, policy);
      await engine.start({ id, stdio: NO_STDIO });
      await engine.stop({ id, grace: 0n });
    }
    await make("created", "always");
    const waits = await make("waits", "unless-stopped", "exit 1");
    await engine.start({ id: waits, stdio: NO_STDIO });
    await eventually(async () => expect((await engine.get({ id: waits })).restartCount).toBeGreaterThan(2));
    await startAnew(daemon, file);
    ({ engine } = daemon.v1());
    const running = ["runs-on-failure", "runs-always", "runs-unless-stopped", "stopped-always"];
    for (const name of running)
      await eventually(async () => expect((await engine.get({ id: name })).status).toBe("running"));
    for (const name of ["runs-no", "stopped-no", "stopped-on-failure", "stopped-unless-stopped"])
      expect((await engine.get({ id: name })).status).toBe("stopped");
    expect((await engine.get({ id: "created" })).status).toBe("created");
    await eventually(async () => expect((await engine.get({ id: waits })).restartCount).toBeGreaterThan(0));
    // Once more by the next daemon, in the same boot: nothing starts that does not run.
    await daemon.kill();
    await daemon.start();
    ({ engine } = daemon.v1());
    for (const name of running) expect((await engine.get({ id: name })).status).toBe("running");
    expect((await engine.get({ id: "stopped-unless-stopped" })).status).toBe("stopped");
    for (const { id } of (await engine.list()).containers) await engine.remove({ id, force: true });
  } finally {
    rmSync(file, { force: true });
  }
});

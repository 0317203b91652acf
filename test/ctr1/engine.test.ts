/**
 * Debian's `ctr` 1.6 on containers that the engine has made: it may look, run commands, and kill; what to type instead of the rest is told.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { IMAGE, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { ctr1, removeImages, rows, runCtr1, withoutCtr1 } from "./ctr1.js";

const fixture = useContainerd1();

describe.skipIf(withoutCtr1 !== undefined || !full)("Debian's ctr on the engine's containers", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, ...args);

  beforeAll(async () => {
    await importImage(fixture.daemon);
  });
  afterAll(async () => {
    await removeImages(fixture.daemon);
  });

  test("looks, runs commands, kills; does not remove", async () => {
    const { daemon } = fixture;
    const { engine } = daemon.v1();
    const [id, created] = [newId(daemon), newId(daemon)];
    const config = { args: texts("sleep", "1000"), writable: true, labels: { tier: "web" } };
    await engine.create(requestFor({ id: created, config }));
    const { pid } = await engine.run({ create: requestFor({ id, config }), stdio: NO_STDIO });
    const known = rows(await ctr("containers", "ls")).toSorted();
    expect(known).toEqual([id, created].toSorted().map((one) => [one, IMAGE, "io.containerd.runc.v2"]));
    expect(await ctr("containers", "ls", "-q", "labels.tier==web")).toContain(id);
    const info = JSON.parse(await ctr("containers", "info", id));
    expect(info).toMatchObject({ ID: id, Image: IMAGE, SnapshotKey: id, Labels: { tier: "web" } });
    expect(info.Spec.process.args).toEqual(["sleep", "1000"]);
    expect(rows(await ctr("tasks", "ls"))).toEqual([[id, `${pid}`, "RUNNING"]]);
    expect(await ctr("tasks", "exec", "--exec-id", "e", id, "cat", "/proc/1/comm")).toBe("sleep\n");
    expect(rows(await ctr("tasks", "ps", id))).toEqual([[`${pid}`, "-"]]);
    expect(await ctr("tasks", "metrics", id)).toMatch(new RegExp(`${id}[\\s\\S]*memory.usage_in_bytes`));
    for (const args of [
      ["tasks", "delete", id],
      ["containers", "rm", id],
      ["containers", "rm", created],
      ["containers", "label", id, "tier=db"],
      ["snapshots", "rm", id],
      ["snapshots", "commit", "committed", id],
      ["tasks", "start", "-d", created],
    ]) {
      const { status, stderr, stdout } = await runCtr1(daemon, args);
      expect(`${stderr}${stdout}`, args.join(" ")).toMatch(
        /managed by the engine.*ctr rm|cannot delete|must be stopped/,
      );
      expect(status, args.join(" ")).not.toBe(0);
    }
    expect((await engine.get({ id })).config?.labels).toEqual({ tier: "web" });
    await ctr("tasks", "pause", id);
    expect((await engine.get({ id })).status).toBe("paused");
    await ctr("tasks", "resume", id);
    await ctr("tasks", "kill", "--signal", "SIGKILL", id);
    expect((await engine.wait({ id })).status).toBe(137);
    expect((await engine.get({ id: created })).status).toBe("created");
    for (const one of [id, created]) await engine.remove({ id: one });
    expect(rows(await ctr("containers", "ls"))).toEqual([]);
  });
});

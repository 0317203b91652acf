/** Containers that Debian's `ctr` 1.6 saves as images, and restores, with real CRIU. */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startProgram } from "../ctr/ctr.js";
import { useContainerd1 } from "../harness/containerd1.js";
import { makeTestImage, type StandardImage } from "../harness/test-images.js";
import { eventually } from "../harness/wait.js";
import { ctr1, ctr1Command, removeImages, rows, runCtr1, withoutCtr1 } from "./ctr1.js";

/** `containers restore` makes its FIFOs below /run/containerd: this daemon and that client have a /run of their own. */
const OWN_RUN = [
  "unshare",
  "--mount",
  "--propagation",
  "private",
  "sh",
  "-c",
  'mount -t tmpfs run /run && exec "$@"',
  "sh",
];

const fixture = useContainerd1({ wrapper: OWN_RUN });

describe.skipIf(withoutCtr1)("Debian's ctr: containers as images", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, ...args);
  let base: StandardImage;

  beforeAll(async () => {
    const path = join(fixture.daemon.dir, "base");
    base = await makeTestImage(path, "base");
    await base.layout.archive(`${path}.tar`);
    await ctr("images", "import", `${path}.tar`);
  });
  afterEach(async () => {
    for (const [id] of rows(await ctr("containers", "ls"))) {
      await runCtr1(fixture.daemon, ["tasks", "delete", "--force", id!]);
      await ctr("containers", "rm", id!);
    }
  });
  afterAll(async () => {
    await removeImages(fixture.daemon);
    expect(rows(await ctr("snapshots", "ls"))).toEqual([]);
    await fixture.daemon.expectNothingLeft();
  });

  /** Counts for ever, into a file; where it is shows whether it was saved. */
  const start = async (name: string) => {
    const id = fixture.daemon.id(name);
    const script = "i=0; while :; do i=$((i+1)); echo $i >>/numbers; sleep 0.02; done";
    await ctr("run", "-d", "--null-io", base.name, id, "sh", "-c", script);
    await eventually(async () => (await numbers(id)).length > 20);
    return id;
  };
  let execs = 0;
  const numbers = async (id: string) => {
    const text = await ctr("tasks", "exec", "--exec-id", `cat${execs++}`, id, "cat", "/numbers");
    return text.trim().split("\n").map(Number);
  };
  const restore = async (...args: string[]) => {
    const words = ctr1Command(fixture.daemon, "containers", "restore", ...args);
    const inside = [
      "nsenter",
      "--mount",
      `--target=${fixture.daemon.pid}`,
      "env",
      `PATH=${process.env.PATH}`,
      ...words,
    ];
    const running = startProgram(fixture.daemon, inside);
    running.child.stdin!.end();
    const { status, stderr } = await running.result;
    return { status, stderr: stderr.toString() };
  };

  test("tasks checkpoint: an image that keeps the task, its files and the image that it comes from", async () => {
    const id = await start("task");
    const name = (await ctr("tasks", "checkpoint", "--exit", id)).trim();
    expect(name).toMatch(new RegExp(`^containerd.io/checkpoint/${id}:`));
    await eventually(async () => rows(await ctr("tasks", "ls")).find(([task]) => task === id)![2] === "STOPPED");
    const image = rows(await ctr("images", "ls")).find(([ref]) => ref === name)!;
    expect(image.at(-1)).toBe("containerd.io/checkpoint=true");
    const types = (JSON.parse(await ctr("content", "get", image[2]!)) as { manifests: { mediaType: string }[] })
      .manifests;
    expect(types.map(({ mediaType }) => mediaType)).toEqual(
      expect.arrayContaining([
        "application/vnd.containerd.container.criu.checkpoint.criu.tar",
        "application/vnd.containerd.container.checkpoint.config.v1+proto",
        "application/vnd.oci.image.layer.v1.tar+gzip",
      ]),
    );
  });

  test("containers checkpoint, and restore with what was written and what ran", async () => {
    const id = await start("saved");
    const ref = "registry.test/saved:1";
    await ctr("containers", "checkpoint", "--task", "--image", "--rw", id, ref);
    const before = (await numbers(id)).at(-1)!;
    // It goes on.
    await eventually(async () => (await numbers(id)).at(-1)! > before);
    const restored = fixture.daemon.id("restored");
    expect(await restore("--rw", "--live", restored, ref)).toEqual({ status: 0, stderr: "" });
    await eventually(async () => (await numbers(restored)).at(-1)! > before);
    // Each number once: it has begun where it was, with the file that it had.
    const all = await numbers(restored);
    expect(all).toEqual(all.map((_, index) => index + 1));
  });

  test("containers restore of what is no such image", async () => {
    expect(await restore("--live", fixture.daemon.id("none"), base.name)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("not found"),
    });
  });
});

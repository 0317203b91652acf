/** Tasks of containerd 1.x's API that are saved as content, and go on from there, with real CRIU. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { headerOf, paddingOf } from "../../src/contract/tar/tar-writer.js";
import type { Descriptor } from "../../src/proto/containerd/types/descriptor.js";
import { CheckpointOptions } from "../../src/proto/containerd/types/runc/options/oci.js";
import { Any } from "../../src/proto/google/protobuf/any.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { digestsOf, putBlob } from "../harness/content-blobs.js";
import { createTask, startTask, type TestTask } from "../harness/task.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();

const CRIU_IMAGES = "application/vnd.containerd.container.criu.checkpoint.criu.tar";
const CONFIG = "application/vnd.containerd.container.checkpoint.config.v1+proto";

/** Counts for ever; where it is shows whether it was saved. */
const COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];

const save = ({ id: containerId }: TestTask, fields: Partial<CheckpointOptions>, lease?: string) =>
  fixture.api.tasks.checkpoint(
    {
      containerId,
      options: {
        typeUrl: "containerd.runc.v1.CheckpointOptions",
        value: Buffer.from(CheckpointOptions.encode(CheckpointOptions.fromPartial(fields)).finish()),
      },
    },
    lease === undefined ? {} : { lease },
  );

async function bytesOf(digest: string): Promise<Buffer> {
  using stream = fixture.api.readContent(digest);
  await stream.ended;
  return Buffer.concat(stream.messages.map(({ data }) => data));
}

/** The directories in which checkpoints are while they are made or restored. */
function places(): string[] {
  const directory = join(fixture.daemon.root, "checkpoints");
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

test("a task is saved as content under the call's lease, and another one begins where it was", async () => {
  const { daemon, api } = fixture;
  await api.leases.create({ id: "saved" });
  await using task = await startTask(daemon, api, { name: "saved", args: COUNTER, stdio: true });
  await task.printed("\n20\n");
  const before = await digestsOf(api);
  const { descriptors } = await save(task, { exit: true }, "saved");
  expect(descriptors.map(({ mediaType }) => mediaType)).toEqual([CRIU_IMAGES, CONFIG]);
  const [images, config] = descriptors as [Descriptor, Descriptor];
  for (const { digest, size } of descriptors) expect((await bytesOf(digest)).length).toBe(Number(size));
  expect(await digestsOf(api)).toEqual([...before, images.digest, config.digest].sort());
  const { resources } = await api.leases.listResources({ id: "saved" });
  expect(resources.map(({ id }) => id)).toEqual(expect.arrayContaining([images.digest, config.digest]));
  const { container } = await api.containers.get({ id: task.id });
  expect(Any.decode(await bytesOf(config.digest))).toEqual(container?.spec);
  expect(places()).toEqual([]);
  await task.wait();
  await task.delete();
  const told = (await task.output()).stdout.trim().split("\n");

  await using restored = await createTask(daemon, api, {
    name: "restored",
    args: COUNTER,
    stdio: true,
    request: { checkpoint: images },
  });
  await restored.start();
  await restored.printed("\n");
  expect(places()).toEqual([]);
  await restored.kill();
  expect(await restored.exit()).toBe(137);
  const first = Number((await restored.output()).stdout.split("\n")[0]);
  expect(first).toBeGreaterThanOrEqual(20);
  expect(first).toBeLessThanOrEqual(Number(told.at(-1)) + 2);
  await api.leases.delete({ id: "saved", sync: true });
  expect(await digestsOf(api)).toEqual(before);
});

const file = (name: string, data: string, more = {}) => {
  const entry = { name, type: "file" as const, target: "", mode: 0o644, uid: 0, gid: 0, mtime: 0, nanoseconds: 0 };
  const size = Buffer.byteLength(data);
  const header = headerOf({ ...entry, size, major: 0, minor: 0, attributes: undefined, ...more });
  return Buffer.concat([header, Buffer.from(data), Buffer.alloc(paddingOf(size))]);
};

test.skipIf(isDebians)("a blob that is no archive of plain files is refused, and leaves nothing", async () => {
  const { daemon, api } = fixture;
  const link = { type: "symlink", target: "/etc" };
  const cases: [Buffer, string][] = [
    [Buffer.from("no archive".repeat(100)), "no header with the right checksum"],
    [file("../inventory.img", "x"), 'entry "../inventory.img": no plain name'],
    [file("/inventory.img", "x"), 'entry "/inventory.img": no plain name'],
    [file("a/../../b", "x"), 'entry "a/../../b": no plain name'],
    [file("a\nb", "x"), 'entry "a\\nb": no plain name'],
    [file("images", "", link), 'entry "images": a symlink in a checkpoint'],
    [file("images", "", { type: "hardlink", target: "x" }), 'entry "images": a hardlink in a checkpoint'],
    [file("images", "", { type: "fifo" }), 'entry "images": a fifo in a checkpoint'],
    [Buffer.concat([file("a", "x"), file("a", "y")]), 'entry "a": its name is taken'],
    [Buffer.concat([file("a", "x"), file("a/b", "y")]), 'entry "a/b": its directory is a file'],
    [file("a/b/c", "x"), 'entry "a/b/c": its directory does not come before it'],
    [file("inventory.img", "cut short".repeat(200)).subarray(0, 1000), 'entry "inventory.img": the archive ends'],
  ];
  for (const [archive, why] of cases) {
    const digest = await putBlob(api, archive);
    const checkpoint = { mediaType: CRIU_IMAGES, digest, size: BigInt(archive.length), annotations: {} };
    await expect(
      createTask(daemon, api, { name: "refused", args: COUNTER, request: { checkpoint } }),
      why,
    ).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(why),
    });
    expect(places()).toEqual([]);
  }
  const empty = {
    mediaType: CRIU_IMAGES,
    digest: await putBlob(api, Buffer.alloc(1024)),
    size: 1024n,
    annotations: {},
  };
  await expect(
    createTask(daemon, api, { name: "empty", args: COUNTER, request: { checkpoint: empty } }),
  ).rejects.toMatchObject({ code: status.UNKNOWN, details: expect.stringContaining("OCI runtime create failed") });
  expect(places()).toEqual([]);
});

test("a checkpoint that is not there, or of another media type", async () => {
  const { daemon, api } = fixture;
  const none = { mediaType: CRIU_IMAGES, digest: `sha256:${"0".repeat(64)}`, size: 1n, annotations: {} };
  const create = (name: string, checkpoint: Descriptor) =>
    createTask(daemon, api, { name, args: COUNTER, request: { checkpoint } });
  await expect(create("none", none)).rejects.toMatchObject({ code: isDebians ? status.UNKNOWN : status.NOT_FOUND });
  await expect(create("layer", { ...none, mediaType: "x/y" })).rejects.toMatchObject({
    code: isDebians ? status.UNKNOWN : status.INVALID_ARGUMENT,
    details: expect.stringContaining('unsupported checkpoint type "x/y"'),
  });
});

test.skipIf(isDebians)("a daemon that is killed while it saves or restores leaves nothing of it for ever", async () => {
  const { daemon } = fixture;
  await using task = await startTask(daemon, fixture.api, { name: "kept", args: COUNTER });
  const { descriptors } = await save(task, {});
  const checkpoint = descriptors[0]!;
  const create = (name: string) => createTask(daemon, fixture.api, { name, args: COUNTER, request: { checkpoint } });
  for (const call of [() => save(task, {}), create]) {
    let left = 0;
    // Now and then the call is over before the kill.
    for (let n = 0; left === 0; n++) {
      const outcome = call(`again${n}`).catch(() => {});
      await eventually(() => places().length > 0, { interval: 0 });
      await daemon.kill();
      await outcome;
      left = places().length;
      await daemon.start();
    }
    await eventually(() => places().length === 0);
  }
  expect((await fixture.api.tasks.get({ containerId: task.id })).process?.status).toBe(2);
});

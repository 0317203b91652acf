/** Clients that stand still or vanish in the middle of a stream. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ctr, startCtr } from "../ctr/ctr.js";
import { compare } from "../harness/compare.js";
import { putBlob } from "../harness/content-blobs.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import { directoryPrefix } from "../harness/run-name.js";
import { file, tarOf } from "../harness/test-images.js";
import { imageNames } from "../harness/unpacked.js";
import { ApiV1 } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

let dir: string;
let daemon: TestDaemon;
beforeAll(async () => {
  dir = mkdtempSync(directoryPrefix());
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

/** In kB. */
function memory(name: "VmRSS" | "VmHWM"): number {
  return Number(
    new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))?.[1],
  );
}

/** An archive that could end here: whole entries, and nothing that says that there are no more. */
async function archiveWithoutEnd(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const entries = [file("first", Buffer.alloc(1 << 20, "x")), file("second", "y")];
  for await (const chunk of tarOf(entries) as AsyncIterable<Buffer>) chunks.push(chunk);
  const whole = Buffer.concat(chunks);
  return whole.subarray(0, whole.length - 1024);
}

test("a root file system is not imported when its client is killed between two entries", async () => {
  const archive = await archiveWithoutEnd();
  for (let round = 0; round < times(30, 4); round++) {
    const { child, result } = startCtr(daemon, "images", "import", "--quiet", "--rootfs", "--name", "cut:1", "-");
    await new Promise((resolve) => child.stdin!.write(archive, resolve));
    await eventually(async () => (await daemon.v1().content.listStatuses()).statuses.length > 0, { what: "an import" });
    await sleep(Math.random() * 50);
    child.kill("SIGKILL");
    await result;
    await eventually(async () => (await daemon.v1().content.listStatuses()).statuses.length === 0, { what: "its end" });
    expect(await imageNames(daemon.v1())).toEqual([]);
  }
});

test("readers that stand still hold little of what they read, and nobody up", async () => {
  const size = 12 << 20;
  const digest = await putBlob(daemon.v1(), Buffer.alloc(size, "still"));
  const before = memory("VmRSS");
  const readers = Array.from({ length: times(12, 4) }, () => startCtr(daemon, "content", "get", digest));
  try {
    // Nobody takes what the first ones print: they stop reading. The last half is stopped altogether.
    for (const [number, { child }] of readers.entries()) {
      child.stdout!.pause();
      if (number % 2 === 1) child.kill("SIGSTOP");
    }
    // Others of the same kind get all, side by side with those.
    const whole = await ctr(daemon, "content", "get", digest);
    expect(whole).toHaveLength(size);
    const [beside, alone] = await compare(
      () => ctr(daemon, "content", "ls"),
      () => ctr(daemon, "--version"),
      5,
    );
    expect(beside / alone).toBeLessThan(10);
    expect(memory("VmRSS") - before).toBeLessThan(120_000);
  } finally {
    for (const { child } of readers) child.kill("SIGKILL");
    await Promise.all(readers.map(({ result }) => result));
  }
  await ctr(daemon, "content", "ls");
});

test("30 readers at once: less than four pieces of 256 KiB for each, and V8's garbage", async () => {
  const size = 12 << 20;
  const digest = await putBlob(daemon.v1(), Buffer.alloc(size, "many"));
  const before = memory("VmHWM");
  const connection = new ApiV1(daemon.address, "default");
  try {
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        using stream = connection.readContent(digest);
        let read = 0;
        for await (const { data } of stream) {
          read += data.length;
          stream.messages.fill(undefined as never);
        }
        expect(read).toBe(size);
      }),
    );
  } finally {
    connection.close();
  }
  expect(memory("VmHWM") - before).toBeLessThan(160_000);
});

test("an import, and progress, whose client stands still", async () => {
  const { child, result } = startCtr(daemon, "images", "import", "--rootfs", "--name", "stopped:1", "-");
  const archive = await archiveWithoutEnd();
  try {
    await new Promise((resolve) => child.stdin!.write(archive, resolve));
    await eventually(async () => (await daemon.v1().content.listStatuses()).statuses.length > 0, { what: "an import" });
    child.kill("SIGSTOP");
    const rest = new Promise<void>((resolve) => child.stdin!.end(Buffer.alloc(1024), resolve));
    // The daemon does all else meanwhile, another import as well.
    const other = startCtr(daemon, "images", "import", "--quiet", "--rootfs", "--name", "other:1", "-");
    other.child.stdin!.end(archive);
    expect((await other.result).stderr).toBe("");
    expect(await imageNames(daemon.v1())).toEqual(["docker.io/library/other:1"]);
    child.kill("SIGCONT");
    await rest;
    expect((await result).status).toBe(0);
  } finally {
    child.kill("SIGKILL");
  }
  expect((await imageNames(daemon.v1())).sort()).toEqual(["docker.io/library/other:1", "docker.io/library/stopped:1"]);
});

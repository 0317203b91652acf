/** Daemons that are killed while they write and remove content; two on one --root; full disks; clients that do not read. */
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { faultsOfRoot } from "../harness/check-root.js";
import { digestsOf, imageOf, putBlob } from "../harness/content-blobs.js";
import { sha256 } from "../harness/content-writer.js";
import { startDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import { directoryPrefix } from "../harness/run-name.js";
import { ApiV1, refusal } from "../harness/v1.js";
import { eventually, sleep } from "../harness/wait.js";

const REF = "containerd.io/gc.ref.content";

interface Told {
  /** As they were answered to be there, by their names: the digests of what each needs. */
  images: Map<string, string[]>;
  /** How many calls of images were answered. */
  answered: number;
}

/** Makes and removes images, each of three blobs, until the daemon is gone. What is neither told nor untold may be either. */
async function work(api: ApiV1, name: string, told: Told): Promise<void> {
  for (let n = 0; ; n++) {
    const image = `${name}-${n % 5}`;
    try {
      if (told.images.delete(image)) {
        await api.images.delete({ name: image, sync: n % 2 === 0 });
        told.answered++;
        continue;
      }
      const lease = `${image}-${randomBytes(4).toString("hex")}`;
      await api.leases.create({ id: lease });
      // One that others have as well, and two of its own.
      const parts = [await putBlob(api, "of all", { lease }).catch(known(sha256("of all")))];
      parts.push(await putBlob(api, randomBytes(Math.ceil(Math.random() * 300_000)), { lease }));
      const labels = Object.fromEntries(parts.map((digest, part) => [`${REF}.l.${part}`, digest]));
      const manifest = await putBlob(api, randomBytes(500), { lease, labels });
      await api.images.create({ image: imageOf(image, manifest) });
      await api.leases.delete({ id: lease });
      told.images.set(image, [manifest, ...parts]);
      told.answered++;
    } catch (error) {
      const { code } = error as { code?: number };
      // An image whose making or removal was not answered.
      if (code === 6 && (error as Error).message.includes("image")) {
        await api.images.delete({ name: image }).catch(() => {});
        continue;
      }
      const isOver = code === 14 || code === 1 || (error as Error).message === "Channel has been shut down";
      if (!isOver) throw error;
      return;
    }
  }
}

/** For what is there already. */
function known(digest: string) {
  return (error: { code?: number }): string => {
    if (error.code !== 6) throw error;
    return digest;
  };
}

test("kills at random instants: what was answered is there and whole, nothing half is, and nothing is left", async () => {
  await using daemon = await startDaemon();
  const told: Told = { images: new Map(), answered: 0 };
  const rounds = times(60, 5);
  for (let round = 0; round < rounds; round++) {
    const api = daemon.v1("kills");
    await api.images.list();
    const enough = told.answered + Math.floor(Math.random() * 20);
    const workers = Array.from({ length: 3 }, (_, n) => work(api, `w${n}`, told));
    await eventually(() => told.answered >= enough, { interval: 1 });
    await sleep(Math.random() * 50);
    await daemon.kill();
    await Promise.all(workers);
    expect(await faultsOfRoot(daemon.root, { ofKilled: true })).toEqual([]);
    await daemon.start();
    const there = new Set(await digestsOf(daemon.v1("kills")));
    const names = (await daemon.v1("kills").images.list()).images.map((image) => image.name);
    for (const [name, digests] of told.images) {
      expect(names, `round ${round}`).toContain(name);
      for (const digest of digests) expect(there.has(digest), `round ${round}: ${name} needs ${digest}`).toBe(true);
    }
  }
  expect(told.answered).toBeGreaterThan(rounds);
  // All that is needed by nothing, or that nobody knows of, goes with the next collection.
  const api = daemon.v1("kills");
  for (const { id } of (await api.leases.list()).leases) await api.leases.delete({ id });
  for (const { name } of (await api.images.list()).images) await api.images.delete({ name, sync: true });
  expect(await digestsOf(api)).toEqual([]);
  expect((await api.content.listStatuses()).statuses).toEqual([]);
  await daemon.kill();
  expect(await faultsOfRoot(daemon.root)).toEqual([]);
  const files = execFileSync("find", [join(daemon.root, "content"), "-type", "f"], { encoding: "utf8" });
  expect(files).toBe("");
}, 600_000);

test("a full disk is an error of who writes, which names the file; what was written is gone on with", async () => {
  const disk = mkdtempSync(`${directoryPrefix()}disk-`);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m", "ctd-test", disk]);
  try {
    await using daemon = await startDaemon({ root: join(disk, "root") });
    const api = daemon.v1("full");
    await api.leases.create({ id: "l" });
    const kept = await putBlob(api, randomBytes(1_000_000), { lease: "l" });
    const { bavail, bsize } = statfsSync(disk);
    const filler = join(disk, "filler");
    // Some room is left for records.
    appendFileSync(filler, Buffer.alloc(bavail * bsize - 5_000_000));
    const data = randomBytes(8_000_000);
    const digest = sha256(data);
    {
      using writer = api.writeContent({ lease: "l" });
      await writer.write({ ref: "big", total: 8_000_000n, expected: digest, data: data.subarray(0, 1_000_000) });
      expect(await refusal(writer.write({ offset: 1_000_000n, data: data.subarray(1_000_000) }))).toMatch(
        /^RESOURCE_EXHAUSTED: .*content\/ingests\/.*\/data can't be written: no space left on device/,
      );
    }
    // The others go on.
    using read = api.readContent(kept);
    await read.ended;
    expect(sha256(Buffer.concat(read.messages.map((message) => message.data)))).toBe(kept);
    rmSync(filler);
    using writer = await eventually(async () => {
      const writer = api.writeContent({ lease: "l" });
      const { offset } = await writer.stat({ ref: "big", total: 8_000_000n, expected: digest });
      expect(offset).toBeGreaterThanOrEqual(1_000_000n);
      await writer.write({ offset, data: data.subarray(Number(offset)) });
      return writer;
    });
    expect(await writer.commit({ offset: 8_000_000n, expected: digest })).toMatchObject({ digest });
    await daemon.kill();
    expect(await faultsOfRoot(daemon.root)).toEqual([]);
  } finally {
    spawnSync("umount", ["--lazy", disk]);
    rmSync(disk, { recursive: true });
  }
});

test("a second daemon on the same --root is refused, and leaves what is there alone", async () => {
  await using daemon = await startDaemon();
  const api = daemon.v1("both");
  using writer = api.writeContent();
  await writer.write({ ref: "open", data: Buffer.from("begun ") });
  await using second = await startDaemon({ root: daemon.root });
  const other = second.v1("both");
  using foreign = other.writeContent();
  const calls = [
    () => foreign.stat({ ref: "x" }),
    () => digestsOf(other),
    () => other.images.list(),
    () => other.leases.create(),
    () => other.listSnapshots("overlayfs"),
  ];
  for (const words of await Promise.all(calls.map((call) => refusal(call()))))
    expect(words).toMatch(/^FAILED_PRECONDITION: metadata in .*: in use by another daemon/);
  await writer.commit({ offset: 6n, data: Buffer.from("ended"), expected: sha256("begun ended") });
  await daemon.kill();
  expect(await digestsOf(other)).toEqual([sha256("begun ended")]);
});

/** In bytes. */
function residentSize(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
}

test("clients that do not read cost no more than some chunks each", async () => {
  await using daemon = await startDaemon();
  const api = daemon.v1("slow");
  const digest = await putBlob(api, Buffer.alloc(16_000_000, 1));
  const digests = [digest];
  for (let n = 2; n < 4; n++) digests.push(await putBlob(api, Buffer.alloc(16_000_000, n)));
  const before = residentSize(daemon.pid);
  const clients = times(24, 12);
  // A connection each: else they share one's window.
  const apis = Array.from({ length: clients }, () => new ApiV1(daemon.address, "slow"));
  const streams = apis.map((one, n) => one.readContent(digests[n % 3]!));
  for (const stream of streams) stream.pause();
  let last = 0;
  // Until it does not grow any more.
  await eventually(
    async () => {
      const size = residentSize(daemon.pid);
      const isStill = size - last < 1_000_000;
      last = size;
      return isStill;
    },
    { interval: 500 },
  );
  expect(last - before).toBeLessThan(clients * 8_000_000);
  for (const stream of streams) stream.resume();
  for (const stream of streams) {
    await stream.ended;
    expect(stream.messages.reduce((sum, { data }) => sum + data.length, 0)).toBe(16_000_000);
  }
  for (const one of apis) one.close();
});

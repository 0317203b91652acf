/** What is kept below --root: killed daemons, full disks, damaged files, and what it costs. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Container } from "../../src/proto/containerd/services/containers/v1/containers.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import { directoryPrefix } from "../harness/run-name.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually, sleep } from "../harness/wait.js";

function record(id: string, image: string, size = 20_000): Container {
  // What is in it is told by the image: half of a write would show.
  const spec = { typeUrl: "t", value: Buffer.alloc(size, image.length === 0 ? "x" : image) };
  return { ...Container.fromPartial({ id, image }), runtime: { name: "r", options: undefined }, spec };
}

test("nothing is made below --root by a start, nor by 0.2's calls", async () => {
  await using daemon = await startDaemon();
  await daemon.api.state({});
  await daemon.v1("").version.version();
  expect(existsSync(daemon.root)).toBe(false);
  await daemon.v1("").namespaces.list();
  expect(existsSync(join(daemon.root, "metadata/meta.db"))).toBe(true);
});

/** The image of each container, undefined where it was deleted: as it was answered, and of calls that were not answered. */
interface Told {
  done: Map<string, string | undefined>;
  open: Map<string, string | undefined>;
  answered: number;
}

/** Creates, changes and deletes containers until the daemon is gone; keeps what it was told to be done. */
async function work(api: ApiV1, name: string, told: Told): Promise<void> {
  const { done, open } = told;
  for (let n = 0; ; n++) {
    const id = `${name}-${n % 7}`;
    const image = `${name}:${told.answered}-${n}`;
    const before = done.get(id);
    const isDelete = before !== undefined && n % 3 === 0;
    open.set(id, isDelete ? undefined : image);
    try {
      if (isDelete) await api.containers.delete({ id });
      else if (before === undefined) await api.containers.create({ container: record(id, image) });
      else await api.containers.update({ container: record(id, image), updateMask: ["image", "spec"] });
    } catch (error) {
      if ((error as { code: number }).code !== 14 && (error as { code: number }).code !== 1) throw error;
      return;
    }
    done.set(id, isDelete ? undefined : image);
    open.delete(id);
    told.answered++;
  }
}

test("kills at random instants: what was answered is there, the rest is there whole or not at all", async () => {
  await using daemon = await startDaemon();
  const told: Told = { done: new Map(), open: new Map(), answered: 0 };
  const { done, open } = told;
  const rounds = times(60, 8);
  for (let round = 0; round < rounds; round++) {
    open.clear();
    const api = daemon.v1("kills");
    await api.containers.list();
    const enough = told.answered + Math.floor(Math.random() * 15);
    const workers = Array.from({ length: 4 }, (_, n) => work(api, `w${n}`, told));
    await eventually(() => told.answered >= enough, { interval: 1 });
    await sleep(Math.random() * 10);
    await daemon.kill();
    await Promise.all(workers);
    await daemon.start();
    const { containers } = await daemon.v1("kills").containers.list();
    const found = new Map(containers.map(({ id, image, spec }) => [id, { image, spec: spec!.value }]));
    for (const [id, { image, spec }] of found) {
      expect([done.get(id), open.get(id)], `round ${round}: ${id}`).toContain(image);
      expect(spec.equals(record(id, image).spec!.value), `round ${round}: the spec of ${id}`).toBe(true);
    }
    for (const [id, image] of done) {
      if (open.has(id)) continue;
      expect(found.get(id)?.image, `round ${round}: ${id}`).toBe(image);
    }
    // The next round goes on from what is there.
    for (const id of open.keys()) done.set(id, found.get(id)?.image);
  }
  expect(told.answered).toBeGreaterThan(rounds);
});

/** A daemon whose --root is on a small file system of its own. */
async function withDisk(size: string, use: (daemon: TestDaemon, disk: string) => Promise<void>): Promise<void> {
  const disk = mkdtempSync(`${directoryPrefix()}disk-`);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "ctd-test", disk]);
  try {
    await using daemon = await startDaemon({ root: join(disk, "root") });
    await use(daemon, disk);
  } finally {
    spawnSync("umount", ["--lazy", disk]);
    rmSync(disk, { recursive: true });
  }
}

test("a full disk is an error of the calls that write, and what was there stays", async () => {
  await withDisk("4m", async (daemon, disk) => {
    const { containers } = daemon.v1("full");
    await containers.create({ container: record("before", "before") });
    const { bavail, bsize } = statfsSync(disk);
    const filler = join(disk, "filler");
    appendFileSync(filler, Buffer.alloc(bavail * bsize));
    for (let n = 0; n < 3; n++) {
      expect(await refusal(containers.create({ container: record(`no-${n}`, "no", 100_000) }))).toMatch(
        /^RESOURCE_EXHAUSTED: metadata in .*: no space left on device/,
      );
    }
    expect((await containers.list()).containers.map(({ id }) => id)).toEqual(["before"]);
    rmSync(filler);
    await containers.create({ container: record("after", "after", 100_000) });
    await daemon.restart({ kill: true });
    const list = await daemon.v1("full").containers.list();
    expect(list.containers.map(({ id }) => id)).toEqual(["after", "before"]);
  });
});

test("a damaged file, or another daemon's, is told to whoever needs it; 0.2's API goes on", async () => {
  await using daemon = await startDaemon();
  const file = join(daemon.root, "metadata/meta.db");
  await daemon.v1("ns").containers.create({ container: record("a", "a") });
  await using second = await startDaemon({ root: daemon.root });
  expect(await refusal(second.v1("ns").containers.list())).toMatch(
    /^FAILED_PRECONDITION: metadata in .*metadata: in use by another daemon/,
  );
  await daemon.kill();
  expect((await second.v1("ns").containers.list()).containers).toHaveLength(1);
  await second.kill();
  truncateSync(file, 9000);
  await daemon.start();
  const torn = readFileSync(file);
  const calls = [
    daemon.v1("ns").containers.list(),
    daemon.v1("ns").containers.create({ container: record("b", "b") }),
    daemon.v1("").namespaces.list(),
    daemon.v1("ns").leases.create(),
    daemon.v1("").introspection.server(),
  ];
  for (const words of await Promise.all(calls.map(refusal)))
    expect(words).toMatch(/^FAILED_PRECONDITION: metadata in .*meta\.db: a part of the file is missing/);
  await daemon.api.state({});
  expect(readFileSync(file).equals(torn)).toBe(true);
});

test("a directory that somebody else owns is not used", async () => {
  await using daemon = await startDaemon();
  mkdirSync(join(daemon.root, "metadata"), { recursive: true });
  execFileSync("chown", ["12345", join(daemon.root, "metadata")]);
  expect(await refusal(daemon.v1("ns").containers.list())).toMatch(
    /^FAILED_PRECONDITION: metadata in .*belongs to user 12345/,
  );
});

function residentMemory(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
}

test("500 containers with specs of 20 kB leave the daemon below 110 MB, also once all were read", async () => {
  await using daemon = await startDaemon();
  const { containers } = daemon.v1("many");
  for (let n = 0; n < 500; n += 10)
    await Promise.all(Array.from({ length: 10 }, (_, m) => containers.create({ container: record(`c${n + m}`, "i") })));
  await daemon.restart({ kill: true });
  const api = daemon.v1("many");
  for (let n = 0; n < 500; n++) await api.containers.get({ id: `c${n}` });
  await eventually(() => residentMemory(daemon.pid) < 110, { what: "no more than 110 MB" });
});

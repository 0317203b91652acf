/**
 * The kill suite over images: a daemon that is killed while it pulls, imports, converts, removes and collects. The next one has nothing
 * half: an image that is there has all its blobs, whole, and its snapshot; what is asked for again is done; nothing stays without a need.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import type { ServiceError } from "../harness/api.js";
import { faultsOfRoot } from "../harness/check-root.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { mountsBelow } from "../harness/mounted.js";
import { startRegistry, type TestRegistry } from "../harness/registry.js";
import { base, file, ImageLayout, largeFiles, smallFiles, type TestImage } from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { contentOf, imageNames, labelsOf, lookInto, SNAPSHOTTER, targetOf } from "../harness/unpacked.js";
import type { ApiV1 } from "../harness/v1.js";
import { eventually, sleep } from "../harness/wait.js";
import { copyBuild } from "./private-build.js";
import { Random } from "./random.js";
import { tooLittle, type Work } from "./work.js";

export interface ImageKillOptions {
  kills: number;
  seed: number;
  progress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface ImageKillReport {
  kills: number;
  violations: string[];
  /** How often each was carried out. */
  work: Work;
  /** How often the daemon was killed during each. */
  phases: Work;
  /** In ms, from a kill until the next daemon answers. */
  recoveries: number[];
}

const IMAGES = 3;
/** Codes of calls that got no answer. */
const NO_ANSWER = new Set([status.UNAVAILABLE, status.CANCELLED]);
/** How long work goes on before a kill at most, as a multiple of what all of it takes undisturbed: some has to come to its end. */
const DEPTH = 2.5;
/** How often everything is removed, and has to be gone: what is there is not pulled again. */
const EMPTIED = 0.5;

interface Published {
  image: TestImage;
  /** A file that only this image has, and what is in it. */
  file: string;
  text: string;
}

export async function runImageKills(options: ImageKillOptions): Promise<ImageKillReport> {
  const { kills, seed, progress, signal } = options;
  const report: ImageKillReport = { kills: 0, violations: [], work: {}, phases: {}, recoveries: [] };
  const violation = (text: string) => {
    report.violations.push(`after kill ${report.kills}: ${text}`);
    progress?.(`VIOLATION after kill ${report.kills}: ${text}`);
  };
  const random = new Random(seed);
  await using registry = await startRegistry();
  using build = copyBuild();
  await using daemon = await startDaemon({
    program: build.daemon,
    flags: ["--shim", build.shim, "--log-level", "error"],
  });
  const archive = join(daemon.dir, "images.tar");
  const published = await publish(registry, join(daemon.dir, "layout"), archive);
  const reference = (number: number) => `${registry.host}/kills/image:${number}`;

  /** One thing that a client wants; undefined when it got no answer. */
  const attempt = async (kind: string, work: () => Promise<unknown>, open: Set<string>): Promise<void> => {
    open.add(kind);
    try {
      await work();
      report.work[kind] = (report.work[kind] ?? 0) + 1;
    } catch (error) {
      const { code, message } = error as ServiceError;
      if (!NO_ANSWER.has(code!) && code !== status.NOT_FOUND) violation(`${kind}: ${message}`);
      return;
    }
    open.delete(kind);
  };
  const pull = (api: ApiV1, number: number) => new Transfers(api).pull(reference(number));
  const remove = async (api: ApiV1, number: number) => {
    await api.images.delete({ name: reference(number), sync: true });
  };

  // How long all of it takes on this machine, undisturbed, is how long it is left to go on at most.
  const importAll = () => new Transfers(daemon.v1("kills-import")).import(archive);
  const begin = performance.now();
  await Promise.all([...published.map((_, number) => pull(daemon.v1("kills"), number)), importAll()]);
  const longest = performance.now() - begin;
  await empty(daemon, importAll);

  while (report.kills < kills && !signal?.aborted) {
    const api = daemon.v1("kills");
    const others = daemon.v1("kills-import");
    const open = new Set<string>();
    const work = published.map((_, number) =>
      random.chance(0.3)
        ? attempt("removals", () => remove(api, number), open)
        : attempt("pulls", () => pull(api, number), open),
    );
    work.push(attempt("imports", () => new Transfers(others).import(archive), open));
    if (random.chance(0.3)) {
      const collect = async () => {
        for (const name of await imageNames(others)) await others.images.delete({ name, sync: true });
      };
      work.push(attempt("collections", collect, open));
    }
    await sleep(DEPTH * longest * random.next() ** 2);
    for (const kind of open) report.phases[kind] = (report.phases[kind] ?? 0) + 1;
    await daemon.kill();
    report.kills++;
    const killed = performance.now();
    await Promise.all(work);
    for (const fault of await faultsOfRoot(daemon.root, { ofKilled: true })) violation(fault);
    await daemon.start();
    await daemon.v1("kills").images.list();
    report.recoveries.push(performance.now() - killed);
    for (const namespace of ["kills", "kills-import"]) {
      for (const fault of await faultsOfImages(daemon, daemon.v1(namespace), published)) violation(fault);
    }
    if (random.chance(EMPTIED)) await empty(daemon, importAll).catch((error: Error) => violation(error.message));
    progress?.(`${report.kills} kills`);
  }
  // What is wanted now is done, and then all of it goes.
  const api = daemon.v1("kills");
  for (const number of published.keys())
    await pull(api, number).catch((error: Error) => violation(`the last pull of image ${number}: ${error.message}`));
  for (const fault of await faultsOfImages(daemon, api, published)) violation(fault);
  if ((await imageNames(api)).length !== published.length) violation("an image is not there after its pull");
  await empty(daemon, importAll).catch((error: Error) => violation(error.message));
  await daemon.kill();
  for (const fault of await faultsOfRoot(daemon.root)) violation(fault);
  const little = tooLittle(report.work, {
    pulls: Math.floor(report.kills / 10),
    imports: Math.floor(report.kills / 10),
  });
  if (little !== undefined && !signal?.aborted) violation(little);
  return report;
}

/** Images with layers in common, one that depends on what is below it, and an archive of them. */
async function publish(registry: TestRegistry, dir: string, archive: string): Promise<Published[]> {
  const layout = new ImageLayout(dir);
  const common = [await layout.layer(base()), await layout.layer(largeFiles(4 << 20))];
  const published: Published[] = [];
  for (let number = 0; number < IMAGES; number++) {
    const own = [file(`tmp/own-${number}`, `of image ${number}`)];
    const entries = number === 0 ? [...smallFiles(1000), ...own] : own;
    const image = layout.image({ layers: [...common, await layout.layer(entries)] });
    for (const descriptor of [image.config, ...image.layers.map((layer) => layer.descriptor)])
      await registry.pushBlob("kills/image", readFileSync(layout.path(descriptor)));
    const manifest = readFileSync(layout.path(image.manifest));
    await registry.pushManifest("kills/image", `${number}`, image.manifest.mediaType, manifest);
    layout.name(image.manifest, `archive.test/image:${number}`);
    published.push({ image, file: `tmp/own-${number}`, text: `of image ${number}` });
  }
  await layout.archive(archive);
  return published;
}

/** What is wrong with the images of a namespace. */
async function faultsOfImages(daemon: TestDaemon, api: ApiV1, published: readonly Published[]): Promise<string[]> {
  const faults: string[] = [];
  const there = new Set(await contentOf(api));
  for (const name of await imageNames(api)) {
    const { digest } = await targetOf(api, name);
    const found = published.find(({ image }) => image.manifest.digest === digest);
    if (found === undefined) {
      faults.push(`image ${name} is ${digest}, which nobody has made`);
      continue;
    }
    const { image, file, text } = found;
    for (const part of [image.manifest, image.config, ...image.layers.map((layer) => layer.descriptor)])
      if (!there.has(part.digest)) faults.push(`image ${name}: ${part.digest} is not there`);
    const top = image.chainIds.at(-1)!;
    if ((await labelsOf(api, image.config.digest))[`containerd.io/gc.ref.snapshot.${SNAPSHOTTER}`] !== top) continue;
    const read = await lookInto(daemon, api, top, (root) => readFileSync(join(root, file), "utf8")).catch(String);
    if (read !== text) faults.push(`image ${name}: ${file} is ${JSON.stringify(read)}`);
  }
  return faults;
}

/**
 * Removes all that anybody wants; then nothing may be there. A layer file whose snapshot a kill has prevented is kept for a day for the
 * next who wants that layer: it goes with what has used it.
 * @param use imports all layers
 */
async function empty(daemon: TestDaemon, use: () => Promise<unknown>): Promise<void> {
  await removeAll(daemon);
  const left = await leftWithout(daemon, (path) => path.endsWith(".erofs"));
  if (left.length === 0) return;
  await use();
  await removeAll(daemon);
  await leftWithout(daemon, () => false);
}

const namespacesOf = (daemon: TestDaemon) => ["kills", "kills-import"].map((name) => daemon.v1(name));

async function removeAll(daemon: TestDaemon): Promise<void> {
  for (const api of namespacesOf(daemon)) {
    for (const name of await imageNames(api)) await api.images.delete({ name, sync: true });
    for (const { id } of (await api.leases.list()).leases) await api.leases.delete({ id, sync: true });
    // What the last daemon had half made goes at the first use.
    await api.snapshots.prepare({ snapshotter: SNAPSHOTTER, key: "first use" });
    await api.snapshots.remove({ snapshotter: SNAPSHOTTER, key: "first use" });
  }
}

/** Waits until nothing is left but what may be. @returns what is left. @throws Error when there is more */
async function leftWithout(daemon: TestDaemon, mayStay: (path: string) => boolean): Promise<string[]> {
  const leftovers = async () => {
    const left: string[] = [];
    for (const api of namespacesOf(daemon)) {
      left.push(...(await api.listSnapshots(SNAPSHOTTER)).map(({ name }) => `snapshot ${name}`));
      left.push(...(await api.content.listStatuses()).statuses.map(({ ref }) => `ingest ${ref}`));
    }
    for (const directory of ["content/blobs/sha256", "content/ingests", "layers/tmp", "layers", "snapshots"])
      left.push(...readdirSync(join(daemon.root, directory)).map((name) => `${directory}/${name}`));
    left.push(...mountsBelow(daemon.root));
    return left.filter((path) => path !== "layers/tmp");
  };
  let left: string[] = [];
  const isEmpty = async () => {
    left = await leftovers();
    return left.every(mayStay);
  };
  await eventually(isEmpty, { interval: 100 }).catch(() => {
    throw new Error(`left, though nothing needs it: ${left.join(", ")}`);
  });
  return left;
}

/** Images beside Debian's containerd 1.6 and GNU tar: the same images, from the same registry, onto the same disk, in the same run. */
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { ctr1, runCtr1 } from "../test/ctr1/ctr1.js";
import { startContainerd1 } from "../test/harness/containerd1.js";
import { imageOf, putBlob } from "../test/harness/content-blobs.js";
import { type DaemonOptions, startDaemon, type TestDaemon } from "../test/harness/daemon.js";
import { Mounted } from "../test/harness/mounted.js";
import { ctrProgram } from "../test/harness/paths.js";
import { startRegistry, type TestRegistry } from "../test/harness/registry.js";
import {
  base,
  edges,
  file,
  ImageLayout,
  largeFiles,
  smallFiles,
  type TestImage,
  type TestLayer,
} from "../test/harness/test-images.js";
import { Transfers } from "../test/harness/transfer.js";
import { lookInto, SNAPSHOTTER } from "../test/harness/unpacked.js";
import { ApiV1 } from "../test/harness/v1.js";
import { rate } from "./bare-runtime.js";
import { atMost, median, percentile, type Row, row } from "./row.js";

const DEBIANS = "Debian's containerd 1.6";
/** In ms. */
const PATIENT = 600_000;
/** A disk: what it costs to have written all is a part of a pull. */
const DISK = "/var/tmp";
const NAMESPACE = "default";

/** A registry with images, and two daemons on one disk. */
class Stage implements AsyncDisposable {
  readonly dir = mkdtempSync(join(DISK, "ctd-bench-images-"));
  readonly layout = new ImageLayout(join(this.dir, "layout"));
  registry!: TestRegistry;
  ours!: TestDaemon;
  theirs!: TestDaemon;
  #roots = 0;

  async start(): Promise<void> {
    this.registry = await startRegistry();
    const options = (): DaemonOptions => ({ root: join(this.dir, `root${this.#roots++}`) });
    this.ours = await startDaemon({ ...options(), flags: ["--log-level", "error"] });
    this.theirs = await startContainerd1({ ...options(), flags: ["--log-level", "error"] }, true);
  }

  async publish(name: string, layers: readonly TestLayer[]): Promise<TestImage> {
    const image = this.layout.image({ layers });
    const pushed = [image.config, ...layers.map(({ descriptor }) => descriptor)];
    for (const descriptor of pushed) await this.registry.pushBlob(name, readFileSync(this.layout.path(descriptor)));
    const manifest = readFileSync(this.layout.path(image.manifest));
    await this.registry.pushManifest(name, "latest", image.manifest.mediaType, manifest);
    return image;
  }

  reference(name: string): string {
    return `${this.registry.host}/${name}:latest`;
  }

  async pullOurs(name: string): Promise<void> {
    await new Transfers(this.ours.v1(NAMESPACE)).pull(this.reference(name), { timeout: PATIENT });
  }

  async pullTheirs(name: string): Promise<void> {
    await ctr1(this.theirs, "images", "pull", "--plain-http", this.reference(name));
  }

  async removeOurs(...names: string[]): Promise<void> {
    const api = this.ours.v1(NAMESPACE);
    for (const name of names) await api.images.delete({ name: this.reference(name), sync: true }, { timeout: PATIENT });
  }

  async removeTheirs(...names: string[]): Promise<void> {
    await runCtr1(this.theirs, ["images", "rm", "--sync", ...names.map((name) => this.reference(name))]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of [this.ours, this.theirs, this.registry]) await part?.[Symbol.asyncDispose]();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** In ms. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** What is still to be written to the disk is nobody's cost. */
const settle = () => promisify(execFile)("sync");

interface Times {
  ours: number[];
  theirs: number[];
  tar: number[];
  removeOurs: number[];
  removeTheirs: number[];
}

/** Pulls and removes an image some times on both, in turn. */
async function pulls(stage: Stage, name: string, rounds: number, layers?: readonly TestLayer[]): Promise<Times> {
  const times: Times = { ours: [], theirs: [], tar: [], removeOurs: [], removeTheirs: [] };
  for (let round = 0; round < rounds; round++) {
    await settle();
    times.ours.push(await timed(() => stage.pullOurs(name)));
    times.removeOurs.push(await timed(() => stage.removeOurs(name)));
    await settle();
    times.theirs.push(await timed(() => stage.pullTheirs(name)));
    times.removeTheirs.push(await timed(() => stage.removeTheirs(name)));
    if (layers !== undefined) {
      await settle();
      const target = join(stage.dir, "tar");
      // Each into a directory of its own: in one it can't put a file where a directory is.
      const places = layers.map((_, number) => join(target, `${number}`));
      for (const place of places) mkdirSync(place, { recursive: true });
      const extract = (number: number) =>
        promisify(execFile)("tar", ["-xpzf", stage.layout.path(layers[number]!.descriptor), "-C", places[number]!]);
      times.tar.push(
        await timed(async () => {
          for (const number of layers.keys()) await extract(number);
        }),
      );
      rmSync(target, { recursive: true });
    }
  }
  return times;
}

const peer = (values: number[], name = DEBIANS) => ({ name, value: median(values) });

export async function* imageRows(): AsyncIterable<Row> {
  await using stage = new Stage();
  await stage.start();
  yield* large(stage);
  yield* other(stage);
  yield* shared(stage);
  yield* records(stage);
}

async function* large(stage: Stage): AsyncIterable<Row> {
  const { layout } = stage;
  const layers: TestLayer[] = [];
  for (const entries of [base(), smallFiles(), largeFiles(200 << 20), edges()])
    layers.push(await layout.layer(entries));
  const image = await stage.publish("large", layers);
  const bytes = Math.round(layers.reduce((sum, layer) => sum + layer.bytes, 0) / 1e6);
  // The first pull loads what a pull takes, in both.
  await pulls(stage, "large", 1);
  const times = await pulls(stage, "large", 3, layers);
  const name = `pull + unpack, 4 layers, 20,000 files, ${bytes} MB`;
  const ours = median(times.ours);
  yield row({ name, unit: "ms", ours, peer: peer(times.theirs), ...atMost(0.3) });
  yield row({ name, unit: "ms", ours, peer: peer(times.tar, "tar -xpzf of its layers"), ...atMost(0.8) });
  const removal = { name: "images rm --sync of it", unit: "ms", ours: median(times.removeOurs) };
  yield row({ ...removal, peer: peer(times.removeTheirs), ...atMost(0.15) });
  yield* await besides(stage);
  await stage.pullOurs("large");
  await stage.pullTheirs("large");
  yield* await reading(stage, image);
  await stage.removeOurs("large");
  await stage.removeTheirs("large");
}

/** What a pull costs others: memory, and how long another call takes. */
async function besides(stage: Stage): Promise<Row[]> {
  await using daemon = await startDaemon({ root: join(stage.dir, "besides") });
  await using idle = await startDaemon({ root: join(stage.dir, "idle") });
  const api = daemon.v1(NAMESPACE);
  const memory = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))![1]) / 1024;
  await api.version.version();
  const before = memory("VmRSS");
  const delays = { pulling: [] as number[], idle: [] as number[] };
  let isDone = false;
  const pull = new Transfers(api).pull(stage.reference("large"), { timeout: PATIENT }).finally(() => {
    isDone = true;
  });
  while (!isDone) {
    delays.pulling.push(await timed(() => api.version.version()));
    delays.idle.push(await timed(() => idle.v1().version.version()));
  }
  await pull;
  const others = percentile(delays.idle, 99);
  return [
    row({
      name: "daemon's peak RSS while it pulls, above that before",
      unit: "MB",
      ours: memory("VmHWM") - before,
      aim: "<= 100",
      met: (ours) => ours <= 100,
    }),
    row({
      name: "another call while it pulls, p99",
      unit: "ms",
      ours: percentile(delays.pulling, 99),
      peer: { name: "of a daemon that does nothing, meanwhile", value: others },
      aim: "<= 20 ms more",
      met: (ours) => ours - others <= 20,
    }),
  ];
}

async function reading(stage: Stage, image: TestImage): Promise<Row[]> {
  const top = image.chainIds.at(-1)!;
  const readAll = (directory: string) => {
    const start = performance.now();
    execFileSync("sh", ["-c", 'find "$1" -type f -print0 | xargs -0 cat >/dev/null', "sh", directory]);
    return performance.now() - start;
  };
  const readAnew = (daemon: TestDaemon, isCold: boolean) =>
    lookInto(daemon, daemon.v1(NAMESPACE), top, (directory) => {
      if (isCold) {
        execFileSync("sync");
        writeFileSync("/proc/sys/vm/drop_caches", "3");
      }
      return readAll(directory);
    });
  const line = (how: string, ours: number[], theirs: number[]) =>
    row({
      name: `all files of it read, ${how}`,
      unit: "1/s",
      ours: 1000 / median(ours),
      peer: { name: "directories of Debian's containerd", value: 1000 / median(theirs) },
      aim: "ratio >= 0.95",
      met: (_, ratio) => ratio >= 0.95,
    });
  const rows: Row[] = [];
  // Nothing else of the image is mounted: the first container of it that reads, whether the disk's files are in memory or not.
  for (const isCold of [true, false]) {
    const [ours, theirs]: number[][] = [[], []];
    for (let round = 0; round < 3; round++) {
      ours!.push(await readAnew(stage.ours, isCold));
      theirs!.push(await readAnew(stage.theirs, isCold));
    }
    rows.push(line(isCold ? "cold" : "its first container, warm disk", ours!, theirs!));
  }
  // A container that has read them before, or another one of the image.
  const [ours, theirs]: number[][] = [[], []];
  await lookInto(stage.ours, stage.ours.v1(NAMESPACE), top, (own) =>
    lookInto(stage.theirs, stage.theirs.v1(NAMESPACE), top, (other) => {
      for (const directory of [own, other]) readAll(directory);
      for (let round = 0; round < 5; round++) {
        ours!.push(readAll(own));
        theirs!.push(readAll(other));
      }
    }),
  );
  rows.push(line("warm", ours!, theirs!));
  return rows;
}

/** `images ls` of 1,000 names of an image that is there, the whole process, beside one that asks for next to nothing. */
async function listed(stage: Stage, name: string): Promise<Row[]> {
  const api = stage.ours.v1(NAMESPACE);
  const { image } = await api.images.get({ name: stage.reference(name) });
  const names = Array.from({ length: 1000 }, (_, n) => `bench.test/image:${n}`);
  await rate(names.length, 8, (n) => api.images.create({ image: { ...image!, name: names[n]! } }));
  const run = (...args: string[]) =>
    timed(() => promisify(execFile)(process.execPath, [ctrProgram, "--address", stage.ours.listen, ...args]));
  const times = { list: [] as number[], version: [] as number[] };
  for (let n = 0; n < 10; n++) {
    times.list.push(await run("images", "ls"));
    times.version.push(await run("version"));
  }
  for (const name of names) await api.images.delete({ name });
  return [
    row({
      name: "ctr images ls of 1,000 names, whole process",
      unit: "ms",
      ours: median(times.list),
      peer: peer(times.version, "ctr version"),
      ...atMost(2),
    }),
  ];
}

/** Images of one kind of files. */
async function* other(stage: Stage): AsyncIterable<Row> {
  for (const [name, title, entries, most] of [
    ["few", "pull + unpack, one layer, 1 GB in 4 files", () => largeFiles(1 << 30), 0.5],
    ["many", "pull + unpack, one layer, 100,000 files", () => smallFiles(100_000), 0.2],
  ] as const) {
    await stage.publish(name, [await stage.layout.layer(entries())]);
    const times = await pulls(stage, name, 2);
    yield row({ name: title, unit: "ms", ours: median(times.ours), peer: peer(times.theirs), ...atMost(most) });
  }
}

/** Twenty images at once, with layers that all of them have, and of ten layers one. */
async function* shared(stage: Stage): AsyncIterable<Row> {
  const { layout } = stage;
  const common = [await layout.layer(base()), await layout.layer(smallFiles(5_000))];
  const names = Array.from({ length: 20 }, (_, n) => `shared-${n}`);
  for (const name of names) await stage.publish(name, [...common, await layout.layer([file(`tmp/${name}`, name)])]);
  const [ours, theirs]: number[][] = [[], []];
  for (let round = 0; round < 2; round++) {
    await settle();
    ours!.push(await timed(() => Promise.all(names.map((name) => stage.pullOurs(name)))));
    await stage.removeOurs(...names);
    await settle();
    theirs!.push(await timed(() => Promise.all(names.map((name) => stage.pullTheirs(name)))));
    await stage.removeTheirs(...names);
  }
  const name = "20 images that share layers, pulled at once";
  yield row({ name, unit: "ms", ours: median(ours!), peer: peer(theirs!), ...atMost(0.4) });

  const layers = [...common];
  while (layers.length < 10) layers.push(await layout.layer([file(`tmp/${layers.length}`, "x")]));
  const image = await stage.publish("ten", layers);
  await stage.pullOurs("ten");
  await stage.pullTheirs("ten");
  const prepared = async (daemon: TestDaemon, n: number) => {
    const api = daemon.v1(NAMESPACE);
    const key = `bench-${n}`;
    // containerd collects what nothing needs whenever it likes.
    const labels = { "containerd.io/gc.root": "bench" };
    const parent = image.chainIds.at(-1)!;
    const start = performance.now();
    const { mounts } = await api.snapshots.prepare({ snapshotter: SNAPSHOTTER, key, parent, labels });
    const took = performance.now() - start;
    // What is told can be mounted; mount(8) is a process, which would be most of the time.
    new Mounted(daemon.dir, mounts)[Symbol.dispose]();
    await api.snapshots.remove({ snapshotter: SNAPSHOTTER, key });
    return took;
  };
  const took = { ours: [] as number[], theirs: [] as number[] };
  for (let n = 0; n < 30; n++) {
    took.ours.push(await prepared(stage.ours, n));
    took.theirs.push(await prepared(stage.theirs, n));
  }
  const ours10 = median(took.ours);
  const title = "Snapshots.Prepare on 10 layers";
  yield row({ name: title, unit: "ms", ours: ours10, peer: peer(took.theirs), aim: "<= 3", met: (ours) => ours <= 3 });
  yield* await listed(stage, "ten");
  await stage.removeOurs("ten");
  await stage.removeTheirs("ten");
}

/** Many records. */
async function* records(stage: Stage): AsyncIterable<Row> {
  const [ours, theirs] = [stage.ours.v1("records"), stage.theirs.v1("records")];
  const times: Record<"ours" | "theirs", number[]> = { ours: [], theirs: [] };
  for (const [name, api] of Object.entries({ ours, theirs }) as ["ours" | "theirs", ApiV1][]) {
    const lease = "bench";
    await api.leases.create({ id: lease });
    const digest = await putBlob(api, "{}", { lease });
    await rate(1000, 8, (n) => api.images.create({ image: imageOf(`bench.test/image:${n}`, digest) }, { lease }));
    for (let n = 0; n < 10; n++) times[name].push(await timed(() => api.images.list()));
    for (const { name: image } of (await api.images.list()).images) await api.images.delete({ name: image });
    await api.leases.delete({ id: lease, sync: true });
  }
  const listed = { name: "Images.List of 1,000", unit: "ms", ours: median(times.ours), peer: peer(times.theirs) };
  yield row({ ...listed, aim: "<= 30", met: (value) => value <= 30 });

  await ours.leases.create({ id: "blobs" });
  // Each write ends as a cancelled stream: HTTP/2 servers close a connection that has a thousand of these in a moment.
  const connections = Array.from({ length: 20 }, () => new ApiV1(stage.ours.address, "records"));
  await rate(10_000, 16, async (n) => {
    await putBlob(connections[n % connections.length]!, `blob ${n}`, { lease: "blobs" });
  });
  for (const connection of connections) connection.close();
  const delays: number[] = [];
  let isDone = false;
  const collection = timed(() => ours.leases.delete({ id: "blobs", sync: true }, { timeout: PATIENT })).finally(() => {
    isDone = true;
  });
  while (!isDone) delays.push(await timed(() => ours.version.version()));
  yield row({
    name: "collection of 10,000 blobs",
    unit: "ms",
    ours: await collection,
    aim: "<= 1000",
    met: (value) => value <= 1000,
  });
  yield row({
    name: "another call meanwhile, p99",
    unit: "ms",
    ours: percentile(delays, 99),
    aim: "<= 10",
    met: (value) => value <= 10,
  });
}

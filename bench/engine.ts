import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { connect, type SandboxOptions } from "../src/client/index.js";
import { CreateRequest } from "../src/proto/containerdts/engine/v1/engine.js";
import { startContainerd1 } from "../test/harness/containerd1.js";
import type { TestDaemon } from "../test/harness/daemon.js";
import { type Config, IMAGE, importImage, NO_STDIO, newId, requestFor, texts } from "../test/harness/engine.js";
import { statOf } from "../test/harness/processes.js";
import { sharedRootfs } from "../test/harness/rootfs.js";
import type { ApiV1 } from "../test/harness/v1.js";
import { eventually } from "../test/harness/wait.js";
import { BareRuntime, rate } from "./bare-runtime.js";
import { memoryOf } from "./fleet.js";
import { atMost, median, type Row, row } from "./row.js";

const WARM_UP = 5;
const ROUNDS = 40;
const STOPPED = 1_000;

/** Containers of the engine beside the runtime alone, by turns; and what many of them take, by a daemon that has done nothing else. */
export async function* engineRows(containers: number): AsyncIterable<Row> {
  yield* besideTheRuntime();
  await using daemon = await startContainerd1({ flags: ["--log-level", "error"] });
  await importImage(daemon);
  yield await memory(daemon, daemon.v1("default"), containers);
}

async function* besideTheRuntime(): AsyncIterable<Row> {
  await using daemon = await startContainerd1({ flags: ["--log-level", "error"] });
  // Roots of user namespaces are nobody on the host, and have to get there.
  for (const directory of [daemon.dir, dirname(sharedRootfs())]) chmodSync(directory, 0o711);
  const api = daemon.v1("default");
  await importImage(daemon);
  yield await runs(daemon, api, "run, wait, remove", {}, 1.15);
  yield await runs(daemon, api, "run, wait, remove with a user namespace", { userns: "auto" }, 1.1);
  yield await execs(daemon, api);
  yield await forks(daemon, api);
  yield await acquires(daemon, api, "acquire", {});
  yield await acquires(daemon, api, "acquire of a frozen program", {
    args: ["sh", "-c", "echo up; exec sleep 100000"],
    ready: "up\n",
  });
  yield* await logs(daemon, api);
}

/** What one container prints in lines of 100 bytes, until all of it is in its log; and its shim meanwhile. */
async function logs(daemon: TestDaemon, api: ApiV1): Promise<Row[]> {
  const megabytes = 500;
  const id = newId(daemon);
  const script = `read -r _; yes ${"x".repeat(99)} | head -c ${megabytes}000000`;
  const create = requestFor({ id, config: { args: texts("sh", "-c", script), openStdin: true } });
  await api.engine.run({ create, stdio: NO_STDIO });
  const { pid } = await api.engine.get({ id });
  const shim = Number(statOf(pid).field(4));
  await using client = connect(daemon.listen);
  const starting = await (await client.containers.get(id)).attach({ stdin: true });
  const began = performance.now();
  starting.stdin.write("go\n");
  let largest = 0;
  const watching = setInterval(() => {
    largest = Math.max(largest, privateMemory(shim));
  }, 50);
  // Nobody follows it: an attachment that is not read keeps a file open, and no more.
  await api.engine.wait({ id });
  const seconds = (performance.now() - began) / 1000;
  clearInterval(watching);
  starting.detach();
  await api.engine.remove({ id });
  return [
    row({
      name: "engine: a container's lines of 100 bytes, into its log",
      unit: "MB/s",
      ours: megabytes / seconds,
      aim: ">= 150",
      met: (ours) => ours >= 150,
    }),
    row({
      name: "engine: private memory of its shim meanwhile",
      unit: "MB",
      ours: largest,
      aim: "<= 0.35",
      met: (ours) => ours <= 0.35,
    }),
  ];
}

/** In MB; 0 once it has ended. */
function privateMemory(pid: number): number {
  try {
    return memoryOf(pid).private;
  } catch {
    return 0;
  }
}

interface Mount {
  destination: string;
  source: string;
}

/** A bundle of the same specification as that of a container of the engine, on a directory that is there. */
export async function bundleOf(daemon: TestDaemon, api: ApiV1, config: Config, args: string[]): Promise<string> {
  const id = newId(daemon);
  const sleeping = { ...config, args: texts("sleep", "100000") };
  await api.engine.run({ create: requestFor({ id, config: sleeping }), stdio: NO_STDIO });
  const bundle = mkdtempSync(join(daemon.dir, "bare-"));
  const { container } = await api.containers.get({ id });
  const spec = JSON.parse(container!.spec!.value.toString("utf8"));
  spec.root.path = sharedRootfs();
  spec.process.args = args;
  for (const mount of spec.mounts as Mount[]) {
    if (!mount.source.startsWith(daemon.dir)) continue;
    const copy = join(bundle, basename(mount.source));
    copyFileSync(mount.source, copy);
    mount.source = copy;
  }
  writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
  chmodSync(bundle, 0o755);
  await api.engine.remove({ id, force: true });
  return bundle;
}

async function runs(daemon: TestDaemon, api: ApiV1, name: string, wanted: Config, aim: number): Promise<Row> {
  const runtime = new BareRuntime("runc");
  const config = { network: "none", args: texts("true"), ...wanted };
  const bundle = await bundleOf(daemon, api, config, ["true"]);
  const [ours, bare]: [number[], number[]] = [[], []];
  for (let n = 0; n < WARM_UP + ROUNDS; n++) {
    const peer = newId(daemon);
    let began = performance.now();
    await runtime.createAndStart(peer, bundle, join(bundle, "pid"));
    await runtime.delete(peer);
    bare.push(performance.now() - began);
    const id = newId(daemon);
    began = performance.now();
    await api.engine.run({ create: requestFor({ id, config, owned: true }), stdio: NO_STDIO });
    await api.engine.wait({ id });
    await api.engine.remove({ id });
    ours.push(performance.now() - began);
  }
  rmSync(bundle, { recursive: true });
  return compared(name, ours, bare, "runc create + start + delete", aim);
}

/** Each is waited for until the pool has it, so that none is made while a time is taken. */
async function acquires(daemon: TestDaemon, api: ApiV1, name: string, options: Partial<SandboxOptions>): Promise<Row> {
  const runtime = new BareRuntime("runc");
  const bundle = await bundleOf(daemon, api, { network: "none" }, ["sleep", "100000"]);
  await using client = connect(daemon.listen);
  await using pool = await client.sandboxes.pool({
    image: IMAGE,
    pull: "never",
    size: 1,
    stdioDir: daemon.dir,
    ...options,
  });
  const [ours, bare]: [number[], number[]] = [[], []];
  for (let n = 0; n < WARM_UP + ROUNDS; n++) {
    const peer = newId(daemon);
    let began = performance.now();
    await runtime.createAndStart(peer, bundle, join(bundle, "pid"));
    bare.push(performance.now() - began);
    await runtime.delete(peer);
    await eventually(() => pool.ready === 1);
    began = performance.now();
    const sandbox = await pool.acquire();
    ours.push(performance.now() - began);
    await sandbox.remove();
    await eventually(() => pool.ready === 1);
  }
  rmSync(bundle, { recursive: true });
  return compared(name, ours, bare, "runc create + start", 0.15);
}

async function execs(daemon: TestDaemon, api: ApiV1): Promise<Row> {
  const runtime = new BareRuntime("runc");
  const id = newId(daemon);
  await api.engine.run({ create: requestFor({ id, config: { args: texts("sleep", "100000") } }), stdio: NO_STDIO });
  const peer = newId(daemon);
  const bundle = await bundleOf(daemon, api, {}, ["sleep", "100000"]);
  await runtime.createAndStart(peer, bundle, join(bundle, "pid"));
  const [ours, bare]: [number[], number[]] = [[], []];
  try {
    for (let n = 0; n < WARM_UP + ROUNDS; n++) {
      let began = performance.now();
      await runtime.run("exec", peer, "true");
      bare.push(performance.now() - began);
      const execId = `e${n}`;
      began = performance.now();
      await api.engine.exec({ id, execId, args: ["true"], stdio: NO_STDIO });
      await api.engine.wait({ id, execId });
      await api.engine.deleteExec({ id, execId });
      ours.push(performance.now() - began);
    }
  } finally {
    await runtime.delete(peer);
    await api.engine.remove({ id, force: true });
  }
  return compared("exec, wait, delete", ours, bare, "runc exec", 1.2);
}

/** Of a container that runs, with 1 MB in 100 files of its own. */
async function forks(daemon: TestDaemon, api: ApiV1): Promise<Row> {
  const runtime = new BareRuntime("runc");
  const config = { args: texts("sleep", "100000"), writable: true };
  const source = newId(daemon);
  const { pid } = await api.engine.run({ create: requestFor({ id: source, config }), stdio: NO_STDIO });
  const directory = `/proc/${pid}/root/srv/state`;
  mkdirSync(directory, { recursive: true });
  for (let n = 0; n < 100; n++) writeFileSync(join(directory, `${n}`), randomBytes(10_000));
  const bundle = await bundleOf(daemon, api, config, ["sleep", "100000"]);
  const [bare, forked]: [number[], number[]] = [[], []];
  for (let n = 0; n < WARM_UP + ROUNDS; n++) {
    const peer = newId(daemon);
    let began = performance.now();
    await runtime.createAndStart(peer, bundle, join(bundle, "pid"));
    bare.push(performance.now() - began);
    await runtime.delete(peer);
    const id = newId(daemon);
    began = performance.now();
    await api.engine.fork({ id: source, create: CreateRequest.fromPartial({ id, owned: true }), run: NO_STDIO });
    forked.push(performance.now() - began);
    await api.engine.remove({ id, force: true });
  }
  await api.engine.remove({ id: source, force: true });
  rmSync(bundle, { recursive: true });
  return compared("fork, start", forked, bare, "runc create + start", 1.3);
}

async function memory(daemon: TestDaemon, api: ApiV1, containers: number): Promise<Row> {
  const config = { args: texts("sleep", "100000") };
  const ids: string[] = [];
  const one = async (wanted: Config) => {
    const id = newId(daemon);
    ids.push(id);
    await api.engine.run({ create: requestFor({ id, config: wanted }), stdio: NO_STDIO }, { timeout: 300_000 });
    return id;
  };
  try {
    await rate(STOPPED, 10, async () => api.engine.wait({ id: await one({ args: texts("true") }) }));
    await rate(containers, 10, () => one(config));
    return row({
      name: `engine: memory with ${STOPPED} stopped and ${containers} running ones`,
      unit: "MB",
      ours: memoryOf(daemon.pid!).rss,
      aim: "<= 120",
      met: (ours) => ours <= 120,
    });
  } finally {
    await rate(ids.length, 10, (n) => api.engine.remove({ id: ids[n]!, force: true }, { timeout: 300_000 }));
  }
}

/** @param bare of the runtime alone, as {@link peer} says */
function compared(name: string, ours: number[], bare: number[], peer: string, most: number): Row {
  for (const times of [ours, bare]) times.splice(0, WARM_UP);
  return row({
    name: `engine: ${name}`,
    unit: "ms",
    ours: median(ours),
    peer: { name: peer, value: median(bare) },
    ...atMost(most),
  });
}

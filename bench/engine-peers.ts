/**
 * The engine, as a program drives it with the client library, beside Docker 20.10 with containerd 1.6 and dockerode, and beside podman: the
 * same images, in turns on the same machine.
 */
import { once } from "node:events";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type Pack, pack } from "tar-stream";
import type { Container } from "../src/client/index.js";
import { spawnerCommand } from "../test/harness/leftovers.js";
import { processes } from "../test/harness/processes.js";
import { rate } from "./bare-runtime.js";
import type { DockerodeContainer } from "./dockerode.js";
import {
  BUSYBOX,
  created,
  DOCKERODE,
  inTurns,
  LONG_ROUNDS,
  LONG_SETTLE,
  PODMAN,
  PODMAN_API,
  PYTHON,
  rateRow,
  rowsOf,
  runOurs,
  runTheirs,
  Stage,
  WARM_UP,
} from "./engine-stage.js";
import { memoryOf } from "./fleet.js";
import type { PodmanHost } from "./podman-host.js";
import { atMost, type Row, row } from "./row.js";

const PROGRAM = ["python3", "-c", "print(sum(range(1000)))"];
const SLEEP = ["sleep", "100000"];

const AT_ONCE = 50;
const FILES = 1_000;
/** In MB. */
const LOGGED = 200;
const RUNNING = 100;
/** In ms: until a daemon has nothing more to do of what it has just been asked for. */
const REST = 10_000;

/** @param rounds how often each is measured, at least 3 */
export async function* enginePeerRows(rounds: number): AsyncIterable<Row> {
  await using stage = new Stage();
  await stage.start();
  yield* await runs(stage, rounds);
  yield await manyAtOnce(stage, Math.min(LONG_ROUNDS, rounds), "busybox", BUSYBOX, ["true"]);
  yield await manyAtOnce(stage, Math.min(LONG_ROUNDS, rounds), "Python", PYTHON, PROGRAM);
  yield* await inContainers(stage, rounds);
  yield await logs(stage, Math.min(LONG_ROUNDS, rounds));
  yield* await memory(stage);
}

/** Arguments of podman's. */
const bare = (podman: PodmanHost) => ["--network", "none", "--cgroup-parent", podman.cgroup];

async function runs(stage: Stage, rounds: number): Promise<Row[]> {
  const { podman } = stage;
  const times = await inTurns(
    {
      ours: () => runOurs(stage, BUSYBOX, ["true"]),
      [DOCKERODE]: () => runTheirs(stage.dockerode, BUSYBOX, ["true"]),
      [PODMAN]: () => podman.podman("run", "--rm", "--pull=never", ...bare(podman), BUSYBOX, "true"),
      [PODMAN_API]: () => runTheirs(stage.podmanApi, BUSYBOX, ["true"], { CgroupParent: podman.cgroup }),
    },
    rounds,
  );
  return rowsOf("client.run of true", times, { [DOCKERODE]: 0.25, [PODMAN]: 0.5, [PODMAN_API]: 0.5 });
}

async function manyAtOnce(stage: Stage, rounds: number, name: string, image: string, args: string[]): Promise<Row> {
  const many = (one: () => Promise<void>) => () => Promise.all(Array.from({ length: AT_ONCE }, one));
  const contenders = {
    ours: many(() => runOurs(stage, image, args)),
    [DOCKERODE]: many(() => runTheirs(stage.dockerode, image, args)),
  };
  const times = await inTurns(contenders, rounds, 1, LONG_SETTLE);
  return rowsOf(`client.run, ${AT_ONCE} of ${name} at once`, times, { [DOCKERODE]: 0.2 })[0]!;
}

/** A container of each that runs, and what is done in it. */
async function inContainers(stage: Stage, rounds: number): Promise<Row[]> {
  const { client, podman } = stage;
  const ours = await client.containers.start({ image: BUSYBOX, args: SLEEP, network: "none", pull: "never" });
  const dockers = await created(stage.dockerode, BUSYBOX, SLEEP);
  await dockers.start();
  const podmans = await created(stage.podmanApi, BUSYBOX, SLEEP, { CgroupParent: podman.cgroup });
  await podmans.start();
  const execs = await inTurns(
    {
      ours: async () => expectStatus((await ours.exec(["true"])).status),
      [DOCKERODE]: () => execTheirs(dockers),
      [PODMAN]: () => podman.podman("exec", podmans.id, "true"),
      [PODMAN_API]: () => execTheirs(podmans),
    },
    rounds,
  );
  const files = filesOf(FILES);
  const directories = Array.from({ length: WARM_UP + rounds }, (_, n) => `/put${n}`);
  const mkdir = ["mkdir", ...directories];
  await Promise.all([ours.exec(mkdir), execTheirs(dockers, mkdir)]);
  const next = { ours: directories.values(), theirs: directories.values() };
  const puts = await inTurns(
    {
      ours: () => ours.putFiles(next.ours.next().value!, files),
      [DOCKERODE]: () => dockers.putArchive(packed(files), { path: next.theirs.next().value! }),
    },
    rounds,
  );
  const gets = await inTurns(
    {
      ours: async () => await drained(await ours.getFiles(directories[0]!)),
      [DOCKERODE]: async () => await drained(await dockers.getArchive({ path: directories[0]! })),
    },
    rounds,
  );
  await Promise.all([ours.remove({ force: true }), dockers.remove({ force: true }), podmans.remove({ force: true })]);
  return [
    ...rowsOf("container.exec of true", execs, { [DOCKERODE]: 0.8, [PODMAN]: 0.6, [PODMAN_API]: 1.5 }),
    ...rowsOf(`container.putFiles of ${FILES} files`, puts, { [DOCKERODE]: 0.3 }),
    ...rowsOf(`container.getFiles of ${FILES} files`, gets, { [DOCKERODE]: 0.8 }),
  ];
}

function expectStatus(status: number | null): void {
  if (status !== 0) throw new Error(`an exec ended with ${status}`);
}

async function execTheirs(container: DockerodeContainer, args = ["true"]): Promise<void> {
  const exec = await container.exec({ Cmd: args, AttachStdout: true, AttachStderr: true });
  const output = await exec.start({});
  output.resume();
  await once(output, "end");
  expectStatus((await exec.inspect()).ExitCode);
}

/** So many files of a kilobyte. */
function filesOf(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`f${n}.txt`, `${n} `.repeat(400).slice(0, 1024)]));
}

function packed(files: Record<string, string>): Pack {
  const archive = pack();
  for (const [name, data] of Object.entries(files)) archive.entry({ name }, data);
  archive.finalize();
  return archive;
}

/** Reads an archive to its end. */
async function drained(archive: Readable): Promise<void> {
  let size = 0;
  for await (const piece of archive) size += (piece as Buffer).length;
  if (size < FILES * 1024) throw new Error(`an archive of ${FILES} files has ${size} bytes`);
}

/** What one container prints in lines of 100 bytes, from when it is told to begin until it has ended and all is in its log. */
async function logs({ client, dockerode }: Stage, rounds: number): Promise<Row> {
  const script = `read -r _; yes ${"x".repeat(99)} | head -c ${LOGGED}000000`;
  const args = ["sh", "-c", script];
  const ours = async () => {
    const container = await client.containers.start({
      image: BUSYBOX,
      args,
      openStdin: true,
      network: "none",
      pull: "never",
    });
    const attachment = await container.attach({ stdin: true });
    const began = performance.now();
    attachment.stdin.write("go\n");
    expectStatus((await container.wait()).status);
    const took = performance.now() - began;
    attachment.detach();
    await container.remove();
    return took;
  };
  const theirs = async () => {
    const container = await dockerode.createContainer({
      ...{ Image: BUSYBOX, Cmd: args, OpenStdin: true, StdinOnce: true },
      HostConfig: { NetworkMode: "none" },
    });
    const stdin = await container.attach({ stream: true, stdin: true, hijack: true });
    await container.start();
    const began = performance.now();
    stdin.write("go\n");
    expectStatus((await container.wait()).StatusCode);
    const took = performance.now() - began;
    stdin.destroy();
    await container.remove();
    return took;
  };
  const times = await inTurns({ ours, [`${DOCKERODE}, json-file`]: theirs }, rounds, 1, LONG_SETTLE);
  return rateRow("a container's lines of 100 bytes, into its log", "MB/s", LOGGED, times, 1.5);
}

/** What many that run cost: of the daemons together, and of each container. */
async function memory({ daemon, client, docker, dockerode }: Stage): Promise<Row[]> {
  const ours: Container[] = [];
  const theirs: DockerodeContainer[] = [];
  try {
    await rate(RUNNING, 10, async () => {
      ours.push(await client.containers.start({ image: BUSYBOX, args: SLEEP, network: "none", pull: "never" }));
    });
    await rate(RUNNING, 10, async () => {
      const container = await created(dockerode, BUSYBOX, SLEEP);
      theirs.push(container);
      await container.start();
    });
    await delay(REST);
    const all = processes();
    const pidsOf = (...words: string[]) =>
      all.filter(({ command }) => words.every((word) => command.includes(word))).map(({ pid }) => pid);
    const spawners = all.filter(({ parent, command }) => parent === daemon.pid && command === spawnerCommand);
    const shims = all.filter(
      ({ command, directory }) => command.startsWith("containerd-shim ") && directory.startsWith(`${daemon.runDir}/`),
    );
    const daemons = [daemon.pid, ...spawners.map(({ pid }) => pid)];
    const theirDaemons = [docker.containerd.pid, ...pidsOf("/sbin/dockerd ", `--data-root=${docker.dir}/`)];
    const theirShims = pidsOf("containerd-shim-runc-v2", docker.containerd.dir);
    for (const [what, { length }, expected] of [
      ["our shims", shims, RUNNING],
      ["Docker's daemons", theirDaemons, 2],
      ["Docker's shims", theirShims, RUNNING],
    ] as const) {
      if (length !== expected) throw new Error(`there are ${length} of ${what}, not ${expected}`);
    }
    const sum = (pids: number[], kind: "rss" | "pss") => pids.reduce((total, pid) => total + memoryOf(pid)[kind], 0);
    const each = (pids: number[]) => sum(pids, "pss") / RUNNING;
    return [
      row({
        name: `memory of the daemons with ${RUNNING} running: RSS`,
        unit: "MB",
        ours: sum(daemons, "rss"),
        peer: { name: "dockerd 20.10 + containerd 1.6", value: sum(theirDaemons, "rss") },
        ...atMost(0.6),
      }),
      row({
        name: "memory of each running container: PSS of its shim",
        unit: "MB",
        ours: each(shims.map(({ pid }) => pid)),
        peer: { name: "containerd 1.6's shim", value: each(theirShims) },
        ...atMost(0.15),
      }),
    ];
  } finally {
    await rate(ours.length, 10, (n) => ours[n]!.remove({ force: true }));
    await rate(theirs.length, 10, (n) => theirs[n]!.remove({ force: true }));
  }
}

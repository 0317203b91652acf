import { setTimeout as delay } from "node:timers/promises";
import { startContainerd1 } from "../test/harness/containerd1.js";
import type { TestDaemon } from "../test/harness/daemon.js";
import { hasDocker, image, startDockerHost } from "../test/harness/docker-host.js";
import { processes } from "../test/harness/processes.js";
import { createContainer, removeContainer } from "../test/harness/task.js";
import type { ApiV1 } from "../test/harness/v1.js";
import { BareRuntime, rate } from "./bare-runtime.js";
import { memoryOf } from "./fleet.js";
import { atMost, mean, median, type Row, row } from "./row.js";

/** In ms: for what the kernel does in the background once containers have gone. */
const SETTLE = 3_000;
/** In ms: V8 collects the garbage of a burst some seconds after it. */
const REST = 20_000;
const DEBIANS = "Debian's containerd 1.6";
/** How many tasks the peer's shims are measured with: what they share, they share by then. */
const PEERS = 20;

/** A containerd, and the tasks that a measurement runs on it, over containerd 1.x's API. */
class Supervisor implements AsyncDisposable {
  readonly #ids: string[] = [];
  #made = 0;

  private constructor(
    readonly daemon: TestDaemon,
    readonly isDebians: boolean,
  ) {}

  static async launch(isDebians: boolean): Promise<Supervisor> {
    return new Supervisor(await startContainerd1({ flags: ["--log-level", "error"] }, isDebians), isDebians);
  }

  get api(): ApiV1 {
    return this.daemon.v1("bench");
  }

  /** Makes containers, then runs a task of each, so many at a time. Returns tasks per second. */
  async run(count: number, atATime: number): Promise<number> {
    const { api, daemon } = this;
    const ids: string[] = [];
    for (let n = 0; n < count; n++) {
      ids.push(await createContainer(daemon, api, { name: `v${this.#made++}`, args: ["sleep", "100000"] }));
    }
    this.#ids.push(...ids);
    return await rate(count, atATime, async (n) => {
      const containerId = ids[n]!;
      await api.tasks.create({ containerId }, { timeout: 300_000 });
      await api.tasks.start({ containerId }, { timeout: 300_000 });
    });
  }

  async removeAll(): Promise<void> {
    const ids = this.#ids.splice(0);
    await rate(ids.length, 4, (n) => removeContainer(this.api, ids[n]!));
  }

  shims(): number[] {
    const isShim = this.isDebians
      ? ({ command }: { command: string }) =>
          command.includes("containerd-shim-runc-v2") && command.includes(this.daemon.dir)
      : ({ command, directory }: { command: string; directory: string }) =>
          command.startsWith("containerd-shim ") && directory.startsWith(`${this.daemon.runDir}/`);
    return processes()
      .filter(isShim)
      .map(({ pid }) => pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.daemon.running) await this.removeAll();
    await this.daemon[Symbol.asyncDispose]();
  }
}

/** Tasks over containerd 1.x's API, beside Debian's containerd 1.6 and the bare runtime. */
export async function* v1Rows(containers: number): AsyncIterable<Row> {
  yield* await starts();
  yield* fleet(containers);
  yield* await docker();
}

async function starts(): Promise<Row[]> {
  await using ours = await Supervisor.launch(false);
  await using theirs = await Supervisor.launch(true);
  const runtime = new BareRuntime("runc");
  const bundle = ours.daemon.bundle("sleep", { args: ["sleep", "100000"] });
  const [size, rounds, atATime] = [100, 3, 10];
  const rates = { ours: [] as number[], theirs: [] as number[], bare: [] as number[] };
  for (const each of [ours, theirs]) {
    await each.run(20, atATime);
    await each.removeAll();
  }
  for (let round = 0; round < rounds; round++) {
    const ids = Array.from({ length: size }, (_, n) => ours.daemon.id(`bare${round}-${n}`));
    const start = (n: number) => runtime.createAndStart(ids[n]!, bundle, `${ours.daemon.dir}/${n}.pid`);
    try {
      rates.bare.push(await rate(size, atATime, start));
    } finally {
      await rate(size, 4, (n) => runtime.delete(ids[n]!).catch(() => {}));
    }
    for (const [name, supervisor] of [["ours", ours] as const, ["theirs", theirs] as const]) {
      await delay(SETTLE);
      rates[name].push(await supervisor.run(size, atATime));
      await supervisor.removeAll();
    }
    await delay(SETTLE);
  }
  const measured = {
    name: `tasks/s, ${size} Create+Start, ${atATime} at a time`,
    unit: "1/s",
    ours: median(rates.ours),
  };
  return [
    row({
      ...measured,
      peer: { name: DEBIANS, value: median(rates.theirs) },
      aim: "ratio >= 2",
      met: (_, ratio) => ratio >= 2,
    }),
    row({
      ...measured,
      peer: { name: "runc create+start, 10 at a time", value: median(rates.bare) },
      aim: "ratio >= 0.97",
      met: (_, ratio) => ratio >= 0.97,
    }),
  ];
}

const pssOf = (supervisor: Supervisor) => mean(supervisor.shims().map((pid) => memoryOf(pid).pss));

async function peersPss(): Promise<number> {
  await using theirs = await Supervisor.launch(true);
  await theirs.run(PEERS, 10);
  return pssOf(theirs);
}

/** What so many running tasks cost. */
async function* fleet(containers: number): AsyncIterable<Row> {
  await using ours = await Supervisor.launch(false);
  const { daemon } = ours;
  await ours.run(containers, 10);
  yield row({
    name: "memory of a running task: PSS of its shim",
    unit: "MB",
    ours: pssOf(ours),
    peer: { name: `shim of ${DEBIANS}`, value: await peersPss() },
    ...atMost(0.15),
  });
  await delay(REST);
  yield row({
    name: `daemon RSS with ${containers} containers and their tasks`,
    unit: "MB",
    ours: memoryOf(daemon.pid).rss,
    aim: "<= 110",
    met: (value) => value <= 110,
  });
  const lists = { Tasks: () => ours.api.tasks.list(), Containers: () => ours.api.containers.list() };
  for (const [name, list] of Object.entries(lists)) {
    const times: number[] = [];
    for (let n = 0; n < 20; n++) times.push(await timeOf(list));
    yield row({
      name: `${name}.List of ${containers}`,
      unit: "ms",
      ours: median(times),
      aim: "<= 15",
      met: (value) => value <= 15,
    });
  }
  const restarts: number[] = [];
  for (let n = 0; n < 3; n++) {
    await daemon.kill();
    restarts.push(
      await timeOf(async () => {
        await daemon.start();
        await ours.api.tasks.list();
      }),
    );
  }
  yield row({
    name: `daemon start until Tasks.List answers, ${containers} tasks`,
    unit: "ms",
    ours: median(restarts),
    aim: "<= 1000",
    met: (value) => value <= 1000,
  });
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** Debian's Docker on either: what a user of `docker` waits for. */
async function docker(): Promise<Row[]> {
  if (!hasDocker) throw new Error("no Docker (scripts/setup --bench brings it)");
  await using ours = await startDockerHost();
  await using theirs = await startDockerHost({ isDebians: true, hostname: "peer" });
  const commands = {
    "docker run --rm": ["run", "--rm", image, "true"],
    "docker exec": ["exec", "bystander", "true"],
  };
  for (const host of [ours, theirs]) await host.docker("run", "-d", "--name", "bystander", image, "sleep", "100000");
  const aims = { "docker run --rm": 0.7, "docker exec": 0.8 };
  const rows: Row[] = [];
  for (const [name, command] of Object.entries(commands)) {
    const times: [number[], number[]] = [[], []];
    for (let n = 0; n < 15; n++) {
      for (const [index, host] of [ours, theirs].entries()) {
        times[index]!.push(await timeOf(() => host.docker(...command)));
        await delay(100);
      }
    }
    const aim = aims[name as keyof typeof aims];
    rows.push(
      row({
        name: `${name} of true, median`,
        unit: "ms",
        ours: median(times[0]),
        peer: { name: `the same on ${DEBIANS}`, value: median(times[1]) },
        ...atMost(aim),
      }),
    );
  }
  return rows;
}

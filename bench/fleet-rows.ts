import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { TestDaemon } from "../test/harness/daemon.js";
import { activityOf } from "../test/harness/processes.js";
import { sharedRootfs } from "../test/harness/rootfs.js";
import { BareRuntime } from "./bare-runtime.js";
import { withContainerdShims } from "./containerd.js";
import { Fleet, type Memory, memoryOf } from "./fleet.js";
import { atMost, mean, median, type Row, row } from "./row.js";

function meanMemory(pids: number[]): Memory {
  const all = pids.map(memoryOf);
  const of = (key: keyof Memory) => mean(all.map((memory) => memory[key]));
  return { rss: of("rss"), pss: of("pss"), private: of("private") };
}

/** What so many running containers cost: memory, idle work, State, Stats, the way from death to the exit event, a restart. */
export async function* fleetRows(containers: number): AsyncIterable<Row> {
  await using fleet = await Fleet.launch();
  const { daemon } = fleet;
  // Not from the first container on: the daemon is still being compiled then.
  const few = Math.min(100, containers / 2);
  await fleet.startMany(few, 100);
  const rssOfFew = memoryOf(daemon.pid).rss;
  await fleet.startMany(containers - fleet.running, 100);
  const ours = meanMemory(fleet.shims());
  const theirs = await withContainerdShims(sharedRootfs(), meanMemory);
  const shim = (name: string, key: keyof Memory, aim: string, limit: number) =>
    row({
      name: `shim, ${name}`,
      unit: "MB",
      ours: ours[key],
      ...(theirs === undefined
        ? {}
        : { peer: { name: "containerd-shim-runc-v2 of Debian's containerd", value: theirs[key] } }),
      aim,
      met: (value) => value <= limit,
    });
  yield shim("private memory", "private", "<= 0.27 (Go: 1.03)", 0.27);
  yield shim("PSS", "pss", "<= 0.3 (Go: 1.07)", 0.3);
  yield shim("RSS", "rss", "<= 3.0 (Go: 4.5)", 3);
  yield* await idle(fleet, containers);
  const rss = memoryOf(daemon.pid).rss;
  yield row({
    name: `daemon RSS with ${containers} containers`,
    unit: "MB",
    ours: rss,
    aim: "<= 100",
    met: (value) => value <= 100,
  });
  yield row({
    name: `daemon RSS, growth per container from ${few} to ${containers}`,
    unit: "kB",
    ours: ((rss - rssOfFew) * 1000) / (containers - few),
    aim: "<= 20",
    met: (value) => value <= 20,
  });
  yield* await state(fleet, containers);
  yield await stats(fleet);
  yield await exits(fleet, Math.min(containers, 40));
  yield await restore(fleet, containers);
}

async function idle(fleet: Fleet, containers: number): Promise<Row[]> {
  const seconds = 10;
  // What the start has left to do is no idling: V8 collects the garbage some seconds after it.
  await delay(20_000);
  const shims = fleet.shims();
  const total = () => {
    const activities = shims.map(activityOf);
    return {
      cpu: activities.reduce((sum, { cpu }) => sum + cpu, 0),
      wakeups: activities.reduce((sum, { wakeups }) => sum + wakeups, 0),
    };
  };
  const before = { shims: total(), daemon: activityOf(fleet.daemon.pid) };
  await delay(seconds * 1000);
  const after = { shims: total(), daemon: activityOf(fleet.daemon.pid) };
  const none = { aim: "none", met: (value: number) => value === 0 };
  return [
    row({
      name: `all ${containers} idle shims, wake-ups in ${seconds} s`,
      unit: "",
      ours: after.shims.wakeups - before.shims.wakeups,
      ...none,
    }),
    row({
      name: `idle daemon, CPU in ${seconds} s`,
      unit: "ms",
      ours: after.daemon.cpu - before.daemon.cpu,
      ...none,
    }),
    row({
      name: `idle daemon, wake-ups in ${seconds} s`,
      unit: "",
      ours: after.daemon.wakeups - before.daemon.wakeups,
      ...none,
    }),
  ];
}

async function state(fleet: Fleet, containers: number): Promise<Row[]> {
  const { api } = fleet.daemon;
  const times: number[] = [];
  const others: number[] = [];
  const alone: number[] = [];
  const ping = async () => {
    const began = performance.now();
    await api.getServerVersion();
    return performance.now() - began;
  };
  const bare: number[] = [];
  const pids = (await api.state()).containers.flatMap((container) => container.pids);
  for (let n = 0; n < 20; n++) {
    alone.push(await ping());
    let began = performance.now();
    for (const pid of pids) {
      for (const file of ["stat", "cgroup"]) readFileSync(`/proc/${pid}/${file}`);
    }
    bare.push(performance.now() - began);
    began = performance.now();
    const answer = api.state().then(() => times.push(performance.now() - began));
    others.push(await ping());
    await answer;
  }
  return [
    row({
      name: `State of ${containers} containers`,
      unit: "ms",
      ours: median(times),
      peer: { name: "stat and cgroup of each process read in one go", value: median(bare) },
      ...atMost(4),
    }),
    row({
      name: "another call during State",
      unit: "ms",
      ours: median(others),
      peer: { name: "State itself, with a call alone", value: median(times) + median(alone) },
      ...atMost(0.7),
    }),
  ];
}

async function stats(fleet: Fleet): Promise<Row> {
  const id = fleet.daemon.id("f0");
  const times: number[] = [];
  const bare: number[] = [];
  for (let n = 0; n < 50; n++) {
    let began = performance.now();
    await fleet.daemon.api.getServerVersion();
    bare.push(performance.now() - began);
    began = performance.now();
    await fleet.daemon.api.stats({ id });
    times.push(performance.now() - began);
  }
  return row({
    name: "Stats of one container",
    unit: "ms",
    ours: median(times),
    peer: { name: "GetServerVersion", value: median(bare) },
    aim: "ratio <= 3 (Go: 25 ms)",
    met: (_, ratio) => ratio <= 3,
  });
}

/** Kills the containers from the eleventh to the `end`th, one after the other. */
async function exits(fleet: Fleet, end: number): Promise<Row> {
  const { daemon } = fleet;
  const times: number[] = [];
  const bare: number[] = [];
  const runtime = new BareRuntime("runc");
  await daemon.events.waitFor({ type: "start-container", id: daemon.id("f9") }).catch(() => {});
  for (let n = 10; n < end; n++) {
    const id = daemon.id(`f${n}`);
    const other = daemon.id(`bare-exit-${n}`);
    await runtime.createAndStart(other, fleet.bundle, fleet.file("pid"));
    let began = performance.now();
    // As little as a supervisor can do: the runtime kills it, waits for its end, and forgets it.
    await runtime.delete(other);
    bare.push(performance.now() - began);
    began = performance.now();
    await fleet.end(id);
    times.push(performance.now() - began);
  }
  return row({
    name: "SIGKILL -> exit event at the client, median",
    unit: "ms",
    ours: median(times),
    peer: { name: "runc delete --force", value: median(bare) },
    ...atMost(1),
  });
}

async function restore(fleet: Fleet, containers: number): Promise<Row> {
  const { daemon } = fleet;
  const times = { ours: [] as number[], bare: [] as number[] };
  const restart = async (which: TestDaemon) => {
    await which.kill();
    const began = performance.now();
    await which.start();
    await which.api.state();
    return performance.now() - began;
  };
  await using empty = await Fleet.launch();
  for (let n = 0; n < 3; n++) {
    times.bare.push(await restart(empty.daemon));
    times.ours.push(await restart(daemon));
  }
  return row({
    name: `daemon start until State answers, ${containers} containers`,
    unit: "ms",
    ours: median(times.ours),
    peer: { name: "the same without a container", value: median(times.bare) },
    ...atMost(3),
  });
}

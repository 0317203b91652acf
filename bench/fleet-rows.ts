import { setTimeout as delay } from "node:timers/promises";
import { sharedRootfs } from "../test/harness/rootfs.js";
import { withContainerdShims } from "./containerd.js";
import { activityOf, Fleet, type Memory, memoryOf } from "./fleet.js";
import { mean, median, percentile, type Row, row } from "./row.js";

function meanMemory(pids: number[]): Memory {
  const all = pids.map(memoryOf);
  const of = (key: keyof Memory) => mean(all.map((memory) => memory[key]));
  return { rss: of("rss"), pss: of("pss"), private: of("private") };
}

/** What so many running containers cost: memory, idle work, State, Stats, the way from death to the exit event, a restart. */
export async function fleetRows(containers: number): Promise<Row[]> {
  const rows: Row[] = [];
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
  rows.push(
    shim("private memory", "private", "<= 0.45 (Go: 1.03)", 0.45),
    shim("PSS", "pss", "<= 0.5 (Go: 1.07)", 0.5),
    shim("RSS", "rss", "<= 3.0 (Go: 4.5)", 3),
    ...(await idle(fleet, containers)),
  );
  const rss = memoryOf(daemon.pid).rss;
  rows.push(
    row({
      name: `daemon RSS with ${containers} containers`,
      unit: "MB",
      ours: rss,
      aim: "<= 100",
      met: (value) => value <= 100,
    }),
    row({
      name: `daemon RSS, growth per container from ${few} to ${containers}`,
      unit: "kB",
      ours: ((rss - rssOfFew) * 1000) / (containers - few),
      aim: "<= 20",
      met: (value) => value <= 20,
    }),
    ...(await state(fleet, containers)),
    await stats(fleet),
    await exits(fleet, Math.min(containers, 40)),
    await restore(fleet, containers),
  );
  return rows;
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
  for (let n = 0; n < 20; n++) {
    alone.push(await ping());
    const began = performance.now();
    const answer = api.state().then(() => times.push(performance.now() - began));
    others.push(await ping());
    await answer;
  }
  return [
    row({
      name: `State of ${containers} containers`,
      unit: "ms",
      ours: median(times),
      aim: "<= 50",
      met: (value) => value <= 50,
    }),
    row({
      name: "another call during State",
      unit: "ms",
      ours: median(others),
      peer: { name: "the same call alone", value: median(alone) },
      aim: "at most 10 ms more",
      met: (value) => value - median(alone) <= 10,
    }),
  ];
}

async function stats(fleet: Fleet): Promise<Row> {
  const id = fleet.daemon.id("f0");
  const times: number[] = [];
  for (let n = 0; n < 50; n++) {
    const began = performance.now();
    await fleet.daemon.api.stats({ id });
    times.push(performance.now() - began);
  }
  return row({
    name: "Stats of one container",
    unit: "ms",
    ours: median(times),
    aim: "<= 3 (Go: 25)",
    met: (value) => value <= 3,
  });
}

/** Kills the containers from the eleventh to the `end`th, one after the other. */
async function exits(fleet: Fleet, end: number): Promise<Row> {
  const { daemon } = fleet;
  const times: number[] = [];
  await daemon.events.waitFor({ type: "start-container", id: daemon.id("f9") }).catch(() => {});
  for (let n = 10; n < end; n++) {
    const id = daemon.id(`f${n}`);
    const began = performance.now();
    await fleet.end(id);
    times.push(performance.now() - began);
  }
  return row({
    name: "SIGKILL -> exit event at the client, median",
    unit: "ms",
    ours: median(times),
    aim: "<= 15",
    met: (value) => value <= 15,
  });
}

async function restore(fleet: Fleet, containers: number): Promise<Row> {
  const { daemon } = fleet;
  const times: number[] = [];
  for (let n = 0; n < 3; n++) {
    await daemon.kill();
    const began = performance.now();
    await daemon.start();
    await daemon.api.state();
    times.push(performance.now() - began);
  }
  return row({
    name: `daemon start until State answers, ${containers} containers`,
    unit: "ms",
    ours: percentile(times, 50),
    aim: "<= 1000",
    met: (value) => value <= 1000,
  });
}

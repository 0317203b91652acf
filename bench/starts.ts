import { setTimeout as delay } from "node:timers/promises";
import { crunForCgroupV2 } from "../test/harness/cgroup-v2.js";
import { BareRuntime, rate } from "./bare-runtime.js";
import { Fleet } from "./fleet.js";
import { atMost, median, type Row, row } from "./row.js";

/** In ms. */
const SETTLE = 3_000;

/** In ms: the kernel takes down the namespaces of a container that has just ended, and makes no others meanwhile. */
const REST = 100;

/** Starts until V8 has compiled what they need. */
const WARM_UP = 20;

/** Containers started per second by 100 callers, in rounds that alternate with the bare runtime's. */
export async function starts(containers: number): Promise<Row[]> {
  await using fleet = await Fleet.launch();
  const { ours, bare } = await alternate(fleet, new BareRuntime("runc"), containers, "");
  return [
    row({
      name: `starts/s, ${containers} containers, runc`,
      unit: "1/s",
      ours,
      peer: { name: "runc create+start, 10 at a time", value: bare },
      aim: "ratio >= 0.97 (Go: 0.88)",
      met: (_, ratio) => ratio >= 0.97,
    }),
  ];
}

async function alternate(fleet: Fleet, runtime: BareRuntime, containers: number, name: string) {
  const rounds = Math.max(1, Math.round(containers / 100));
  const size = Math.round(containers / rounds);
  const ours: number[] = [];
  const bare: number[] = [];
  await fleet.startMany(5, 5, name);
  for (let round = 0; round < rounds; round++) {
    const ids = Array.from({ length: size }, (_, n) => fleet.daemon.id(`bare${round}-${n}`));
    try {
      bare.push(await rate(size, 10, (n) => runtime.createAndStart(ids[n]!, fleet.bundle, fleet.file(`${n}.pid`))));
    } finally {
      await rate(size, 4, (n) => runtime.delete(ids[n]!).catch(() => {}));
    }
    // The kernel goes on removing their cgroups in the background, for which the others must not pay.
    await delay(SETTLE);
    ours.push(await fleet.startMany(size, 100, name));
  }
  return { ours: median(ours), bare: median(bare) };
}

/** The same with crun where cgroup v2 is all there is: main.ts runs it in a mount namespace where that is so. */
export async function startsCrun(containers: number): Promise<Row[]> {
  const crun = crunForCgroupV2();
  if (crun === undefined) throw new Error("no crun for cgroup v2 (scripts/setup --bench brings it)");
  await using fleet = await Fleet.launch();
  const { ours, bare } = await alternate(fleet, new BareRuntime(crun), containers, crun);
  return [
    row({
      name: `starts/s, ${containers} containers, crun, cgroup v2`,
      unit: "1/s",
      ours,
      peer: { name: "crun create+start, 10 at a time", value: bare },
      aim: "ratio >= 0.9 (Go: 0.57)",
      met: (_, ratio) => ratio >= 0.9,
    }),
  ];
}

/** One container at a time on an idle daemon: what a start takes over the two runtime calls in it. */
export async function oneStart(): Promise<Row[]> {
  await using fleet = await Fleet.launch();
  const runtime = new BareRuntime("runc");
  const ours: number[] = [];
  const bare: number[] = [];
  for (let n = 0; n < WARM_UP + 40; n++) {
    const id = fleet.daemon.id(`bare${n}`);
    await delay(REST);
    let began = performance.now();
    await runtime.createAndStart(id, fleet.bundle, fleet.file("pid"));
    bare.push(performance.now() - began);
    await runtime.delete(id);
    await delay(REST);
    began = performance.now();
    const mine = await fleet.start();
    ours.push(performance.now() - began);
    await fleet.end(mine);
  }
  for (const times of [ours, bare]) times.splice(0, WARM_UP);
  return [
    row({
      name: "one start, daemon idle",
      unit: "ms",
      ours: median(ours),
      peer: { name: "runc create + start", value: median(bare) },
      ...atMost(1.15),
    }),
  ];
}

/** Execs per second in one container by 20 callers. */
export async function execs(): Promise<Row[]> {
  await using fleet = await Fleet.launch();
  const runtime = new BareRuntime("runc");
  const id = await fleet.start();
  const ours: number[] = [];
  const bare: number[] = [];
  const size = 100;
  for (let round = 0; round < 9; round++) {
    bare.push(await rate(size, 20, () => runtime.run("exec", "-d", id, "true")));
    const args = ["true"];
    ours.push(await rate(size, 20, (n) => fleet.daemon.api.addProcess({ id, pid: `e${round}-${n}`, args, cwd: "/" })));
  }
  return [
    row({
      name: "execs/s, 20 callers, one container",
      unit: "1/s",
      ours: median(ours),
      peer: { name: "runc exec -d, 20 at a time", value: median(bare) },
      aim: "ratio >= 0.95",
      met: (_, ratio) => ratio >= 0.95,
    }),
  ];
}

import { freemem } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { Fleet, memoryOf } from "./fleet.js";
import { mean, median } from "./row.js";

/** In bytes: what a sleeping container takes at most, with its shim and what the kernel keeps for it. */
const CONTAINER_MEMORY = 3e6;
/** In ms: what V8 waits before it collects the garbage of a burst. */
const GARBAGE_DELAY = 20_000;

/** What is measured at each size, with the unit of its growth per container. */
const COLUMNS = [
  { name: "daemon RSS MB", digits: 1, slope: "kB", factor: 1000 },
  { name: "daemon fds", digits: 0, slope: "", factor: 1 },
  { name: "State ms", digits: 1, slope: "us", factor: 1000 },
  { name: "starts/s", digits: 1 },
  { name: "one start ms", digits: 1, slope: "us", factor: 1000 },
  { name: "exit ms", digits: 1, slope: "us", factor: 1000 },
  { name: "shim private MB", digits: 3, slope: "kB", factor: 1000 },
];

/**
 * How cost grows with the number of containers, on one daemon: a line for each size that there is memory for, then the slope, which is what
 * each container adds between the second size and the last (at the first one the daemon is still being compiled).
 */
export async function growth(sizes: number[]): Promise<string> {
  await using fleet = await Fleet.launch();
  const measured: { size: number; values: number[] }[] = [];
  for (const size of sizes) {
    if ((size - fleet.running) * CONTAINER_MEMORY > freemem()) {
      console.error(`growth: ${size} containers left out: no memory for them`);
      continue;
    }
    measured.push({ size, values: await measure(fleet, size) });
  }
  const [from, to] = [measured.at(1), measured.at(-1)];
  const slope = COLUMNS.map(({ slope, factor }, column) => {
    if (slope === undefined || from === undefined || to === undefined || from === to) return "";
    return `${(((to.values[column]! - from.values[column]!) * factor) / (to.size - from.size)).toFixed(2)} ${slope}`.trim();
  });
  const lines = [
    ["containers", ...COLUMNS.map(({ name }) => name)],
    ...measured.map(({ size, values }) => [
      String(size),
      ...values.map((value, column) => value.toFixed(COLUMNS[column]!.digits)),
    ]),
    ["each adds", ...slope],
  ];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => line.map((cell, column) => cell.padStart(widths[column]!)).join("  ")).join("\n");
}

/** Brings the fleet to a size and measures each of {@link COLUMNS}. */
async function measure(fleet: Fleet, size: number): Promise<number[]> {
  const { daemon } = fleet;
  const rate = await fleet.startMany(size - fleet.running, 100);
  const states: number[] = [];
  const ones: number[] = [];
  const exits: number[] = [];
  for (let n = 0; n < 10; n++) {
    let began = performance.now();
    await daemon.api.state();
    states.push(performance.now() - began);
    began = performance.now();
    const id = await fleet.start();
    ones.push(performance.now() - began);
    began = performance.now();
    await fleet.end(id);
    exits.push(performance.now() - began);
  }
  await delay(GARBAGE_DELAY);
  return [
    memoryOf(daemon.pid).rss,
    daemon.snapshot().descriptors.size,
    median(states),
    rate,
    median(ones),
    median(exits),
    mean(fleet.shims().map((pid) => memoryOf(pid).private)),
  ];
}

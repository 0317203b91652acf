import { Fleet, memoryOf } from "./fleet.js";
import { median } from "./row.js";

/** How cost grows with the number of containers: one line for each size, on one daemon. */
export async function growth(sizes: number[]): Promise<string> {
  await using fleet = await Fleet.launch();
  const { daemon } = fleet;
  const lines: string[][] = [
    ["containers", "starts/s", "daemon RSS MB", "daemon fds", "State ms", "one start ms", "shim private MB"],
  ];
  for (const size of sizes) {
    const rate = await fleet.startMany(size - fleet.size, 100);
    const states: number[] = [];
    for (let n = 0; n < 5; n++) {
      const began = performance.now();
      await daemon.api.state();
      states.push(performance.now() - began);
    }
    const began = performance.now();
    const id = await fleet.start();
    const one = performance.now() - began;
    await daemon.api.signal({ id, pid: "init", signal: 9 });
    const shims = fleet.shims().map((pid) => memoryOf(pid).private);
    lines.push(
      [
        size,
        rate.toFixed(1),
        memoryOf(daemon.pid).rss.toFixed(1),
        daemon.snapshot().descriptors.size,
        median(states).toFixed(1),
        one.toFixed(1),
        (shims.reduce((sum, value) => sum + value, 0) / shims.length).toFixed(3),
      ].map(String),
    );
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) => line.map((cell, column) => cell.padStart(widths[column]!)).join("  ")).join("\n");
}

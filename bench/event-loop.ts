import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseExposition, sampleValue } from "../test/operations/exposition.js";
import { get } from "../test/operations/http-get.js";
import { Fleet } from "./fleet.js";
import { median, type Row, row } from "./row.js";

/** How late the daemon's event loop is while 100 callers start 100 containers, as its own metrics say. */
export async function eventLoop(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "ctd-bench-"));
  const socket = join(directory, "metrics");
  const delays: number[] = [];
  try {
    await using fleet = await Fleet.launch({ flags: ["--metrics-address", `unix://${socket}`] });
    const scrape = async () => parseExposition((await get(socket, "/metrics")).body);
    await fleet.startMany(20, 20);
    for (let round = 0; round < 3; round++) {
      // A scrape ends the last measurement.
      await scrape();
      await fleet.startMany(100, 100);
      delays.push(sampleValue(await scrape(), "nodejs_eventloop_lag_p99_seconds") * 1000);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  return [
    row({
      name: "event loop delay, p99, during 100 concurrent starts",
      unit: "ms",
      ours: median(delays),
      aim: "<= 20",
      met: (value) => value <= 20,
    }),
  ];
}

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseExposition, sampleValue } from "../test/operations/exposition.js";
import { get } from "../test/operations/http-get.js";
import { Fleet } from "./fleet.js";
import { atMost, median, type Row, row } from "./row.js";

/** How late the daemon's event loop is while 100 callers start 100 containers, as its own metrics say. */
export async function eventLoop(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "ctd-bench-"));
  const socket = join(directory, "metrics");
  const delays: number[] = [];
  const others: number[] = [];
  try {
    await using fleet = await Fleet.launch({ flags: ["--metrics-address", `unix://${socket}`] });
    const scrape = async () => parseExposition((await get(socket, "/metrics")).body);
    await fleet.startMany(20, 20);
    using other = new IdleLoop();
    for (let round = 0; round < 3; round++) {
      // A scrape ends the last measurement.
      await scrape();
      await other.delay();
      await fleet.startMany(100, 100);
      others.push(await other.delay());
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
      peer: { name: "a Node that does nothing, meanwhile", value: median(others) },
      ...atMost(2),
    }),
  ];
}

/** Another Node, with nothing to do: how late its loop is, is how late the machine lets it be. */
class IdleLoop implements Disposable {
  readonly #child: ChildProcess;

  constructor() {
    const program = `
      const { monitorEventLoopDelay } = require("node:perf_hooks");
      const delay = monitorEventLoopDelay({ resolution: 10 });
      delay.enable();
      process.on("message", () => { process.send(delay.percentile(99) / 1e6); delay.reset(); });`;
    this.#child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  }

  /** In ms, the 99th percentile since it was last asked. */
  async delay(): Promise<number> {
    const answer = once(this.#child, "message");
    this.#child.send("delay?");
    return (await answer)[0] as number;
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ctrProgram, findProgram, repository } from "../test/harness/paths.js";
import { activityOf } from "../test/harness/processes.js";
import { Fleet } from "./fleet.js";
import { atMost, mean, median, type Row, row } from "./row.js";

const CALLS = 100_000;

/**
 * GetServerVersion from 16 callers on one connection, driven by a compiled client (nghttp2's h2load). How many are answered in a second
 * depends on who else wants the processors; what an answer costs hardly does.
 */
export async function calls(): Promise<Row[]> {
  if (findProgram("h2load") === undefined) throw new Error("no h2load (scripts/setup --bench brings it)");
  await using fleet = await Fleet.launch();
  const body = fleet.file("empty-message");
  // A gRPC message of no bytes: not compressed, length 0.
  writeFileSync(body, Buffer.alloc(5));
  const measure = (socket: string, pid: number) => {
    const { cpu } = activityOf(pid);
    const output = execFileSync("h2load", [
      ...["-n", String(CALLS), "-c", "1", "-m", "16", "-d", body, "-B", `unix:${socket}`],
      ...["-H", "content-type: application/grpc", "-H", "te: trailers"],
      "http://localhost/types.API/GetServerVersion",
    ]).toString();
    if (!output.includes(`${CALLS} succeeded, 0 failed`)) throw new Error(`h2load: ${output}`);
    return { rate: Number(/([\d.]+) req\/s/.exec(output)?.[1]), cost: ((activityOf(pid).cpu - cpu) * 1000) / CALLS };
  };
  const floorSocket = fleet.file("floor");
  const floor = spawn(process.execPath, [join(repository, "bench/http2-server.mjs"), floorSocket], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ours: ReturnType<typeof measure>[] = [];
  const floors: typeof ours = [];
  try {
    await once(floor.stdout, "data");
    for (let n = 0; n < 4; n++) {
      ours.push(measure(fleet.daemon.listen.replace("unix://", ""), fleet.daemon.pid));
      floors.push(measure(floorSocket, floor.pid!));
    }
  } finally {
    floor.kill();
  }
  // The first round warms the compiler up.
  const middle = (rounds: typeof ours, key: "rate" | "cost") => median(rounds.slice(1).map((round) => round[key]));
  const peer = (key: "rate" | "cost") => ({ name: "node:http2 with an empty handler", value: middle(floors, key) });
  return [
    row({
      name: "GetServerVersion, 16 callers, one connection",
      unit: "1/s",
      ours: middle(ours, "rate"),
      peer: peer("rate"),
      aim: "ratio >= 0.6",
      met: (_, ratio) => ratio >= 0.6,
    }),
    row({
      name: "GetServerVersion, CPU of the server for a call",
      unit: "us",
      ours: middle(ours, "cost"),
      peer: peer("cost"),
      ...atMost(2),
    }),
  ];
}

/** `ctr version`, the whole process, beside a Node that does nothing: its time, and, whoever else wants the processors, its CPU. */
export async function ctrVersion(): Promise<Row[]> {
  await using fleet = await Fleet.launch();
  const measure = (args: string[], { times, cpus }: Runs) => {
    const cpu = activityOf(process.pid).childrenCpu;
    const began = performance.now();
    execFileSync(process.execPath, args, { stdio: "ignore" });
    times.push(performance.now() - began);
    cpus.push(activityOf(process.pid).childrenCpu - cpu);
  };
  const ours: Runs = { times: [], cpus: [] };
  const node: Runs = { times: [], cpus: [] };
  for (let n = 0; n < 20; n++) {
    measure(["-e", "0"], node);
    measure([ctrProgram, "--address", fleet.daemon.listen, "version"], ours);
  }
  const line = (name: string, key: keyof Runs, middle: (values: number[]) => number, aim: number) =>
    row({
      name: `ctr version, ${name}`,
      unit: "ms",
      ours: middle(ours[key]),
      peer: { name: "node -e 0", value: middle(node[key]) },
      ...atMost(aim),
    });
  // CPU is counted in ticks of 10 ms: only a sum of many tells.
  return [line("whole process", "times", median, 1.6), line("its CPU", "cpus", mean, 1.7)];
}

/** Each in ms. */
interface Runs {
  times: number[];
  cpus: number[];
}

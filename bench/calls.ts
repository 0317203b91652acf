import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ctrProgram, findProgram, repository } from "../test/harness/paths.js";
import { Fleet } from "./fleet.js";
import { median, type Row, row } from "./row.js";

/** GetServerVersion from 16 callers on one connection, driven by a compiled client (nghttp2's h2load). */
export async function calls(): Promise<Row[]> {
  if (findProgram("h2load") === undefined) throw new Error("no h2load (scripts/setup --bench brings it)");
  await using fleet = await Fleet.launch();
  const body = fleet.file("empty-message");
  // A gRPC message of no bytes: not compressed, length 0.
  writeFileSync(body, Buffer.alloc(5));
  const measure = (socket: string) => {
    const output = execFileSync("h2load", [
      ...["-n", "100000", "-c", "1", "-m", "16", "-d", body, "-B", `unix:${socket}`],
      ...["-H", "content-type: application/grpc", "-H", "te: trailers"],
      "http://localhost/types.API/GetServerVersion",
    ]).toString();
    if (!/100000 succeeded, 0 failed/.test(output)) throw new Error(`h2load: ${output}`);
    return Number(/([\d.]+) req\/s/.exec(output)![1]);
  };
  const floorSocket = fleet.file("floor");
  const floor = spawn(process.execPath, [join(repository, "bench/http2-server.mjs"), floorSocket], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const rates: number[] = [];
  const floorRates: number[] = [];
  try {
    await once(floor.stdout, "data");
    for (let n = 0; n < 4; n++) {
      rates.push(measure(fleet.daemon.listen.replace("unix://", "")));
      floorRates.push(measure(floorSocket));
    }
  } finally {
    floor.kill();
  }
  return [
    row({
      name: "GetServerVersion, 16 callers, one connection",
      unit: "1/s",
      // The first round warms the compiler up.
      ours: median(rates.slice(1)),
      peer: { name: "node:http2 with an empty handler", value: median(floorRates.slice(1)) },
      aim: ">= 27000 (the Go server's)",
      met: (value) => value >= 27_000,
    }),
  ];
}

/** `ctr version`, the whole process, beside a Node that does nothing. */
export async function ctrVersion(): Promise<Row[]> {
  await using fleet = await Fleet.launch();
  const time = (args: string[]) => {
    const began = performance.now();
    execFileSync(process.execPath, args, { stdio: "ignore" });
    return performance.now() - began;
  };
  const ours: number[] = [];
  const node: number[] = [];
  for (let n = 0; n < 20; n++) {
    node.push(time(["-e", "0"]));
    ours.push(time([ctrProgram, "--address", fleet.daemon.listen, "version"]));
  }
  return [
    row({
      name: "ctr version, whole process",
      unit: "ms",
      ours: median(ours),
      peer: { name: "node -e 0", value: median(node) },
      aim: "ratio <= 1.5",
      met: (_, ratio) => ratio <= 1.5,
    }),
  ];
}

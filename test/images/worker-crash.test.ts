/** Worker threads that end in the middle of a layer: the daemon, with workers that are made to. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ctr } from "../ctr/ctr.js";
import { copyBuild, type PrivateBuild } from "../faults/private-build.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { directoryPrefix } from "../harness/run-name.js";
import { makeTestImage } from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { imageNames } from "../harness/unpacked.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

/** What a worker does once it has read a part of a layer, by what is in the file. */
const CRASHES = {
  exit: "process.exit(3)",
  throw: 'setImmediate(() => { throw new Error("made to crash"); })',
  memory: "for (const kept = []; ; ) kept.push({ of: [...Array(1000)].map(() => ({})) })",
};

let dir: string;
let build: PrivateBuild;
let daemon: TestDaemon;
let archive: string;
let order: string;
beforeAll(async () => {
  dir = mkdtempSync(directoryPrefix());
  order = join(dir, "order");
  archive = join(dir, "edges.tar");
  await (await makeTestImage(join(dir, "edges"), "edges")).layout.archive(archive);
  build = copyBuild();
  const path = join(dirname(build.daemon), "layer-worker.js");
  const cases = Object.entries(CRASHES).map(([name, crash]) => `case ${JSON.stringify(name)}: ${crash}; break;`);
  const crashing = `{
    const port = require("node:worker_threads").parentPort;
    const { readFileSync } = require("node:fs");
    const post = port.postMessage.bind(port);
    port.postMessage = (message, transfer) => {
      post(message, transfer);
      if (!("read" in message)) return;
      let order;
      try { order = readFileSync(${JSON.stringify(order)}, "utf8"); } catch { return; }
      switch (order) { ${cases.join(" ")} }
    };
  }\n`;
  writeFileSync(path, crashing + readFileSync(path, "utf8"));
  daemon = await startDaemon({ program: build.daemon });
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  build?.[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

test.each([
  ["exit", "the worker thread has ended"],
  ["throw", "made to crash"],
  ["memory", "it needs too much memory"],
] as const)("%s: an error that says so, nothing half is left, and the next import goes on", async (crash, why) => {
  const { pid } = daemon;
  const api = daemon.v1(crash);
  const transfers = new Transfers(api);
  const layerFiles = () => {
    const layers = join(daemon.root, "layers");
    return existsSync(layers) ? readdirSync(layers, { recursive: true }).filter((name) => name !== "tmp") : [];
  };
  await eventually(() => !layerFiles().some((name) => String(name).startsWith("tmp/")));
  const before = layerFiles();
  writeFileSync(order, crash);
  const [said] = await Promise.all([refusal(transfers.import(archive)), daemon.v1("other").version.version()]);
  expect(said).toMatch(new RegExp(`^UNKNOWN: layer sha256:[0-9a-f]{64}: ${why}: unknown$`));
  expect(daemon.pid).toBe(pid);
  expect(await imageNames(api)).toEqual([]);
  // Of other layers, whose conversion ends with the import.
  await eventually(() => layerFiles().length === before.length);
  expect(layerFiles()).toEqual(before);
  rmSync(order);
  await transfers.import(archive);
  expect(await imageNames(api)).toHaveLength(1);
  await ctr(daemon, "--namespace", crash, "content", "check");
  await ctr(daemon, "--namespace", crash, "images", "prune", "--all");
});

/** A program that has no descriptors left: the error says so, and nothing stays behind. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { runProgram } from "./typescript-program.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** Runs a container with 0, 1, 2, … descriptors left, over a connection that is there and over one that is still to be made. */
const PROGRAM = `
import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { connect } from "containerd-ts";

execFileSync("prlimit", ["--pid", String(process.pid), "--nofile=200:"]);
const connected = connect();
const run = (client) => client.v0.run({ rootfs: process.env.ROOTFS, args: ["echo", "hello"], timeout: 30_000 });
// What is loaded later takes descriptors as well.
await run(connected);
const outcomes = [];
for (let left = 0; left < 24; left++) {
  for (const client of [connected, connect()]) {
    const taken = [];
    try {
      for (;;) taken.push(openSync("/dev/null"));
    } catch {}
    for (let count = 0; count < left; count++) closeSync(taken.pop());
    try {
      outcomes.push((await run(client)).stdout);
    } catch (error) {
      outcomes.push(error.message);
    }
    for (const descriptor of taken) closeSync(descriptor);
    if (client !== connected) client.close();
  }
}
connected.close();
console.log(JSON.stringify(outcomes));
`;

test("however few are left", { timeout: 180_000 }, async () => {
  const outcomes: string[] = JSON.parse(await runProgram(daemon, { text: PROGRAM }, [], { ROOTFS: sharedRootfs() }));
  const failures = outcomes.filter((outcome) => outcome !== "hello\n");
  for (const failure of failures) expect(failure).toMatch(/EMFILE|too many open files/i);
  expect(failures.length).toBeGreaterThan(4);
  expect(outcomes.length - failures.length).toBeGreaterThan(4);
  expect(readdirSync(daemon.dir).filter((name) => name.startsWith("ctr-"))).toEqual([]);
  await daemon.expectNothingLeft();
});

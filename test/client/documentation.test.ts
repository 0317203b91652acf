/** The snippets of docs/client.md, each run as the program that it is. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { repository } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { runProgram } from "./typescript-program.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const text = readFileSync(join(repository, "docs/client.md"), "utf8");
/** By the heading they stand below. */
const snippets = text
  .split(/^## /m)
  .flatMap((section) =>
    [...section.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => ({ title: section.split("\n")[0]!, code: code! })),
  );

const outputs: Record<string, string> = {
  "Run a command": "5 0 false true\n",
  Containers: "from stdin\nbin\n3\npaused\n134217728\n0\n",
  "Abort, time out": "TimeoutError\ntrue no-such-container\n",
  "Stats and events": "true true true\nstart-container 0\nexit 0\n",
};

test("every snippet is known here", () => {
  expect(snippets.map(({ title }) => title)).toEqual(Object.keys(outputs));
  expect(text.match(/^```ts$/gm)).toHaveLength(snippets.length);
});

test.each(snippets)("$title", async ({ title, code }) => {
  const output = await runProgram(daemon, { text: code }, [], { ROOTFS: sharedRootfs() });
  expect(output).toBe(outputs[title]);
  await daemon.expectNothingLeft();
});

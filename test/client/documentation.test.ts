/** The snippets of docs/client.md and docs/untrusted-code.md, each run as the JavaScript that it is, and compiled as TypeScript. */
import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../src/client/index.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { repository } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { runProgram } from "./typescript-program.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
  // A container with user ids of its own has to get through it to its root file system.
  chmodSync(daemon.dir, 0o711);
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const text = ["client", "untrusted-code"]
  .map((name) => readFileSync(join(repository, `docs/${name}.md`), "utf8"))
  .join("\n");
/** By the heading they stand below. */
const snippets = text
  .split(/^## /m)
  .flatMap((section) =>
    [...section.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => ({ title: section.split("\n")[0]!, code: code! })),
  );

const OUTPUTS: Record<string, string> = {
  "Run an image": "hello from 0 0 false\n",
  Sandboxes: "42\n42\n",
  "What a container prints": "stdout ready\nstdout hello world\n0\n",
  "Run a command": "5 0 false true\n",
  Containers: "from stdin\nbin\n3\npaused\n134217728\n0\n",
  "Files of a container": "2\n0\nadded /srv/count.sh\nadded /srv/in\nadded /srv/in/words\nadded /srv/lines\ntrue\n",
  "Abort, time out": "TimeoutError\ntrue no-such-container\n",
  "What went wrong": "command-not-found\n",
  "Stats and events": "true true true\nstart-container 0\nexit 0\n",
  Images: "docker.io/team/tools:1\ntrue 1\ntrue\n2\n",
  "With `client.run`": "output 42\n",
};

test("every snippet is known here", () => {
  expect(snippets.map(({ title }) => title)).toEqual(Object.keys(OUTPUTS));
  expect(text.match(/^```ts$/gm)).toHaveLength(snippets.length);
});

test.each(snippets)("$title", async ({ title, code }) => {
  const client = connect(daemon.listen);
  const env: Record<string, string> = { ROOTFS: sharedRootfs() };
  if (code.includes("process.env.IMAGE")) {
    env.IMAGE = "docs:1";
    const tar = spawn("tar", ["-C", sharedRootfs(), "-c", "."]);
    await client.images.import(tar.stdout, { rootfs: true, name: env.IMAGE });
  }
  const output = await runProgram(daemon, { script: code }, [], env);
  expect(output).toBe(OUTPUTS[title]);
  await client.images.prune({ all: true });
  client.close();
  await daemon.expectNothingLeft();
});

test("all compile with TypeScript's defaults for Node", async () => {
  // Inside the package, so that its name is resolved by its own `exports`.
  mkdirSync(join(repository, "dist/run"), { recursive: true });
  const project = mkdtempSync(join(repository, "dist/run/snippets-"));
  try {
    for (const [index, { code }] of snippets.entries()) writeFileSync(join(project, `snippet-${index}.ts`), code);
    const compilerOptions = { module: "nodenext", noEmit: true };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions }));
    const compiler = join(repository, "node_modules/typescript/bin/tsc");
    const { stdout } = await promisify(execFile)(process.execPath, [compiler, "-p", project]).catch((error) => error);
    expect(stdout).toBe("");
  } finally {
    rmSync(project, { recursive: true });
  }
});

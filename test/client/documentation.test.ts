/** The programs in the documents, each run as the JavaScript that it is, and compiled as TypeScript. */
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../src/client/index.js";
import { importRootfs, removeAll } from "../harness/client.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { makeNetworkNamespace, type NetworkNamespace } from "../harness/network-namespace.js";
import { repository } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { runProgram } from "./typescript-program.js";

let host: NetworkNamespace;
let daemon: TestDaemon;
beforeAll(async () => {
  // What they publish is in a network namespace, and so are they.
  host = await makeNetworkNamespace();
  daemon = await startDaemon({ wrapper: host.enter() });
  // A container with user ids of its own has to get through it to its root file system.
  chmodSync(daemon.dir, 0o711);
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
});

/** Whatever has snippets for programs. */
const documents = ["README.md", ...readdirSync(join(repository, "docs")).map((name) => `docs/${name}`)].filter((file) =>
  file.endsWith(".md"),
);

/** By the document, and the heading they stand below. */
const snippets = documents.flatMap((file) =>
  readFileSync(join(repository, file), "utf8")
    .split(/^##? /m)
    .flatMap((section) =>
      [...section.matchAll(/^```(?:ts|js)\n(.*?)^```$/gms)].map(([, code]) => ({
        title: `${file}: ${section.split("\n")[0]!}`,
        code: code!,
      })),
    ),
);

const OUTPUTS: Record<string, string> = {
  "README.md: containerd-ts": "hello 0\n",
  "docs/client-v0.md: Run a command": "5 0 false true\n",
  "docs/client-v0.md: Containers": "from stdin\nbin\n3\npaused\n134217728\n0\n",
  "docs/client-v0.md: Abort, and what went wrong": "TimeoutError\ncommand-not-found\ntrue no-such-container\n",
  "docs/client-v0.md: Stats and events": "true true true\nstart-container 0\nexit 0\n",
  "docs/client.md: Run an image": "hello from 0 0 false\n",
  "docs/client.md: Containers": "from stdin\nhello 3\n[ 'one', 'two', '' ] 0\npaused\n0\n",
  "docs/client.md: Files of a container":
    "2\n0\nadded /srv/count.sh\nadded /srv/in\nadded /srv/in/words\nadded /srv/lines\ntrue\n",
  "docs/client.md: Abort, time out": "TimeoutError\ntrue timeout\ntrue not-found\n",
  "docs/client.md: What went wrong": "command-not-found\n",
  "docs/client.md: Stats": "67108864\ntrue true true\n",
  "docs/client.md: Images": "docker.io/team/tools:1\ntrue 1\ntrue\nfalse\n",
  "docs/client.md: Sandboxes": "42\n42\n",
  "docs/networks.md: In a program": "8080 one\ntwo\n",
  "docs/untrusted-code.md: With `client.run`": "output 42\n",
  "docs/restarts.md: Restarts, health checks, and events": "die 1, health healthy running 1 healthy\nstopped\n",
  "docs/volumes.md: Volumes, and what else is mounted in a container": "kept true true\nnotes []\n",
  "docs/client.md: What a container prints": "stdout ready\nstdout hello world\n0\n",
};

test("every snippet is known here", () => {
  expect(snippets.map(({ title }) => title).sort()).toEqual(Object.keys(OUTPUTS).sort());
});

/** The name of an image that is there under it, as the documents name it or as they are told by the environment. */
const IMAGE = "alpine:3.20";

test.each(snippets)("$title", async ({ title, code }) => {
  const client = connect(daemon.listen);
  await importRootfs(client, IMAGE);
  const env = { ROOTFS: sharedRootfs(), IMAGE };
  const output = await runProgram(daemon, { script: code }, [], env, host.enter());
  expect(output).toBe(OUTPUTS[title]);
  await removeAll(client);
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

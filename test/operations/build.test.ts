/** What the build builds again after an edit, in a copy of the repository. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ctr } from "../ctr/ctr.js";
import { startDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { repository } from "../harness/paths.js";
import { directoryPrefix } from "../harness/run-name.js";

let copy: string;

const OUTPUTS = {
  daemon: "containerd.js",
  shim: "containerd-shim",
  ctr: "ctr.bundle.cjs",
  "compiled ctr": "ctr.cache",
  client: "../client/index.cjs",
  "client's types": "../client/index.d.ts",
  "man pages": "../man/ctr.1",
  "daemon in its package": "../../packages/containerd/dist/bin/containerd.js",
  "README in its package": "../../packages/containerd/README.md",
};

function build(...args: string[]) {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/build.mjs", ...args], {
    cwd: copy,
    encoding: "utf8",
  });
  return { status, stderr };
}

/** The names of what is built again because of a change. A file that is put in place anew is another inode. */
function builtAfter(change: () => void): string[] {
  const state = (file: string) => {
    const { ino, mtimeMs } = statSync(join(copy, "dist/bin", file));
    return `${ino} ${mtimeMs}`;
  };
  const before = Object.values(OUTPUTS).map(state);
  change();
  expect(build("--if-stale")).toEqual({ status: 0, stderr: "" });
  return Object.entries(OUTPUTS).flatMap(([name, file], index) => (state(file) === before[index] ? [] : [name]));
}

const edit = (file: string, text: string) => () => appendFileSync(join(copy, file), text);

beforeAll(() => {
  copy = mkdtempSync(directoryPrefix());
  const folders = ["build", "docs", "examples", "packages", "packaging", "proto", "scripts", "src"];
  const files = readdirSync(repository).filter((name) => /^(tsconfig\.|package|[A-Z]+$|[A-Z]+\.md$)/.test(name));
  for (const name of new Set([...folders, ...files]))
    cpSync(join(repository, name), join(copy, name), { recursive: true });
  // What these tests have built: the copy builds what is different there.
  const isNeeded = (path: string) => !/dist\/(?:run|\.lock)$/.test(path);
  cpSync(join(repository, "dist"), join(copy, "dist"), { recursive: true, filter: isNeeded });
  symlinkSync(join(repository, "node_modules"), join(copy, "node_modules"));
  expect(build("--if-stale")).toEqual({ status: 0, stderr: "" });
}, 300_000);
afterAll(() => rmSync(copy, { recursive: true, force: true }));

test("only the products whose sources have changed are built", { timeout: 300_000 }, () => {
  expect(builtAfter(() => {})).toEqual([]);
  expect(
    builtAfter(() => utimesSync(join(copy, "src/core/tasks/operations/start.ts"), new Date(), new Date())),
  ).toEqual([]);
  expect(builtAfter(edit("src/core/tasks/operations/start.ts", "// Another.\n"))).toEqual(["daemon"]);
  expect(builtAfter(edit("src/shim/main.ts", "// Another.\n"))).toEqual(["shim"]);
  expect(builtAfter(edit("src/client/v0/containers/run.ts", "// Another.\n"))).toEqual([
    "ctr",
    "compiled ctr",
    "client",
    "client's types",
    "man pages",
  ]);
  expect(builtAfter(edit("packaging/man/ctr.1.md", "\nAnother.\n"))).toEqual(["man pages"]);
  expect(builtAfter(() => rmSync(join(copy, "dist/bin/ctr.cache")))).toEqual(["ctr", "compiled ctr"]);
});

test("a package has what it publishes, and nothing that is gone", { timeout: 300_000 }, () => {
  expect(builtAfter(edit("README.md", "\nAnother.\n"))).toEqual(["README in its package"]);
  const published = join(copy, "packages/containerd/docs/another.md");
  expect(builtAfter(edit("docs/another.md", "# Another\n"))).toEqual([]);
  expect(readFileSync(published, "utf8")).toBe("# Another\n");
  expect(builtAfter(() => rmSync(join(copy, "docs/another.md")))).toEqual([]);
  expect(existsSync(published)).toBe(false);
});

test("what could not be built is said, and is built once it can", { timeout: 120_000 }, () => {
  const broken = join(copy, "src/core/tasks/operations/broken.ts");
  edit("src/core/tasks/operations/start.ts", 'import "./broken.js";\n')();
  for (let tries = 0; tries < 2; tries++) {
    const { status, stderr } = build("--if-stale");
    expect(status).toBe(1);
    expect(stderr).toContain("the daemon: ");
    expect(stderr).toContain("./broken.js");
  }
  expect(builtAfter(() => cpSync(join(copy, "src/daemon/version.ts"), broken))).toEqual(["daemon"]);
});

test("the daemon tells the commit that it was built from, and none when there is none", {
  timeout: 120_000,
}, async () => {
  const installed = {
    program: join(copy, "dist/bin/containerd.js"),
    flags: ["--shim", join(copy, "dist/bin/containerd-shim")],
  };
  {
    await using daemon = await startDaemon(installed);
    expect(await ctr(daemon, "version")).toMatch(/^daemon version [\d.]+\n$/);
  }
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=test", "-c", "user.email=test@localhost", ...args], {
      cwd: copy,
      encoding: "utf8",
    });
  git("init", "--quiet");
  expect(builtAfter(() => git("commit", "--quiet", "--allow-empty", "--message", "Nothing"))).toEqual([
    "daemon",
    "daemon in its package",
  ]);
  await using daemon = await startDaemon(installed);
  expect(await ctr(daemon, "version")).toMatch(/^daemon version [\d.]+ commit: [0-9a-f]{40}\n$/);
  expect(await ctr(daemon, "version")).toContain(git("rev-parse", "HEAD"));
});

test.skipIf(!full)("what is wrong with a type is told, and nothing else", { timeout: 300_000 }, () => {
  const file = join(copy, "src/client/v0/containers/run.ts");
  const before = readFileSync(file);
  try {
    appendFileSync(file, "export const wrong: string = 1;\n");
    const { status, stderr } = build("--if-stale");
    expect(status).not.toBe(0);
    expect(stderr).toContain("src/client/v0/containers/run.ts");
    expect(stderr).toContain("TS2322");
    expect(stderr).not.toContain("node_modules/typescript");
  } finally {
    writeFileSync(file, before);
  }
});

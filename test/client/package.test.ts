/** The two packages as npm installs them: into an empty project, with a daemon, from JavaScript and TypeScript, and in bundles. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { type Archives, installInto, packPackages } from "../harness/npm.js";
import { repository } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";

const run = promisify(execFile);

const dir = mkdtempSync(join(tmpdir(), "ctd-package-"));
/** One has both packages, the other the client library alone. */
const projects = { "containerd-ts": join(dir, "both"), "containerd-ts-client": join(dir, "client") };
let archives: Archives;
beforeAll(async () => {
  archives = await packPackages(dir);
  for (const project of Object.values(projects)) mkdirSync(project);
  await installInto(projects["containerd-ts"], [archives.client, archives.containerd]);
  await installInto(projects["containerd-ts-client"], [archives.client]);
}, 300_000);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const installed = (project: string, name: string) => existsSync(join(project, "node_modules", name));

const dependencies = (name: "client" | "containerd"): string[] =>
  Object.keys(JSON.parse(readFileSync(join(repository, "packages", name, "package.json"), "utf8")).dependencies);

describe.each(["containerd-ts", "containerd-ts-client"] as const)("%s", (name) => {
  const project = projects[name];

  /** With the installed package's own daemon and shim, where it has them. */
  const start = (): Promise<TestDaemon> =>
    name === "containerd-ts"
      ? startDaemon({
          program: join(project, "node_modules/.bin/containerd"),
          flags: ["--shim", join(project, "node_modules/.bin/containerd-shim")],
        })
      : startDaemon();

  const hello = `
import { connect } from "${name}";
await using client = connect();
const { stdout, status } = await client.run({ rootfs: process.argv[2], args: ["echo", "hello"] });
console.log(stdout.trim(), status);
`;

  test("hello from JavaScript", async () => {
    await using daemon = await start();
    // "await using" is not in every Node that the package supports.
    writeFileSync(
      join(project, "hello.mjs"),
      hello.replace("await using client", "const client").replace(/$/, "client.close();\n"),
    );
    const { stdout } = await run(process.execPath, ["hello.mjs", sharedRootfs()], {
      cwd: project,
      env: { ...process.env, CONTAINERD_ADDRESS: daemon.listen },
    });
    expect(stdout).toBe("hello 0\n");
    await daemon.expectNothingLeft();
  });

  // What the one exports the other hands on.
  test.skipIf(!full && name !== "containerd-ts")("hello from TypeScript, with the strictest checks", async () => {
    await using daemon = await start();
    writeFileSync(join(project, "hello.ts"), hello.replace("process.argv[2]", "process.argv[2]!"));
    writeFileSync(
      join(project, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          target: "ES2022",
          lib: ["ES2023", "ESNext.Disposable"],
          module: "NodeNext",
          types: ["node"],
          strict: true,
          exactOptionalPropertyTypes: true,
          noUncheckedIndexedAccess: true,
          // The declarations of the package are checked as well.
          skipLibCheck: false,
          outDir: "out",
        },
        files: ["hello.ts"],
      }),
    );
    const { stdout: compiled } = await run(
      process.execPath,
      [join(repository, "node_modules/typescript/bin/tsc"), "-p", "."],
      { cwd: project },
    ).catch((error: { stdout: string }) => error);
    expect(compiled).toBe("");
    const { stdout } = await run(process.execPath, ["out/hello.js", sharedRootfs()], {
      cwd: project,
      env: { ...process.env, CONTAINERD_ADDRESS: daemon.listen },
    });
    expect(stdout).toBe("hello 0\n");
    await daemon.expectNothingLeft();
  });
});

/** Runs a program of a project, or of a folder that has nothing else, against a daemon; resolves with what it printed. */
async function output(daemon: TestDaemon, folder: string, program: string): Promise<string> {
  const env = { PATH: process.env.PATH, TMPDIR: daemon.dir, CONTAINERD_ADDRESS: daemon.listen };
  const { stdout } = await run(process.execPath, [program, sharedRootfs()], { cwd: folder, env });
  return stdout;
}

test("from CommonJS, and both ways in one program, which has one copy of each class", async () => {
  await using daemon = await startDaemon();
  const project = projects["containerd-ts"];
  const required = `
const { connect, ContainerdError } = require("containerd-ts");
module.exports = async () => {
  const client = connect();
  try {
    const { stdout } = await client.run({ rootfs: process.argv[2], args: ["echo", "hello"] });
    console.log(stdout.trim());
    await client.containers.get("none");
  } catch (error) {
    console.log(error instanceof ContainerdError, error.kind);
    throw error;
  } finally {
    client.close();
  }
};`;
  writeFileSync(join(project, "required.cjs"), required);
  writeFileSync(
    join(project, "both.mjs"),
    `
import { ContainerdError } from "containerd-ts";
import * as library from "containerd-ts-client";
import { createRequire } from "node:module";
import fromRequired from "./required.cjs";
await fromRequired().catch((error) => console.log(error instanceof ContainerdError));
const required = createRequire(import.meta.url)("containerd-ts");
const other = Object.keys(required).filter((name) => required[name] !== library[name]);
console.log(Object.keys(required).length > 20, other);
`,
  );
  expect(await output(daemon, project, "both.mjs")).toBe("hello\ntrue not-found\ntrue\ntrue []\n");
  await daemon.expectNothingLeft();
});

/** As TypeScript has it in every format: names of values and of types, and no await at its top. */
const typed = `
import { connect, ContainerdError, type Container, type RunOptions, v0 } from "containerd-ts-client";
async function main(): Promise<void> {
  const client = connect();
  const options: RunOptions = { rootfs: process.argv[2]!, args: ["echo", "hello"] };
  try {
    const { stdout, status } = await client.run(options);
    console.log(stdout.trim(), status);
    const found: Container = await client.containers.get("none");
    console.log(found.id);
  } catch (error) {
    if (!(error instanceof ContainerdError)) throw error;
    console.log(error.kind, error instanceof v0.RunError);
  } finally {
    client.close();
  }
}
void main();
`;
const PRINTED = "hello 0\nnot-found false\n";

describe.skipIf(!full)("every way to compile", () => {
  const strict = {
    ...{ target: "ES2022", types: ["node"], strict: true, exactOptionalPropertyTypes: true, isolatedModules: true },
    skipLibCheck: false,
  };
  const ways = {
    nodenext: { module: "NodeNext" },
    bundler: { module: "ESNext", moduleResolution: "bundler" },
    commonjs: { module: "CommonJS", moduleResolution: "bundler" },
  };

  test.each(Object.entries(ways))("%s, with the strictest checks", async (name, way) => {
    await using daemon = await startDaemon();
    const project = projects["containerd-ts-client"];
    const outDir = `out-${name}`;
    // One as the package.json says, which is a module; one that is a module, one that is none.
    const files = ["js", "mjs", "cjs"].map((ending) => `typed-${name}.${ending.replace("js", "ts")}`);
    for (const file of files) writeFileSync(join(project, file), typed);
    const options = { compilerOptions: { ...strict, ...way, outDir }, files };
    writeFileSync(join(project, `tsconfig.${name}.json`), JSON.stringify(options));
    const compiler = join(repository, "node_modules/typescript/bin/tsc");
    const compiled = await run(process.execPath, [compiler, "-p", `tsconfig.${name}.json`], { cwd: project }).catch(
      (error: { stdout: string }) => error,
    );
    expect(compiled.stdout).toBe("");
    const runnable = name === "nodenext" ? ["js", "mjs", "cjs"] : name === "bundler" ? ["mjs"] : ["cjs"];
    for (const ending of runnable)
      expect(await output(daemon, project, `${outDir}/typed-${name}.${ending}`)).toBe(PRINTED);
    await daemon.expectNothingLeft();
  });
});

describe.skipIf(!full)("in one file, without node_modules", () => {
  const project = projects["containerd-ts-client"];
  const bundles = join(dir, "bundles");
  beforeAll(() => {
    mkdirSync(bundles);
    writeFileSync(join(project, "bundled.ts"), typed);
  });

  async function runs(file: string): Promise<void> {
    await using daemon = await startDaemon();
    expect(await output(daemon, bundles, file)).toBe(PRINTED);
    await daemon.expectNothingLeft();
  }

  const asModule = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`;
  test.each([
    ["cjs", []],
    // Its own dependencies are CommonJS, and esbuild leaves it to a module to have a require.
    ["mjs", ["--format=esm", `--banner:js=${asModule}`]],
  ])("esbuild, as .%s", async (ending, flags) => {
    const file = join(bundles, `esbuild.${ending}`);
    const esbuild = join(repository, "node_modules/.bin/esbuild");
    await run(esbuild, ["bundled.ts", "--bundle", "--platform=node", `--outfile=${file}`, ...flags], { cwd: project });
    await runs(file);
  });

  test("vite, and so rollup", { timeout: 300_000 }, async () => {
    const output = { inlineDynamicImports: true, entryFileNames: "vite.mjs" };
    const config = {
      build: { ssr: "bundled.ts", outDir: bundles, target: "node20", rollupOptions: { output } },
      ssr: { noExternal: true },
    };
    writeFileSync(join(project, "vite.config.mjs"), `export default ${JSON.stringify(config)};`);
    await run(join(repository, "node_modules/.bin/vite"), ["build", "--emptyOutDir", "false"], { cwd: project });
    await runs(join(bundles, "vite.mjs"));
  });
});

test("containerd-ts brings the client library, and a ctr that works", async () => {
  const project = projects["containerd-ts"];
  await using daemon = await startDaemon({ program: join(project, "node_modules/.bin/containerd") });
  const ctr = await run(join(project, "node_modules/.bin/ctr"), ["--address", daemon.listen, "containers"]);
  expect(ctr.stdout).toContain("ID");
  for (const name of [...dependencies("containerd"), "containerd-ts"])
    expect(installed(project, name), name).toBe(true);
});

test("containerd-ts-client brings no program, and nothing that only the programs need", () => {
  const project = projects["containerd-ts-client"];
  const own = dependencies("client");
  const others = dependencies("containerd").filter((name) => ![...own, "containerd-ts-client"].includes(name));
  expect(others).toEqual(expect.arrayContaining(["commander", "lossless-json", "pino", "prom-client"]));
  for (const name of own) expect(installed(project, name), name).toBe(true);
  for (const name of [...others, "containerd-ts"]) expect(installed(project, name), name).toBe(false);
  for (const program of ["containerd", "containerd-shim", "ctr"])
    expect(installed(project, join(".bin", program)), program).toBe(false);
});

test("only what a user needs is in them", async () => {
  const files = async (archive: string) => (await run("tar", ["-tzf", archive])).stdout.trim().split("\n");
  const [client, containerd] = [await files(archives.client), await files(archives.containerd)];
  for (const list of [client, containerd]) {
    expect(
      list.filter((file) => /\/(src|test|node_modules|dist\/(run|shim)|docs\/api)\/|\.(test\.|next$)/.test(file)),
    ).toEqual([]);
    for (const file of ["README.md", "LICENSE", "CHANGELOG.md", "docs/client.md", "examples/hello.ts"])
      expect(list).toContain(`package/${file}`);
  }
  expect(client).toEqual(expect.arrayContaining(["package/dist/client/index.cjs", "package/dist/client/index.d.ts"]));
  expect(client.filter((file) => /\/dist\/(bin|man)\//.test(file))).toEqual([]);
  expect(containerd).toEqual(expect.arrayContaining(["package/dist/bin/containerd-shim", "package/dist/man/ctr.1"]));
  expect(containerd.filter((file) => file.includes("/dist/client/"))).toEqual([]);
});

/** The package as npm installs it: into an empty project, with its daemon, from JavaScript and TypeScript. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon } from "../harness/daemon.js";
import { repository } from "../harness/paths.js";
import { sharedRootfs } from "../harness/rootfs.js";

const run = promisify(execFile);

/** npm's own settings of the run that this test is a part of are not the user's. */
const environment = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(config_|package_|lifecycle_)/.test(name)));

let project: string;
let tarball: string;
beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "ctd-package-"));
  // Packed as it is built; not built again while other tests run it.
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", project], {
    cwd: repository,
    env: environment(),
    maxBuffer: 64 << 20,
  });
  tarball = join(project, JSON.parse(stdout)[0].filename);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], {
    cwd: project,
    env: environment(),
  });
});
afterAll(() => {
  rmSync(project, { recursive: true, force: true });
});

/** The installed package's own daemon and shim. */
const startInstalled = () =>
  startDaemon({
    program: join(project, "node_modules/.bin/containerd"),
    flags: ["--shim", join(project, "node_modules/.bin/containerd-shim")],
  });

const hello = `
import { connect } from "containerd-ts";
await using client = connect();
const { stdout, status } = await client.run({ rootfs: process.argv[2], args: ["echo", "hello"] });
console.log(stdout.trim(), status);
`;

test("hello from JavaScript", async () => {
  await using daemon = await startInstalled();
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
  const ctr = await run(join(project, "node_modules/.bin/ctr"), ["--address", daemon.listen, "containers"]);
  expect(ctr.stdout).toContain("ID");
  await daemon.expectNothingLeft();
});

test("hello from TypeScript, with the strictest checks", async () => {
  await using daemon = await startInstalled();
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

test("only what a user needs is in it", async () => {
  const { stdout } = await run("tar", ["-tzf", tarball]);
  const files = stdout.trim().split("\n");
  expect(files.filter((file) => /\/(src|test|node_modules|dist\/run|docs\/api)\//.test(file))).toEqual([]);
  expect(files).toContain("package/dist/client/index.d.ts");
  expect(JSON.parse(readFileSync(join(project, "node_modules/containerd-ts/package.json"), "utf8")).types).toBe(
    "./dist/client/index.d.ts",
  );
});

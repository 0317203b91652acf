/** The two packages as npm installs them: into an empty project, with a daemon, from JavaScript and TypeScript. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
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
const { stdout, status } = await client.v0.run({ rootfs: process.argv[2], args: ["echo", "hello"] });
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

  test("hello from TypeScript, with the strictest checks", async () => {
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
  expect(client).toEqual(expect.arrayContaining(["package/dist/client/index.js", "package/dist/client/index.d.ts"]));
  expect(client.filter((file) => /\/dist\/(bin|man)\//.test(file))).toEqual([]);
  expect(containerd).toEqual(expect.arrayContaining(["package/dist/bin/containerd-shim", "package/dist/man/ctr.1"]));
  expect(containerd.filter((file) => file.includes("/dist/client/"))).toEqual([]);
});

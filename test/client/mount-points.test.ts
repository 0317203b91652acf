/** Nothing is made in a root file system, or in a folder that is mounted, on the host. */
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { ContainerdError, type v0 } from "../../src/client/index.js";
import { useClient } from "../harness/client.js";
import { sharedRootfs } from "../harness/rootfs.js";

const here = useClient();
let rootfs: string;
let data: string;
beforeAll(async () => {
  rootfs = join(here.daemon.dir, "rootfs");
  cpSync(sharedRootfs(), rootfs, { recursive: true, verbatimSymlinks: true });
  data = join(here.daemon.dir, "data");
  for (const folder of [data, join(data, "there"), join(rootfs, "data"), join(rootfs, "job")]) mkdirSync(folder);
  writeFileSync(join(rootfs, "file"), "");
  symlinkSync("/data", join(rootfs, "link"));
  symlinkSync(join(here.daemon.dir, "data"), join(rootfs, "out"));
});

const run = (options: Partial<v0.RunOptions>) =>
  here.client.v0.run({
    ...here.one(),
    rootfs,
    args: ["pwd"],
    ...options,
  });

const bind = (destination: string) => ({ source: data, destination });

test.each<[string, () => Partial<v0.RunOptions>, string, string]>([
  ["a mount", () => ({ mounts: [bind("/missing/deep")] }), "bad-mount", "/missing/deep"],
  ["a tmpfs", () => ({ mounts: [{ type: "tmpfs", destination: "/missing" }] }), "bad-mount", "/missing"],
  ["a working directory", () => ({ cwd: "/missing" }), "bad-cwd", "/missing"],
  ["with a root that may be written to", () => ({ cwd: "/missing", readOnly: false }), "bad-cwd", "/missing"],
  ["below a file", () => ({ mounts: [bind("/file/x")] }), "bad-mount", "/file/x"],
  ["where a link leads out of the root", () => ({ cwd: "/out" }), "bad-cwd", "/out"],
  [
    "in a mounted folder of the host",
    () => ({ mounts: [bind("/data"), bind("/data/missing")] }),
    "bad-mount",
    "/data/missing",
  ],
  ["a working directory there", () => ({ mounts: [bind("/data")], cwd: "/data/missing" }), "bad-cwd", "/data/missing"],
])("%s that is not there is refused, with its name, and not made", async (_, options, kind, path) => {
  const before = readdirSync(rootfs).toSorted();
  const error = await run(options()).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ContainerdError);
  expect(error).toMatchObject({ kind, message: expect.stringMatching(new RegExp(`^${path}, .* is not there in `)) });
  expect(readdirSync(rootfs).toSorted()).toEqual(before);
  expect(existsSync(join(data, "missing"))).toBe(false);
});

test("what is there is taken: folders, links within the root, what earlier mounts bring", async () => {
  const cases: [Partial<v0.RunOptions>, string][] = [
    [{ cwd: "/job" }, "/job\n"],
    [{ mounts: [bind("/data")], cwd: "/data/there" }, "/data/there\n"],
    [{ mounts: [bind("/link")], cwd: "/data/there" }, "/data/there\n"],
    [{ mounts: [{ type: "tmpfs", destination: "/tmp/x" }], cwd: "/tmp/x" }, "/tmp/x\n"],
    [{ cwd: "/tmp/made/in/memory" }, "/tmp/made/in/memory\n"],
    [{ mounts: [bind("/job")], cwd: "/job/there" }, "/job/there\n"],
  ];
  for (const [options, stdout] of cases) expect(await run(options), JSON.stringify(options)).toMatchObject({ stdout });
});

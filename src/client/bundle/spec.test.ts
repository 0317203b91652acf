import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { environmentList } from "../options/environment.js";
import { toUpdateResource } from "../options/limits.js";
import { createBundle } from "./bundle.js";
import { buildSpec, type SpecOptions } from "./spec.js";

const build = (options: Partial<SpecOptions> = {}) => buildSpec({ rootfs: "/rootfs", args: ["sh"], ...options });

test("little is enough", () => {
  const spec = build();
  expect(spec.root).toEqual({ path: "/rootfs", readonly: true });
  expect(spec.process).toMatchObject({ args: ["sh"], cwd: "/", terminal: false, noNewPrivileges: true });
  expect(spec.process.env).toEqual(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
  expect(spec.linux.namespaces).toContainEqual({ type: "network" });
  expect(spec.linux.resources).toEqual({ devices: [{ allow: false, access: "rwm" }] });
  expect(spec.hostname).toBeUndefined();
});

test("every option", () => {
  const spec = build({
    rootfs: "relative",
    readOnly: false,
    cwd: "/work",
    terminal: true,
    env: { A: "1", B: undefined },
    user: { uid: 1, gid: 2, additionalGids: [3] },
    hostname: "me",
    network: { path: "/run/netns/x" },
    limits: { memory: 1 << 20, cpu: 0.25, pids: 7 },
    capabilities: ["net_raw", "CAP_CHOWN"],
    mounts: [
      { source: "/src", destination: "/dst", readOnly: true },
      { type: "tmpfs", destination: "/t", size: 4096 },
    ],
    noNewPrivileges: false,
    customize: (spec) => {
      spec.annotations = { made: "by hand" };
    },
  });
  expect(spec).toMatchObject({
    root: { path: join(process.cwd(), "relative"), readonly: false },
    hostname: "me",
    annotations: { made: "by hand" },
    process: { cwd: "/work", terminal: true, user: { uid: 1, gid: 2, additionalGids: [3] }, noNewPrivileges: false },
    linux: {
      resources: { memory: { limit: 1 << 20 }, cpu: { quota: 25_000, period: 100_000 }, pids: { limit: 7 } },
    },
  });
  expect(spec.process.env).toEqual([expect.stringMatching(/^PATH=/), "TERM=xterm", "A=1"]);
  expect(spec.process.capabilities.effective).toEqual(["CAP_NET_RAW", "CAP_CHOWN"]);
  expect(spec.linux.namespaces).toContainEqual({ type: "network", path: "/run/netns/x" });
  expect(spec.mounts.slice(-2)).toEqual([
    { destination: "/dst", type: "bind", source: "/src", options: ["rbind", "nosuid", "nodev", "ro"] },
    { destination: "/t", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=1777", "size=4096"] },
  ]);
  expect(build({ network: "host" }).linux.namespaces.map(({ type }) => type)).not.toContain("network");
});

test.each<[Partial<SpecOptions>, string]>([
  [{ rootfs: "" }, 'rootfs must be a path that is not empty, not ""'],
  [{ args: [] }, "args must be a command and its arguments, as a list of texts, not []"],
  [{ cwd: "tmp" }, 'cwd must be an absolute path, not "tmp"'],
  [{ limits: { memory: -1 } }, "limits.memory must be a positive whole number, not -1"],
  [{ limits: { pids: 1.5 } }, "limits.pids must be a positive whole number, not 1.5"],
  [{ limits: { cpu: 0 } }, "limits.cpu must be a number of processors, 0.01 or more, not 0"],
  [{ user: { uid: -1 } }, "user.uid must be a user or group id (0 – 4294967294), not -1"],
  [{ capabilities: ["no such"] }, 'capabilities[0] must be the name of a capability, not "no such"'],
  [{ capabilities: ["KILL", "NET_ADMN"] }, 'capabilities[1] must be the name of a capability, not "NET_ADMN"'],
  [{ network: "bridge" as "host" }, 'network must be "none", "host" or { path }, not "bridge"'],
  [{ network: { path: "x" } }, 'network.path must be an absolute path, not "x"'],
  [{ mounts: [{ source: "/x", destination: "y" }] }, 'mounts[0].destination must be an absolute path, not "y"'],
  [
    { mounts: [{ type: "tmpfs", destination: "/y", size: 0 }] },
    "mounts[0].size must be a positive number of bytes, not 0",
  ],
  [{ env: { "A=B": "" } }, '"A=B" is no name of an environment variable'],
])("refuses %j", (options, message) => {
  expect(() => build(options)).toThrow(message);
});

test("an environment's own PATH and TERM stay", () => {
  expect(environmentList(["PATH=/bin", "TERM=dumb"], true)).toEqual(["PATH=/bin", "TERM=dumb"]);
});

test("limits as UpdateContainer has them; the wire's own fields pass", () => {
  expect(toUpdateResource({ memory: 5, cpu: 2, pids: 3, cpusetCpus: "0" })).toEqual({
    memoryLimit: 5,
    cpuQuota: 200_000,
    cpuPeriod: 100_000,
    pidsLimit: 3,
    cpusetCpus: "0",
  });
  expect(toUpdateResource({})).toEqual({});
});

test("a bundle: private, and gone when it is removed; bad options leave none", async () => {
  const bundleDir = mkdtempSync(join(tmpdir(), "bundle-test-"));
  try {
    {
      await using bundle = await createBundle({ rootfs: "/rootfs", args: ["sh"], bundleDir });
      expect(JSON.parse(readFileSync(join(bundle.path, "config.json"), "utf8"))).toEqual(bundle.spec);
    }
    await expect(createBundle({ rootfs: "/rootfs", args: [], bundleDir })).rejects.toThrow(TypeError);
    expect(readdirSync(bundleDir)).toEqual([]);
  } finally {
    rmSync(bundleDir, { recursive: true });
  }
});

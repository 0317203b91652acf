/** What a user installs: the npm packages, their man pages and systemd units. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { version } from "../../build/version.js";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { npm, npmEnvironment, packPackages } from "../harness/npm.js";
import { findProgram, repository } from "../harness/paths.js";
import { PATIENCE } from "../harness/wait.js";
import { fences } from "./markdown.js";

const dir = mkdtempSync(join(tmpdir(), "ctd-package-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Manifest {
  name: string;
  version: string;
  dependencies: Record<string, string>;
}

/** Of the two packages, in the repository or a copy of it. */
function manifests(root: string): { client: Manifest; containerd: Manifest } {
  const read = (name: string) => JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8"));
  return { client: read("client"), containerd: read("containerd") };
}

/** Every version of a package of ours that is written down: of the two, of the dependency between them, and in the lock file. */
function versions(root: string): string[] {
  const { client, containerd } = manifests(root);
  const locked = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const all: Manifest[] = [client, containerd, locked["packages/client"], locked["packages/containerd"]];
  return all.flatMap(({ version, dependencies }) => [version, dependencies["containerd-ts-client"] ?? []].flat());
}

describe("one version", () => {
  test("both packages have it, and one needs exactly that of the other; what they both depend on, too", () => {
    expect(versions(repository)).toEqual(Array.from({ length: 6 }, () => version()));
    const { client, containerd } = manifests(repository);
    expect(containerd.dependencies).toMatchObject(client.dependencies);
    for (const wanted of Object.values({ ...containerd.dependencies })) expect(wanted).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test("the steps in CONTRIBUTING.md raise it everywhere", () => {
    const copy = join(dir, "release");
    const files = [
      "package.json",
      "package-lock.json",
      "packages/client/package.json",
      "packages/containerd/package.json",
    ];
    for (const file of files) cpSync(join(repository, file), join(copy, file));
    const text = readFileSync(join(repository, "CONTRIBUTING.md"), "utf8");
    const [steps] = fences(text).filter((fence) => fence.text.includes("npm version"));
    const [, next] = /^version=(\S+)$/m.exec(steps!.text)!;
    expect(next).not.toBe(version());
    execFileSync("bash", ["-ec", steps!.text], { cwd: copy, env: npmEnvironment(), stdio: "pipe" });
    expect(versions(copy)).toEqual(Array.from({ length: 6 }, () => next));
  }, 120_000);
});

describe("dependencies", () => {
  /** The packages that programs import. */
  async function imported(...entryPoints: string[]): Promise<string[]> {
    const { metafile, outputFiles } = await build({
      entryPoints: entryPoints.map((file) => join(repository, file)),
      outdir: dir,
      bundle: true,
      packages: "external",
      platform: "node",
      format: "esm",
      metafile: true,
      write: false,
    });
    const names = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
    // What is loaded at its first use.
    for (const { text } of outputFiles)
      names.push(...[...text.matchAll(/\bcreateRequire\(import\.meta\.url\)\("([^"]+)"\)/g)].map(([, name]) => name!));
    const packages = names.filter((name) => !name.startsWith("node:"));
    return [...new Set(packages.map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)![0]))].sort();
  }

  test("of the client library: what it imports, and nothing else", async () => {
    expect(Object.keys(manifests(repository).client.dependencies).sort()).toEqual(
      await imported("src/client/index.ts"),
    );
  });

  test("of the programs: what they import, and the client library", async () => {
    expect(Object.keys(manifests(repository).containerd.dependencies).sort()).toEqual(
      [...(await imported("src/daemon/main.ts", "src/ctr/main.ts")), "containerd-ts-client"].sort(),
    );
  });
});

describe("npm pack, npm install --global", () => {
  const prefix = join(dir, "prefix");
  const program = (name: string) => join(prefix, "bin", name);

  beforeAll(async () => {
    const { client, containerd } = await packPackages(dir);
    await npm(dir, "install", "--ignore-scripts", "--global", "--prefix", prefix, client, containerd);
  }, 300_000);

  test("the three commands are there, and say who they are", () => {
    const output = (name: string, ...args: string[]) => execFileSync(program(name), args, { encoding: "utf8" });
    expect(output("containerd", "--version")).toBe(`containerd version ${version()}\n`);
    expect(output("ctr", "--version")).toBe(`ctr version ${version()}\n`);
    const shim = spawnSync(program("containerd-shim"), [], { encoding: "utf8", cwd: dir });
    expect(shim.error).toBeUndefined();
    expect(shim.status).not.toBe(127);
  });

  test("a container runs with nothing but what was installed", async () => {
    await using daemon = await startDaemon({
      program: program("containerd"),
      flags: ["--shim", program("containerd-shim")],
    });
    const bundle = daemon.bundle("hello", { args: ["echo", "hello from the package"] });
    const ctr = spawnSync(
      program("ctr"),
      ["--address", daemon.listen, "containers", "start", "--attach", daemon.id("hello"), bundle],
      { encoding: "utf8", timeout: PATIENCE },
    );
    expect(ctr).toMatchObject({ status: 0, stdout: "hello from the package\n", stderr: "" });
    await daemon.expectNothingLeft();
  });

  test("man pages, units and nothing of the tests", () => {
    for (const page of ["man8/containerd.8", "man8/containerd-shim.8", "man1/ctr.1"])
      expect(existsSync(join(prefix, "share/man", page)), page).toBe(true);
    const root = join(prefix, "lib/node_modules/containerd-ts");
    expect(existsSync(join(root, "packaging/systemd/containerd.service"))).toBe(true);
    for (const name of ["test", "src", "bench", "dist/run"]) expect(existsSync(join(root, name)), name).toBe(false);
  });
});

describe.skipIf(!findProgram("man"))("man pages", () => {
  const pages: [string, string[]][] = [
    [
      "containerd.8",
      ["NAME", "SYNOPSIS", "OPTIONS", "--listen", "--metrics-address", "--graphite-address", "SIGUSR1", "default: 5m"],
    ],
    ["containerd-shim.8", ["NAME", "SYNOPSIS", "<id> <bundle> <runtime>", "exitStatus"]],
    ["ctr.1", ["NAME", "SYNOPSIS", "--address", "ctr containers start", "--attach", "ctr events"]],
  ];
  test.each(pages)("man -l %s shows it, without a warning", (page, texts) => {
    const { status, stdout, stderr } = spawnSync("man", ["--warnings", "-l", join(repository, "dist/man", page)], {
      encoding: "utf8",
      env: { PATH: process.env.PATH, MANWIDTH: "120", MAN_KEEP_FORMATTING: "", LC_ALL: "C.UTF-8" },
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    for (const text of texts) expect(stdout.replace(/\s+/g, " ")).toContain(text);
  });
});

const unprivileged = join(repository, "packaging/systemd/unprivileged-containers.conf");

test("containers run without the capabilities that the drop-in takes and without core dumps; one with all of them does not", async () => {
  const taken = [...readFileSync(unprivileged, "utf8").matchAll(/\bCAP_(\w+)/g)].map(([, name]) => name!.toLowerCase());
  expect(taken.length).toBeGreaterThan(10);
  const restricted = ["setpriv", `--bounding-set=${taken.map((name) => `-${name}`).join(",")}`];
  await using daemon = await startDaemon({ wrapper: ["prlimit", "--core=0:unlimited", ...restricted] });
  expect(readFileSync(`/proc/${daemon.pid}/limits`, "utf8")).toMatch(/^Max core file size +0 +unlimited/m);
  const start = (name: string, names?: string[]) =>
    startContainer(daemon, {
      name,
      args: ["sh", "-c", "ulimit -c; sleep 1000"],
      stdio: true,
      spec: (spec) => {
        spec.process.rlimits.push({ type: "RLIMIT_CORE", hard: 1 << 20, soft: 1 << 20 });
        if (names) spec.process.capabilities = { bounding: names, effective: names, permitted: names };
      },
    });
  await using container = await start("usual");
  // In blocks of 512 bytes.
  await container.printed("2048\n");
  using exec = await startExec(daemon, container, { pid: "exec", args: ["sh", "-c", "exit 3"] });
  expect(await exec.exit()).toBe(3);
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  await container.kill();
  await container.exit();
  await expect(start("privileged", ["CAP_SYS_MODULE"])).rejects.toThrow("operation not permitted");
  await daemon.expectNothingLeft();
});

describe.skipIf(!findProgram("systemd-analyze"))("systemd units", () => {
  const system = "/usr/lib/systemd/system";

  /** A root directory with systemd's own units and ours, as after an installation. */
  function install(name: string, ...files: string[]): string {
    const root = join(dir, name);
    cpSync(system, join(root, system), { recursive: true, verbatimSymlinks: true });
    for (const file of files)
      cpSync(join(repository, "packaging/systemd", file), join(root, "etc/systemd/system", file), { recursive: true });
    mkdirSync(join(root, "usr/local/bin"), { recursive: true });
    writeFileSync(join(root, "usr/local/bin/containerd"), "#!/bin/sh\n", { mode: 0o755 });
    return root;
  }

  function verify(root: string, ...units: string[]) {
    const { status, stdout, stderr } = spawnSync(
      "systemd-analyze",
      ["verify", "--man=no", `--root=${root}`, ...units],
      {
        encoding: "utf8",
      },
    );
    return { status, output: stdout + stderr };
  }

  const silent = { status: 0, output: "" };

  test("the service: nothing to complain about", () => {
    expect(verify(install("service", "containerd.service"), "containerd.service")).toEqual(silent);
  });

  test("with socket activation: nothing to complain about", () => {
    const root = install("socket", "containerd.service", "containerd.socket", "containerd.service.d");
    expect(verify(root, "containerd.service", "containerd.socket")).toEqual(silent);
  });

  /** What `systemd-analyze security` has to say against the service: its total, and the names of its points. */
  function exposure(root: string): { total: number; points: string[] } {
    const output = execFileSync(
      "systemd-analyze",
      ["security", "--offline=yes", "--no-pager", `--root=${root}`, "containerd.service"],
      { encoding: "utf8" },
    );
    const points = output.split("\n").flatMap((line) => /^✗ (\S+)/.exec(line)?.[1] ?? []);
    return { total: Number(/Overall exposure level for containerd.service: ([\d.]+)/.exec(output)?.[1]), points };
  }

  test("the service: what can be taken from it without taking it from containers; the drop-in: what only privileged ones have", () => {
    const plain = exposure(install("exposed", "containerd.service"));
    expect(plain.points).not.toContain("UMask=");
    expect(plain.points).toContain("CapabilityBoundingSet=~CAP_SYS_MODULE");
    const root = install("less-exposed", "containerd.service");
    cpSync(unprivileged, join(root, "etc/systemd/system/containerd.service.d/unprivileged-containers.conf"));
    expect(verify(root, "containerd.service")).toEqual(silent);
    const restricted = exposure(root);
    expect(restricted.points).not.toContain("CapabilityBoundingSet=~CAP_SYS_MODULE");
    expect(restricted.total).toBeLessThan(plain.total);
  });

  test("systemd-analyze does look at them", () => {
    const root = install("broken", "containerd.service", "containerd.socket", "containerd.service.d");
    const dropIn = join(root, "etc/systemd/system/containerd.service.d/socket-activation.conf");
    writeFileSync(dropIn, readFileSync(dropIn, "utf8").replace("ExecStart=\n", ""));
    expect(verify(root, "containerd.service").output).toContain("more than one ExecStart");
  });

  test("stopping the service stops the daemon only", () => {
    const unit = readFileSync(join(repository, "packaging/systemd/containerd.service"), "utf8");
    for (const line of ["Type=notify", "Delegate=yes", "KillMode=process", "OOMScoreAdjust=-999", "Restart=always"])
      expect(unit.split("\n")).toContain(line);
  });
});

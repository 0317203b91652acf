/**
 * What another user of the machine finds of ours: nothing that they may open, whatever umask the daemon and its clients were started with.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, lstatSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { asNobody, modes } from "../harness/modes.js";
import { repository, unpackedProgram } from "../harness/paths.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

/** A command as the daemon's, with this umask. */
const withUmask = (umask: string) => ["sh", "-c", `umask ${umask}; exec "$@"`, "sh"];

const SECRET = "PASSWORD=secret-of-a-container";

/** What a process directory holds while its process runs. */
const PROCESS_FILES = {
  ".": "d700",
  control: "p600",
  exit: "p600",
  "exitStatus.reserved": "-600",
  "log.json": "-600",
  // By the runtime, and no secret.
  pid: "-644",
  "process.json": "-600",
  shim: "-600",
  "shim-log.json": "-600",
  started: "-600",
  starttime: "-600",
};

/** {@link modes} of several directories in one. */
function below(directories: Record<string, Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(directories).flatMap(([directory, files]) =>
      Object.entries(files).map(([name, mode]) => [name === "." ? directory : join(directory, name), mode]),
    ),
  );
}

/** What somebody else than its owner may do something with. */
const openToOthers = (found: Record<string, string>) =>
  Object.entries(found).filter(([, mode]) => !mode.endsWith("00"));

/** Whether somebody else gets to a file of a daemon's, also when all above the state directory is open to them. */
function canRead(daemon: TestDaemon, path: string): boolean {
  chmodSync(daemon.dir, 0o755);
  return asNobody('cat "$1"', path).succeeded;
}

describe.each(["0", "022", "077"])("a daemon with umask %s", (umask) => {
  test("each path and its mode, while containers run and over a restart", async () => {
    await using daemon = await startDaemon({ wrapper: withUmask(umask) });
    await using container = await startContainer(daemon, {
      name: "running",
      args: ["sleep", "1000"],
      env: [SECRET],
      stdio: true,
    });
    await using old = await startContainer(daemon, { name: "old", args: ["sleep", "1000"], oldFormat: true });
    await using terminal = await startContainer(daemon, {
      name: "terminal",
      args: ["sleep", "1000"],
      terminal: true,
      stdio: true,
    });
    using _exec = await startExec(daemon, container, { pid: "exec", args: ["sleep", "1000"], stdio: true });
    const containerFiles = { ".": "d700", "state.json": "-600", "cgroup.json": "-600" };
    const expected = {
      ".": "d700",
      "events.log": "-600",
      ...below({
        [container.id]: containerFiles,
        [`${container.id}/init`]: PROCESS_FILES,
        [`${container.id}/exec`]: PROCESS_FILES,
        [old.id]: containerFiles,
        [`${old.id}/init`]: { ...PROCESS_FILES, "config.json": "-600" },
        [terminal.id]: containerFiles,
        [`${terminal.id}/init`]: PROCESS_FILES,
      }),
    };
    expect(modes(daemon.stateDir)).toEqual(expected);
    expect(canRead(daemon, join(daemon.stateDir, container.id, "init/process.json"))).toBe(false);
    await daemon.restart({ kill: true });
    expect(modes(daemon.stateDir)).toEqual(expected);
    for (const each of [container, old, terminal]) {
      await each.kill();
      await each.exit();
    }
    expect(modes(daemon.stateDir)).toEqual({ ".": "d700", "events.log": "-600" });
  });

  test("containers, and what is run in them, don't get it, nor the daemon's own", async () => {
    await using daemon = await startDaemon({ wrapper: withUmask(umask) });
    await using container = await startContainer(daemon, {
      name: "umask",
      args: ["sh", "-c", "umask; ls -ld /made/for/this; exec sleep 1000"],
      stdio: true,
      ownRootfs: true,
      spec: (spec) => {
        spec.mounts.push({ destination: "/made/for/this", type: "tmpfs", source: "tmpfs" });
      },
    });
    await container.printed("0022\n");
    using exec = await startExec(daemon, container, { pid: "exec", args: ["sh", "-c", "umask"], stdio: true });
    expect((await exec.output()).stdout).toBe("0022\n");
    // What the runtime makes in a root file system is the container's, whose users may be others than root.
    expect(modes(join(container.bundle, "rootfs/made"))).toEqual({ ".": "d755", for: "d755", "for/this": "d755" });
    await container.kill();
    await container.exit();
  });
});

test("while a start is under way", async () => {
  await using daemon = await startDaemon({ wrapper: withUmask("0") });
  const runtime = wrapRuntime(daemon.dir, "hanging", "create", { kind: "hang" });
  runtime.on();
  const id = daemon.id("hanging");
  const abort = new AbortController();
  const start = daemon.api.createContainer(
    { id, bundlePath: daemon.bundle("hanging", { args: ["true"], env: [SECRET] }), runtime: runtime.path },
    { signal: abort.signal },
  );
  start.catch(() => {});
  const log = `${id}/init/log.json`;
  const found = await eventually(() => (log in modes(daemon.stateDir) ? modes(daemon.stateDir) : undefined));
  expect(found).toMatchObject({ [id]: "d700", [`${id}/init`]: "d700", [log]: "-600" });
  expect(openToOthers(found)).toEqual([]);
  abort.abort();
  await expect(start).rejects.toThrow();
  await daemon.expectNothingLeft();
});

describe("taken over from a daemon that leaves everything open, as containerd 0.2 in Go does", () => {
  /** As Go makes them with the usual umask: FIFOs 0755. */
  function open(directory: string): void {
    chmodSync(directory, 0o755);
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) open(path);
      else chmodSync(path, entry.isFIFO() ? 0o755 : 0o644);
    }
  }

  test("it is closed, and the container goes on", async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, {
      name: "go",
      args: ["sh", "-c", "read line; echo $line"],
      env: [SECRET],
      stdio: true,
    });
    await daemon.kill();
    open(daemon.stateDir);
    const path = join(daemon.stateDir, container.id, "init/process.json");
    expect(canRead(daemon, path)).toBe(true);
    await daemon.start();
    expect(canRead(daemon, path)).toBe(false);
    expect(openToOthers(modes(daemon.stateDir))).toEqual([]);
    container.stdio.stdin.write("hello\n");
    expect((await container.output()).stdout.toString()).toBe("hello\n");
    expect(await container.exit()).toBe(0);
  });
});

describe.skipIf(!unpackedProgram("criu"))("a checkpoint", () => {
  test("holds a container's memory: nobody else may enter its directory, nor read its files", async () => {
    await using daemon = await startDaemon({ wrapper: withUmask("0") });
    await using container = await startContainer(daemon, { name: "saved", args: ["sleep", "1000"], env: [SECRET] });
    await daemon.api.createCheckpoint({ id: container.id, checkpoint: { name: "one" }, checkpointDir: "" });
    const found = modes(join(container.bundle, "checkpoints"));
    expect(found).toMatchObject({ ".": "d700", one: "d700", "one/config.json": "-600", "one/criu.work": "d700" });
    const images = Object.keys(found).filter((name) => name.endsWith(".img"));
    expect(images.length).toBeGreaterThan(5);
    for (const path of [daemon.dir, join(daemon.dir, "bundles"), container.bundle]) chmodSync(path, 0o755);
    expect(asNobody('cat "$1"', join(container.bundle, "checkpoints/one", images[0]!)).succeeded).toBe(false);
    await container.kill();
    await container.exit();
  });
});

describe("the client library with umask 0", () => {
  test("bundles and FIFOs are the user's alone", () => {
    const script = `
      import { createBundle, createStdio } from ${JSON.stringify(join(repository, "dist/client/index.cjs"))};
      import { execFileSync } from "node:child_process";
      const bundle = await createBundle({ rootfs: "/", args: ["true"], env: { PASSWORD: "secret" } });
      const stdio = createStdio();
      const directory = stdio.paths.stdin.replace(/.stdin$/, "");
      console.log(execFileSync("find", [bundle.path, directory, "-printf", "%y%m %f\\n"], { encoding: "utf8" }));
      stdio.close();
      await bundle.remove();
    `;
    const output = execFileSync(
      "sh",
      ["-c", 'umask 0; exec "$@"', "sh", process.execPath, "--input-type=module", "-e", script],
      { encoding: "utf8" },
    );
    const lines = output.trim().split("\n").sort();
    expect(lines.map((line) => line.replace(/ctr-.*/, "ctr-"))).toEqual([
      "d700 ctr-",
      "d700 ctr-",
      "f600 config.json",
      "p600 stderr",
      "p600 stdin",
      "p600 stdout",
    ]);
  });
});

describe("what containers must get to all the same", () => {
  test.each([
    ["today's format", false],
    ["the format of before runtime-spec 1.0, which is translated", true],
  ])("a container whose root is another user of the machine: %s", async (name, oldFormat) => {
    await using daemon = await startDaemon();
    const mapping = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    await using container = await startContainer(daemon, {
      name: oldFormat ? "mapped-old" : "mapped",
      args: ["sh", "-c", "id -u; read line; echo $line; echo $line >&2"],
      stdio: true,
      oldFormat,
      ownRootfs: true,
      spec: (spec) => {
        // The root file system has to be within that user's reach, but nothing of the daemon's.
        chmodSync(daemon.dir, 0o755);
        spec.linux.namespaces.push({ type: "user" });
        spec.linux.uidMappings = mapping;
        spec.linux.gidMappings = mapping;
        // Only the host's root may mount it anew.
        spec.mounts = spec.mounts.filter(({ type }) => type !== "sysfs");
        for (const mount of spec.mounts) mount.options = mount.options?.filter((option) => option !== "gid=5") ?? [];
      },
    });
    await container.printed("0\n");
    const [init] = (await daemon.api.state({ id: container.id })).containers[0]!.processes;
    expect(lstatSync(`/proc/${init!.systemPid}`).uid).toBe(100_000);
    using exec = await startExec(daemon, container, { pid: "exec", args: ["id", "-u"], stdio: true });
    expect((await exec.output()).stdout).toBe("0\n");
    container.stdio.stdin.write(`${name}\n`);
    const { stdout, stderr } = await container.output();
    expect(stdout.toString()).toBe(`0\n${name}\n`);
    expect(stderr.toString()).toBe(`${name}\n`);
    expect(await container.exit()).toBe(0);
  });
});

test("the log of events is closed when it was open", async () => {
  await using daemon = await startDaemon();
  await daemon.stop();
  const path = join(daemon.stateDir, "events.log");
  writeFileSync(path, "");
  chmodSync(path, 0o666);
  await daemon.start();
  expect(modes(path)).toEqual({ ".": "-600" });
});

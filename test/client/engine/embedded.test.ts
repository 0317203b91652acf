/** `embedded`: a daemon of the program's own, with what it promises of programs that die and programs that share it. */
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Embedded, embedded } from "../../../src/client/index.js";
import { TestDaemon } from "../../harness/daemon.js";
import { daemonProgram, shimProgram } from "../../harness/paths.js";
import { isRunning, kill, processes } from "../../harness/processes.js";
import { sharedRootfs } from "../../harness/rootfs.js";
import { eventually } from "../../harness/wait.js";
import { startProgram } from "../typescript-program.js";

const image = "base:1";
/** Never started: gives directories, and removes everything at the end. */
let place: TestDaemon;
let directories: { root: string; state: string };
beforeEach(() => {
  place = new TestDaemon({});
  chmodSync(place.dir, 0o711);
  directories = { root: join(place.dir, "root"), state: join(place.dir, "state") };
});
afterEach(async () => {
  for (const { pid, command } of processes())
    if (command.includes(`${directories.state}/`) && command.includes("--run-dir")) kill(pid);
  await place[Symbol.asyncDispose]();
});

const programs = { program: [process.execPath, daemonProgram], shim: shimProgram };
const start = (more = {}): Promise<Embedded> => embedded({ ...directories, ...programs, ...more });

async function importImage({ client }: Embedded): Promise<void> {
  const tar = spawn("tar", ["-C", sharedRootfs(), "-c", "."]);
  await client.images.import(tar.stdout, { rootfs: true, name: image });
}

test("run and containers with their defaults; what is in its directories is closed to others", async () => {
  // What a daemon of an earlier version has made.
  mkdirSync(directories.state, { mode: 0o700 });
  await using daemon = await start();
  await importImage(daemon);
  const result = await daemon.client.run({ image, pull: "never", args: ["cat", "/proc/self/uid_map"] });
  expect(result.status).toBe(0);
  // User namespaces: its root is somebody else on the host.
  expect(result.stdout.trim().split(/\s+/)[1]).not.toBe("0");
  const mode = (path: string) => statSync(join(directories.state, path)).mode & 0o777;
  expect(mode(".")).toBe(0o711);
  expect(mode("docker-containerd.sock") & 0o007).toBe(0);
  for (const path of ["docker-containerd.pid", "docker-containerd.starttime"]) expect(mode(path)).toBe(0o600);
  for (const path of ["containerd", "run"]) expect(mode(path) & 0o006, path).toBe(0);
  await daemon.client.images.prune({ all: true });
});

test("a directory above that is closed to others is named", async () => {
  const closed = join(place.dir, "closed");
  mkdirSync(closed);
  chmodSync(closed, 0o700);
  await using daemon = await start({ state: join(closed, "state") });
  await importImage(daemon);
  const failed = daemon.client.run({ image, pull: "never", args: ["true"] });
  await expect(failed).rejects.toThrow(`${closed} is closed to others: chmod o+x ${closed}, or start the daemon`);
  expect(await daemon.client.containers.list()).toEqual([]);
  await daemon.client.images.prune({ all: true });
});

test("a program that is killed: the next one finds its container, and a second one shares the daemon", async () => {
  {
    await using daemon = await start();
    await importImage(daemon);
  }
  const options = JSON.stringify({ ...directories, ...programs });
  const script = `
    import { embedded } from "containerd-ts";
    const daemon = await embedded(${options});
    await daemon.client.containers.start({ image: "${image}", name: "web", args: ["sleep", "1000"] });
    console.log("daemon", daemon.pid, "runs");`;
  using program = await startProgram(place, { script });
  await program.printed("runs");
  {
    // One that shares the daemon of another, and lets go of it.
    await using second = await start();
    expect(second.adopted).toBe(true);
    expect(await (await second.client.containers.get("web")).state()).toBe("running");
  }
  program.child.kill("SIGKILL");
  const pid = Number(/daemon (\d+)/.exec((await program.result).stdout)![1]);
  await eventually(() => !isRunning(pid));
  await using next = await start();
  expect(next.adopted).toBe(false);
  const container = await next.client.containers.get("web");
  expect(await container.state()).toBe("running");
  await container.remove({ force: true });
  expect(await next.client.containers.list()).toEqual([]);
  await next.client.images.prune({ all: true });
});

import { chmodSync, existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Embedded, embedded } from "../../../src/client/index.js";
import { importRootfs } from "../../harness/client.js";
import { TestDaemon } from "../../harness/daemon.js";
import { full } from "../../harness/extent.js";
import { daemonProgram, shimProgram } from "../../harness/paths.js";
import { isRunning, kill, processes } from "../../harness/processes.js";
import { eventually, sleep } from "../../harness/wait.js";
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
    if (command.includes(`${place.dir}/`) && command.includes("--run-dir")) kill(pid);
  await place[Symbol.asyncDispose]();
});

const programs = { program: [process.execPath, daemonProgram], shim: shimProgram };
const start = (more = {}): Promise<Embedded> => embedded({ ...directories, ...programs, ...more });

async function importImage({ client }: Embedded): Promise<void> {
  await importRootfs(client, image);
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

describe("stopWithLast", () => {
  /** Nobody waits for longer than needed. */
  const shared = (more = {}): Promise<Embedded> =>
    start({ stopWithLast: true, args: ["--stop-when-unused", "1s"], ...more });

  test("two programs share a daemon: it outlives the one that has started it, and goes with the last, which is killed", async () => {
    const first = await shared();
    const { pid } = first;
    const options = JSON.stringify({ ...directories, ...programs, stopWithLast: true });
    const script = `
      import { embedded } from "containerd-ts";
      const daemon = await embedded(${options});
      console.log("shares", daemon.adopted, daemon.pid);`;
    using program = await startProgram(place, { script });
    await program.printed(`shares true ${pid}`);
    await first.close();
    {
      // One that has not asked for it counts all the same, and does not stop it.
      await using third = await start();
      expect([third.adopted, third.pid]).toEqual([true, pid]);
      expect(await third.client.containers.list()).toEqual([]);
    }
    expect(isRunning(pid)).toBe(true);
    program.child.kill("SIGKILL");
    await program.result;
    await eventually(() => !isRunning(pid), { what: "the end of the daemon" });
  });

  test.skipIf(!full)("its starter is killed: the other one goes on with the same daemon", async () => {
    const options = JSON.stringify({ ...directories, ...programs, stopWithLast: true });
    const script = `
      import { embedded } from "containerd-ts";
      const daemon = await embedded(${options});
      console.log("daemon", daemon.pid, "is there");`;
    using program = await startProgram(place, { script });
    await program.printed("is there");
    await using second = await shared();
    program.child.kill("SIGKILL");
    const pid = Number(/daemon (\d+)/.exec((await program.result).stdout)![1]);
    expect(await second.client.containers.list()).toEqual([]);
    expect([second.adopted, second.pid, isRunning(pid)]).toEqual([true, pid, true]);
  });

  test.skipIf(!full)("it stays for a container that was started to stay, until that has ended", async () => {
    const first = await shared();
    const { pid } = first;
    await importImage(first);
    const { id } = await first.client.containers.start({ image, name: "web", args: ["sleep", "1000"] });
    await first.close();
    // One beside it that nothing keeps has ended: so would this one have by now.
    const other = join(place.dir, "other");
    const beside = await shared({ root: join(other, "root"), state: join(other, "state") });
    await beside.close();
    await eventually(() => !isRunning(beside.pid), { what: "the end of the daemon beside it" });
    const next = await shared();
    expect([next.adopted, next.pid]).toEqual([true, pid]);
    await (await next.client.containers.get(id)).remove({ force: true });
    await next.client.images.prune({ all: true });
    await next.close();
    await eventually(() => !isRunning(pid), { what: "the end of the daemon" });
  });

  test.skipIf(!full)("one that comes while it ends has a daemon that stays", async () => {
    const first = await shared();
    await first.close();
    const socket = join(directories.state, "docker-containerd.sock");
    // It has let go of the socket, and not yet of its directories.
    await eventually(() => !existsSync(socket), { interval: 1, what: "the end of the daemon" });
    await using next = await shared();
    expect(await next.client.containers.list()).toEqual([]);
    expect(isRunning(next.pid)).toBe(true);
    expect(next.pid).not.toBe(first.pid);
  });

  test.skipIf(!full)("programs that start at the same time share one daemon", async () => {
    const all = await Promise.all([shared(), shared(), shared()]);
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(1);
    await Promise.all(all.map((each) => each.close()));
    await eventually(() => !isRunning(all[0]!.pid), { what: "the end of the daemon" });
  });

  test.skipIf(!full)(
    "programs that are killed at any moment while they start one leave none that the next does not find",
    async () => {
      const options = JSON.stringify({ ...directories, ...programs, stopWithLast: true });
      const script = `
      import { embedded } from "containerd-ts";
      console.log("begins");
      await embedded(${options});
      console.log("is there");`;
      for (let ms = 0; ms < 600; ms += 40) {
        using program = await startProgram(place, { script });
        await program.printed("begins");
        await Promise.race([sleep(ms), program.printed("is there")]);
        program.child.kill("SIGKILL");
        await program.result;
      }
      const next = await shared();
      const running = processes().filter(
        ({ command }) => command.includes(`${place.dir}/`) && command.includes("--run-dir"),
      );
      expect(running.map(({ pid }) => pid)).toEqual([next.pid]);
      expect(await next.client.containers.list()).toEqual([]);
      await next.close();
      await eventually(() => !isRunning(next.pid), { what: "the end of the daemon" });
    },
  );
});

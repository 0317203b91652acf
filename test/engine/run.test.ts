/** Containers of images and of directories, by the engine's service: from their creation to their removal. */
import { chmodSync, readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { importImage, runToEnd } from "../harness/engine.js";
import type { ApiV1 } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;
let api: ApiV1;

beforeAll(async () => {
  daemon = fixture.daemon as TestDaemon;
  api = daemon.v1();
  // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
  chmodSync(daemon.dir, 0o711);
  await importImage(daemon);
});

test("an image's program runs, and says what it has to say", async () => {
  const { stdout, stderr, exit } = await runToEnd(daemon, ["sh", "-c", "echo out; echo err >&2; exit 3"]);
  expect({ stdout, stderr, status: exit.status }).toEqual({ stdout: "out\n", stderr: "err\n", status: 3 });
  expect(exit.usage?.memoryPeak).toBeGreaterThan(0n);
  expect(exit.usage?.cpuTime).toBeGreaterThan(0n);
  expect((await api.engine.list()).containers).toEqual([]);
  expect((await api.tasks.list()).tasks).toEqual([]);
  // The disk of what belongs to a program is not waited for.
  await eventually(async () => expect((await api.containers.list()).containers).toEqual([]));
});

test("without a layer of its own nothing of the image can be changed", async () => {
  const { stderr, exit } = await runToEnd(daemon, ["sh", "-c", "touch /etc/x"]);
  expect(stderr).toContain("Read-only file system");
  expect(exit.status).toBe(1);
});

test("with ids of its own its root is nobody on the host, and its files are its own", async () => {
  const config = { userns: "auto", writable: true };
  const { stdout, exit } = await runToEnd(
    daemon,
    ["sh", "-c", "id -u; stat -c %u /bin/busybox; touch /x; cat /proc/self/uid_map"],
    config,
  );
  expect(exit.status).toBe(0);
  const [uid, owner, map = ""] = stdout.split("\n");
  expect([uid, owner]).toEqual(["0", "0"]);
  expect(map.trim().split(/\s+/)[0]).toBe("0");
  expect(Number(map.trim().split(/\s+/)[1])).toBeGreaterThan(100_000);
  const { stderr } = await runToEnd(daemon, ["touch", "/x"], { userns: "auto" });
  expect(stderr).toContain("Read-only file system");
});

test("names of users and groups are those of the image; an exec may be of another", async () => {
  const { stdout } = await runToEnd(daemon, ["id"], { user: "web", groupAdd: ["0"] });
  expect(stdout).toContain("uid=1001(web) gid=1002(web)");
  expect(stdout).toContain("1003(extra)");
});

test("a daemon that ends right after runs with layers of their own leaves nothing mounted", async () => {
  const runs = Array.from({ length: 6 }, () => runToEnd(daemon, ["true"], { writable: true }));
  expect((await Promise.all(runs)).map(({ exit }) => exit.status)).toEqual([0, 0, 0, 0, 0, 0]);
  await daemon.stop();
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  expect(mounts.filter((line) => line.includes(` ${daemon.dir}/`))).toEqual([]);
  await daemon.start();
});

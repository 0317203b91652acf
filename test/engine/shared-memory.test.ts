/** Containers that share an IPC namespace share /dev/shm; it is gone with the one that has it. */
import { chmodSync, readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, runToEnd, texts } from "../harness/engine.js";
import { cases, full } from "../harness/extent.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  chmodSync(daemon.dir, 0o711);
  await importImage(daemon);
});

const SHARED = { ipc: "shareable", shmSize: 8n << 20n };

async function running(config: Config, script = "exec sleep 1000"): Promise<string> {
  const id = newId(daemon);
  const create = requestFor({ id, config: { args: texts("sh", "-c", script), ...config } });
  await daemon.v1().engine.run({ create, stdio: NO_STDIO });
  return id;
}

const inContainerOf = async (id: string, script: string) =>
  (await runToEnd(daemon, ["sh", "-c", script], { ipc: `container:${id}` })).stdout;

const remove = (id: string) => daemon.v1().engine.remove({ id, force: true });

function mounted(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(daemon.dir) && line.includes("/shm "));
}

const WAYS: { what: string; config: Config }[] = [
  { what: "an image", config: {} },
  { what: "ids of its own", config: { userns: "auto" } },
  { what: "a directory of the host", config: { rootfs: sharedRootfs(), readOnly: true } },
];

test.each(cases(WAYS))(
  "with $what: who joins sees the same files, and so does who joins that one",
  async ({ config }) => {
    const first = await running(
      { ...SHARED, ...config },
      "echo first > /dev/shm/file; chmod 666 /dev/shm/file; exec sleep 1000",
    );
    await eventually(async () =>
      expect(await inContainerOf(first, "cat /dev/shm/file; df -k /dev/shm | tail -n1 | awk '{print $2}'")).toBe(
        "first\n8192\n",
      ),
    );
    const second = await running({ ipc: `container:${first}` });
    expect(await inContainerOf(second, "cat /dev/shm/file; echo third > /dev/shm/file")).toBe("first\n");
    expect(await inContainerOf(first, "cat /dev/shm/file")).toBe("third\n");
    const { stdout } = await runToEnd(daemon, ["ls", "/dev/shm"]);
    expect(stdout).toBe("");
    expect(mounted().length).toBe(1);
    await remove(first);
    expect(mounted()).toEqual([]);
    await remove(second);
  },
);

test.skipIf(!full)("a restart has a new one, and so it is after a daemon was killed; nothing of it stays", async () => {
  const id = await running(
    { ...SHARED, writable: true },
    "echo $(ls /dev/shm | wc -l) >> /runs; touch /dev/shm/x; exec sleep 1000",
  );
  await daemon.kill();
  await daemon.start();
  await eventually(async () => expect(await inContainerOf(id, "ls /dev/shm")).toBe("x\n"));
  const { engine } = daemon.v1();
  await engine.restart({ id, grace: 0n, stdio: NO_STDIO });
  await eventually(async () => expect(await inContainerOf(id, "ls /dev/shm")).toBe("x\n"));
  const { pid } = await engine.get({ id });
  expect(readFileSync(`/proc/${pid}/root/runs`, "utf8")).toBe("0\n0\n");
  await daemon.kill();
  process.kill(pid, "SIGKILL");
  await daemon.start();
  expect((await daemon.v1().engine.wait({ id })).status).toBe(137);
  await eventually(() => expect(mounted()).toEqual([]));
  expect(
    await refusal(
      daemon
        .v1()
        .engine.create(requestFor({ id: newId(daemon), config: { ipc: `container:${id}`, args: texts("true") } })),
    ),
  ).toMatch(/FAILED_PRECONDITION: .*does not run/);
  await remove(id);
});

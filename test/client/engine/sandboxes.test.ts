/** Sandboxes: kept ready, given out once each, with a time to live, and gone afterwards. */
import { spawn } from "node:child_process";
import { chmodSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PoolOptions, RunError, type Sandbox } from "../../../src/client/index.js";
import { useClient } from "../../harness/client.js";
import { sharedRootfs } from "../../harness/rootfs.js";
import { eventually } from "../../harness/wait.js";

const here = useClient();
const image = "sandbox:1";
/** In ms: longer than any test takes. */
const LONG = 3_600_000;

beforeAll(async () => {
  // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
  chmodSync(here.daemon.dir, 0o711);
  const tar = spawn("tar", ["-C", sharedRootfs(), "-c", "."]);
  await here.client.images.import(tar.stdout, { rootfs: true, name: image });
});
afterAll(async () => {
  await noneLeft();
  await here.client.images.prune({ all: true });
});

const ids = async () => (await here.client.containers.list()).map(({ id }) => id);
const noneLeft = () => eventually(async () => (await ids()).length === 0, { what: "the end of all sandboxes" });

function pool(options: Partial<PoolOptions> = {}) {
  return here.client.sandboxes.pool({
    ...{ image, pull: "never", size: 2, limits: { memory: 64 << 20, pids: 20 }, stdioDir: here.daemon.dir },
    ...options,
  });
}

const run = (sandbox: Sandbox, script: string) =>
  sandbox.exec(["sh", "-c", script], { stdioDir: here.daemon.dir, timeout: LONG });

test("a sandbox of a pool: code runs in it, with files, without rights, within limits; it can be forked, and expires", async () => {
  await using sandboxes = await pool({ writable: true, ttl: LONG });
  await using sandbox = await sandboxes.acquire();
  expect(await ids()).toContain(sandbox.id);
  await sandbox.writeFile(
    "/srv/main.sh",
    "echo $(($1 + 1)); touch /made; id -u; cat /proc/self/uid_map; ls /sys/class/net",
  );
  const { stdout, status } = await run(sandbox, "sh /srv/main.sh 41");
  expect(status).toBe(0);
  expect(stdout).toMatch(/^42\n0\n\s+0\s+[1-9]\d{4,}\s+65536\nlo\n$/);
  const { config, expiresAt } = await sandbox.inspect();
  expect(config).toMatchObject({ userns: "auto", seccomp: "default", noNewPrivileges: true, network: "none" });
  expect(config?.resources).toMatchObject({ memory: 64n << 20n, cpus: 1, pids: 20n });
  expect(expiresAt!.getTime()).toBeGreaterThan(Date.now() + LONG / 2);

  await using fork = await sandbox.fork({ ttl: 2 * LONG });
  await run(sandbox, "rm /made; echo changed >/srv/main.sh");
  expect((await run(fork, "ls /made; head -c 4 /srv/main.sh")).stdout).toBe("/made\necho");
  expect((await fork.inspect()).expiresAt!.getTime()).toBeGreaterThan(expiresAt!.getTime());

  // The pool has made another one in its place.
  await eventually(() => sandboxes.ready === 2);
  expect(sandboxes.inUse).toBe(1);
  const waits = sandbox.wait();
  let hasBegun = false;
  const works = sandbox
    .exec(["sh", "-c", "echo begun; sleep 100000"], {
      stdioDir: here.daemon.dir,
      onStdout: () => {
        hasBegun = true;
      },
    })
    .catch((error) => error);
  await eventually(() => hasBegun);
  await sandbox.extend(1);
  expect(await waits).toMatchObject({ status: 137, expired: true });
  expect(await works).toBeInstanceOf(RunError);
  expect(await works).toMatchObject({ reason: "expired", kind: "expired" });
  const late = await sandbox.exec(["true"]).catch((error) => error);
  expect(late).toMatchObject({ kind: "expired", isNotFound: true });
  await eventually(() => sandboxes.inUse === 0);
  await fork.remove();
  await sandboxes.close();
  expect(await ids()).toEqual([]);
  await expect(sandboxes.acquire()).rejects.toMatchObject({ kind: "closed" });
});

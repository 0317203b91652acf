import { chmodSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect, type PoolOptions, RunError, type Sandbox } from "../../../src/client/index.js";
import { importRootfs, useClient } from "../../harness/client.js";
import { full } from "../../harness/extent.js";
import { eventually } from "../../harness/wait.js";
import { archive, DIRECTORY, FIFO, HARDLINK, SYMLINK } from "../../images/layers/archive.js";
import { startProgram } from "../typescript-program.js";

const here = useClient();
const image = "sandbox:1";
/** In ms: longer than any test takes. */
const LONG = 3_600_000;

beforeAll(async () => {
  // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
  chmodSync(here.daemon.dir, 0o711);
  await importRootfs(here.client, image);
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

/** Files in a directory that nobody but its owner may write to, who is not root. */
const TREE = [
  { name: "d", type: DIRECTORY, uid: 1000, gid: 50, mode: 0o500 },
  { name: "d/f", uid: 7, gid: 8, mode: 0o640, data: Buffer.from("content\n") },
  { name: "h", type: HARDLINK, target: "d/f" },
  { name: "l", type: SYMLINK, uid: 9, gid: 9, target: "d/f" },
  { name: "p", type: FIFO, uid: 65_535, mode: 0o600 },
];
const TREE_INSIDE = ". 0:0 755\nd 1000:50 500\nh 7:8 640\nl 9:9 777\np 65535:0 600\nd/f 7:8 640\ncontent\nd/f\n";

test("a sandbox of a pool: code runs in it, with files, without rights, within limits; it can be forked, and expires", async () => {
  await using sandboxes = await pool({ writable: true, tmpfs: ["/scratch"], ttl: LONG });
  await using sandbox = await sandboxes.acquire();
  expect(await ids()).toContain(sandbox.id);
  await sandbox.writeFile(
    "/srv/main.sh",
    "echo $(($1 + 1)); touch /made; id -u; cat /proc/self/uid_map; ls /sys/class/net",
  );
  const { stdout, status } = await run(sandbox, "sh /srv/main.sh 41");
  expect(status).toBe(0);
  expect(stdout).toMatch(/^42\n0\n\s+0\s+[1-9]\d{4,}\s+65536\nlo\n$/);
  // What is mounted with its own ids knows no root but its own.
  await sandbox.putFiles("/scratch/job", archive(TREE));
  const { stdout: tree } = await run(sandbox, "cd /scratch/job; stat -c '%n %u:%g %a' . * d/*; cat d/f; readlink l");
  expect(tree).toBe(TREE_INSIDE);
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

/** Answers each line that it reads. */
const PROGRAM = "echo loading; echo ready; while read line; do echo got $line; done";

const lineOf = async (sandbox: Sandbox) => {
  let text = "";
  for (;;) {
    const piece = sandbox.stdout.read() as Buffer | null;
    text += piece ?? "";
    if (text.endsWith("\n")) return text;
    if (piece === null) await new Promise((resolve) => sandbox.stdout.once("readable", resolve));
  }
};

test.skipIf(!full)("a program of one's own is frozen once it is ready, and goes on when it is acquired", async () => {
  await using sandboxes = await pool({ size: 1, args: ["sh", "-c", PROGRAM], ready: "ready\n" });
  const [waiting] = await here.client.containers.list();
  expect(waiting?.info?.status).toBe("paused");
  expect(waiting?.info?.expiresAt).toBeUndefined();
  await using sandbox = await sandboxes.acquire();
  expect(sandbox.id).toBe(waiting?.id);
  expect(await sandbox.state()).toBe("running");
  expect((await sandbox.inspect()).expiresAt).toBeInstanceOf(Date);
  sandbox.stdin.write("hello\n");
  // What it has printed before it was ready is taken away.
  expect(await lineOf(sandbox)).toBe("got hello\n");
  sandbox.stdin.end();
  expect(await sandbox.wait()).toMatchObject({ status: 0, expired: false });
});

test.skipIf(!full)("ready may be a function; what it makes in the sandbox is there", async () => {
  await using sandboxes = await pool({
    size: 1,
    writable: true,
    ready: async (sandbox) => {
      await sandbox.writeFile("/srv/prepared", "yes");
      await sandbox.exec(["test", "-f", "/srv/prepared"], { stdioDir: here.daemon.dir });
    },
  });
  await using sandbox = await sandboxes.acquire();
  expect(await sandbox.readFile("/srv/prepared")).toBe("yes");
});

/** Who each thread of the daemon is, and what it may do. */
function threadsOfDaemon(): string[] {
  const tasks = `/proc/${here.daemon.pid}/task`;
  return readdirSync(tasks).map((tid) => {
    let status = "";
    try {
      status = readFileSync(`${tasks}/${tid}/status`, "utf8");
    } catch {
      // It has ended meanwhile.
    }
    return status
      .split("\n")
      .filter((line) => /^(Uid|Gid|CapEff|CapPrm|CapInh):/.test(line))
      .join(" ");
  });
}

test.skipIf(!full)("files into a sandbox without a layer, in memory: made, replaced, refused", async () => {
  const before = threadsOfDaemon()[0];
  await using sandbox = await here.client.sandboxes.create({ image, pull: "never", stdioDir: here.daemon.dir });
  await sandbox.writeFile("/tmp/x", "one");
  await sandbox.writeFile("/tmp/x", "two", { mode: 0o600 });
  expect((await run(sandbox, "stat -c '%u:%g %a' /tmp/x; cat /tmp/x")).stdout).toBe("0:0 600\ntwo");
  for (const _ of ["made", "replaced"]) {
    await sandbox.putFiles("/tmp/job", archive(TREE));
    const { stdout } = await run(sandbox, "cd /tmp/job; stat -c '%n %u:%g %a' . * d/*; cat d/f; readlink l");
    expect(stdout).toBe(TREE_INSIDE);
  }
  expect(await sandbox.stat("/tmp/job/d/f")).toMatchObject({ uid: 7, gid: 8, mode: 0o100640 });
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`d${n % 20}/f${n}`, `${n}`]));
  await Promise.all(["a", "b", "c"].map((name) => sandbox.putFiles(`/tmp/${name}/deep`, many, { keepOwners: false })));
  expect((await run(sandbox, "cat /tmp/[abc]/deep/*/* | wc -c; find /tmp/a ! -user 0")).stdout).toBe("1470\n");
  await run(sandbox, "mkdir -p /tmp/j/d/deep; echo x >/tmp/j/d/deep/x");
  await sandbox.putFiles("/tmp/j", { d: "a file" }, { keepKinds: false });
  expect(await sandbox.readFile("/tmp/j/d")).toBe("a file");

  const refused = (entry: Parameters<typeof archive>[0][number]) => sandbox.putFiles("/tmp/refused", archive([entry]));
  await expect(refused({ name: "f", uid: 65_536 })).rejects.toThrow("owner 65536 is none of the ids of the container");
  await expect(sandbox.writeFile("/etc/x", "x")).rejects.toMatchObject({ kind: "wrong-state" });
  await expect(sandbox.writeFile("/tmp/large", Buffer.alloc(65 << 20))).rejects.toMatchObject({ kind: "exhausted" });
  expect((await run(sandbox, "ls -A /tmp /tmp/refused")).stdout).not.toMatch(/large|containerd|^f$/m);
  // None of the daemon's threads is anybody else now, or may do less.
  expect(new Set(threadsOfDaemon().filter((thread) => thread !== ""))).toEqual(new Set([before]));
});

test.skipIf(!full)("what can't be made is told, and leaves nothing", async () => {
  const failures: [Partial<PoolOptions>, object][] = [
    [{ image: "no-such-image:1" }, { kind: "not-found", message: expect.stringContaining("no-such-image:1") }],
    [{ args: ["no-such-program"] }, { kind: "command-not-found" }],
    [
      { args: ["sh", "-c", "echo broken; exit 7"], ready: "ready" },
      {
        kind: "wrong-state",
        message: expect.stringMatching(/ended with status 7|has not printed "ready", but "broken/),
      },
    ],
    [
      { args: ["sleep", "100000"], ready: "ready", readyTimeout: 300 },
      { message: "the sandbox was not ready within 300 ms" },
    ],
    [
      {
        ready: () => {
          throw new Error("not to my taste");
        },
      },
      { message: "not to my taste" },
    ],
    [{ ready: "ready" }, { name: "TypeError" }],
    [{ size: 0 }, { name: "RangeError" }],
    [{ ttl: -1 }, { name: "RangeError" }],
  ];
  for (const [options, expected] of failures) {
    await expect(pool(options), JSON.stringify(options)).rejects.toMatchObject(expected);
    expect(await ids()).toEqual([]);
  }
});

test.skipIf(!full)(
  "20 callers at once, 5 ready: each has one of its own, and never are more than 5 ready",
  async () => {
    await using sandboxes = await pool({ size: 5 });
    await eventually(() => sandboxes.ready === 5);
    let isOver = false;
    let most = 0;
    const watching = (async () => {
      while (!isOver) {
        most = Math.max(most, (await ids()).length - sandboxes.inUse);
        expect(sandboxes.ready).toBeLessThanOrEqual(5);
      }
    })();
    const given = await Promise.all(Array.from({ length: 20 }, () => sandboxes.acquire()));
    expect(new Set(given.map(({ id }) => id)).size).toBe(20);
    const numbers = await Promise.all(
      given.map(async (sandbox, n) => (await run(sandbox, `echo ${n} >/tmp/n; cat /tmp/n`)).stdout),
    );
    expect(numbers).toEqual(given.map((_, n) => `${n}\n`));
    expect(sandboxes.inUse).toBe(20);
    await eventually(() => sandboxes.ready === 5);
    isOver = true;
    await watching;
    // One that is being given out counts as both for a moment.
    expect(most).toBeLessThanOrEqual(5 + 1);
    await Promise.all(given.map((sandbox) => sandbox.remove()));
    expect(sandboxes.inUse).toBe(0);
  },
);

test.skipIf(!full)("max: who comes too late waits, or is told at once; what expires makes room", async () => {
  await using sandboxes = await pool({ size: 1, max: 1 });
  const first = await sandboxes.acquire();
  await expect(sandboxes.acquire({ wait: false })).rejects.toMatchObject({ kind: "exhausted" });
  await expect(sandboxes.acquire({ timeout: 50 })).rejects.toMatchObject({ kind: "timeout" });
  const aborted = sandboxes.acquire({ signal: AbortSignal.abort(new Error("not any more")) });
  await expect(aborted).rejects.toThrow("not any more");
  const second = sandboxes.acquire({ ttl: 300 });
  await first.remove();
  const { id } = await second;
  // It is never removed by who has it.
  await using third = await sandboxes.acquire();
  expect(third.id).not.toBe(id);
  // This program counts its time by itself: the daemon may be a little later.
  await eventually(async () => {
    const found = await here.client.containers.get(id).then(
      () => "there",
      ({ kind }) => kind,
    );
    return found === "expired";
  });
});

test.skipIf(!full)("a daemon that is killed: what was ready is given out, what is missing is made", async () => {
  await using sandboxes = await pool({ size: 2 });
  await eventually(() => sandboxes.ready === 2);
  const ready = await ids();
  await here.daemon.kill();
  const acquiring = Promise.all([sandboxes.acquire(), sandboxes.acquire()]);
  await here.daemon.start();
  const given = await acquiring;
  expect(given.map(({ id }) => id).toSorted()).toEqual(ready.toSorted());
  await eventually(() => sandboxes.ready === 2);
  for (const sandbox of given) expect((await run(sandbox, "echo on")).stdout).toBe("on\n");
  // Those that have died meanwhile are nobody's.
  const dead = (await ids()).filter((id) => !given.some((sandbox) => sandbox.id === id));
  for (const id of dead) await (await here.client.containers.get(id)).kill();
  await using fresh = await sandboxes.acquire();
  expect(dead).not.toContain(fresh.id);
  expect((await run(fresh, "echo fresh")).stdout).toBe("fresh\n");
  await eventually(() => sandboxes.ready === 2);
  await eventually(async () => (await ids()).every((id) => !dead.includes(id)));
  await Promise.all(given.map((sandbox) => sandbox.remove()));
});

test.skipIf(!full)("a pool that is closed while it makes some, and while others wait, leaves nothing", async () => {
  const sandboxes = await pool({ size: 10, max: 1 });
  await using kept = await sandboxes.acquire();
  const waits = sandboxes.acquire().catch((error) => error);
  await Promise.all([sandboxes.close(), sandboxes.close()]);
  expect(await waits).toMatchObject({
    kind: "closed",
    message: expect.stringContaining("pool of sandboxes is closed"),
  });
  expect(await ids()).toEqual([kept.id]);
  expect((await run(kept, "echo mine")).stdout).toBe("mine\n");
  // A client that is left closes its pools.
  {
    await using client = connect(here.daemon.listen);
    await client.sandboxes.pool({ image, pull: "never", size: 2, stdioDir: here.daemon.dir });
  }
  expect(await ids()).toEqual([kept.id]);
});

test.skipIf(!full)(
  "of a program that is killed nothing stays, but what it was not to own, until that is over",
  async () => {
    const script = `
    import { connect } from "containerd-ts";
    const client = connect();
    const options = { image: "${image}", pull: "never" };
    const pool = await client.sandboxes.pool({ ...options, size: 3 });
    const frozen = await client.sandboxes.pool({ ...options, size: 2, args: ["sh", "-c", "echo up; exec sleep 100000"], ready: "up" });
    const sandbox = await pool.acquire();
    const free = await client.sandboxes.create({ ...options, owned: false, ttl: ${LONG} });
    while (pool.ready < 3 || frozen.ready < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    console.log("up", free.id);
    setInterval(() => {}, 1000);`;
    using program = await startProgram(here.daemon, { script });
    const free = await eventually(() => /^up (\w+)$/m.exec(program.output())?.[1]);
    expect(await ids()).toHaveLength(7);
    program.child.kill("SIGKILL");
    await eventually(async () => expect(await ids()).toEqual([free]));
    const found = await here.client.containers.get(free);
    const waits = found.wait();
    await found.update({ ttl: 1 });
    expect(await waits).toMatchObject({ expired: true });
  },
);

test.skipIf(!full)("limits hold, and what is not to be written to is not", async () => {
  await using sandboxes = await pool({ size: 2, limits: { memory: 32 << 20, memorySwap: 32 << 20, pids: 12 } });
  await using sandbox = await sandboxes.acquire();
  expect((await run(sandbox, "touch /x /etc/x; touch /tmp/x; ls /tmp")).stdout).toBe("x\n");
  expect((await run(sandbox, "tail /dev/zero; echo $?")).stdout).toBe("137\n");
  const bomb = await run(sandbox, "for i in $(seq 50); do sleep 1000 >/dev/null 2>&1 & done; echo not reached");
  expect(bomb.stderr).toMatch(/can't fork|fork/);
  expect(bomb.stdout).toBe("");
  await using other = await sandboxes.acquire();
  expect((await run(other, "echo fine")).stdout).toBe("fine\n");
  await expect(sandbox.fork()).rejects.toMatchObject({ kind: "wrong-state" });
});

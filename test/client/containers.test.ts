/** Containers and processes by their handles, with a real daemon. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { ContainerdError, type v0 } from "../../src/client/index.js";
import { useClient } from "../harness/client.js";
import { openDescriptors } from "../harness/processes.js";
import { makeRootfs } from "../harness/rootfs.js";
import { eventually, sleep } from "../harness/wait.js";

const here = useClient();

const start = (args: string[], options: Partial<v0.StartBuiltOptions> = {}) =>
  here.client.v0.containers.start({
    ...here.one(),
    args,
    ...options,
  });

async function expectClean(): Promise<void> {
  await here.daemon.expectNothingLeft();
  expect(readdirSync(here.daemon.dir).filter((name) => name.startsWith("ctr-"))).toEqual([]);
}

test("await using: killed and gone at the end of the block, also when it is paused, has ended, or is detached", async () => {
  for (const stdio of ["pipe", "ignore", "detached"] as const) {
    {
      await using container = await start(["sleep", "1000"], { stdio });
      expect((await here.client.v0.containers.list()).map(({ id }) => id)).toEqual([container.id]);
    }
    expect(await here.client.v0.containers.list()).toEqual([]);
    await expectClean();
  }
  {
    await using container = await start(["sleep", "1000"]);
    await container.pause();
  }
  {
    await using container = await start(["true"]);
    await container.wait();
  }
  await expectClean();
});

test("the end of the output is not lost at the end of the block", async () => {
  let output = "";
  {
    await using container = await start(["sh", "-c", "seq 20000"]);
    container.init.stdout.setEncoding("utf8").on("data", (chunk) => {
      output += chunk;
    });
    await container.wait();
  }
  expect(output.length).toBe(108_894);
  await expectClean();
});

test("limits, update, stats once and again and again", async () => {
  await using container = await start(["sh", "-c", "while :; do :; done"], {
    limits: { memory: 32 << 20, cpu: 0.5, pids: 5 },
  });
  const stats = await container.stats();
  expect(stats.memory.limit).toBe(32 << 20);
  // Started is what the runtime's process has been told, whose threads count until it has become the command.
  await expect.poll(async () => (await container.stats()).pids).toEqual({ current: 1, limit: 5 });
  await container.update({ memory: 64 << 20, pids: 9 });
  expect(await container.stats()).toMatchObject({ memory: { limit: 64 << 20 }, pids: { limit: 9 } });
  const samples: number[] = [];
  for await (const { cpu } of container.watchStats({ interval: 200 })) {
    if (cpu.share !== undefined) samples.push(cpu.share);
    if (samples.length === 5) await container.kill("KILL");
  }
  // Half of a processor at most, on a machine that others use as well.
  expect(Math.max(...samples)).toBeGreaterThan(0.02);
  expect(Math.max(...samples)).toBeLessThan(1);
  await expect(container.stats()).rejects.toMatchObject({ isNotFound: true, containerId: container.id });
});

test("exec: streams, status, a terminal's size, kill", async () => {
  await using container = await start(["sleep", "1000"]);
  const cat = await container.exec(["sh", "-c", "cat; echo $A >&2; exit 5"], {
    env: { A: "b" },
    stdioDir: here.daemon.dir,
  });
  cat.stdin.end("through");
  expect(await Promise.all([text(cat.stdout), text(cat.stderr)])).toEqual(["through", "b\n"]);
  expect((await cat.wait()).status).toBe(5);
  const shell = await container.exec(["sh"], { terminal: true, stdioDir: here.daemon.dir });
  await shell.resize(100, 20);
  shell.stdin.write("stty size; exit\r");
  expect(await text(shell.stdout)).toContain("20 100");
  const sleeper = await container.exec(["sleep", "1000"], { stdio: "ignore" });
  await sleeper.kill("KILL");
  expect((await sleeper.wait()).status).toBe(137);
  await expect(container.exec(["no-such-command"])).rejects.toBeInstanceOf(ContainerdError);
});

/** What a process of a container says that it is. */
const WHO_AM_I =
  "id -u; id -g; id -G; pwd; echo $GREETING $MORE; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr '\\t' ' '; ulimit -s";

test("exec is as the first process is, but for what is given; with inherit: false it is a bare process", async () => {
  const rootfs = join(here.daemon.dir, "named");
  makeRootfs(rootfs);
  mkdirSync(join(rootfs, "etc"), { recursive: true });
  writeFileSync(join(rootfs, "etc/passwd"), "root:x:0:0::/:\nweb:x:33:34::/:\n");
  writeFileSync(join(rootfs, "etc/group"), "www:x:35:web\n");
  await using container = await start(["sleep", "1000"], {
    rootfs,
    user: { uid: 1000, gid: 1001, additionalGids: [1002] },
    cwd: "/tmp",
    env: { GREETING: "hello", MORE: "more" },
    capabilities: ["KILL"],
    customize: ({ process }) => {
      process.rlimits = [{ type: "RLIMIT_STACK", soft: 4 << 20, hard: 8 << 20 }];
    },
  });
  const said = async (options: v0.ExecOptions = {}) => {
    using child = await container.exec(["sh", "-c", WHO_AM_I], { stdioDir: here.daemon.dir, ...options });
    const lines = (await text(child.stdout)).trim().split("\n");
    expect((await child.wait()).status).toBe(0);
    return lines;
  };
  const kill = "0000000000000020";
  const found = await here.client.v0.containers.get(container.id);
  const asInit = ["1000", "1001", "1001 1002", "/tmp", "hello more", "CapEff: 0000000000000000", `CapBnd: ${kill}`];
  expect(await said()).toEqual([...asInit, "NoNewPrivs: 1", "4096"]);
  using same = await found.exec(["sh", "-c", WHO_AM_I], { stdioDir: here.daemon.dir });
  expect((await text(same.stdout)).trim().split("\n")).toEqual([...asInit, "NoNewPrivs: 1", "4096"]);
  await same.wait();
  expect(
    await said({ user: "web", cwd: "/", env: { GREETING: "bye", MORE: undefined }, noNewPrivileges: false }),
  ).toEqual([
    ...["33", "34", "34 35", "/", "bye", "CapEff: 0000000000000000", `CapBnd: ${kill}`, "NoNewPrivs: 0", "4096"],
  ]);
  expect((await said({ user: 0 })).slice(0, 6)).toEqual(["0", "0", "0", "/tmp", "hello more", `CapEff: ${kill}`]);
  expect((await said({ user: "5:6" })).slice(0, 3)).toEqual(["5", "6", "6"]);
  const bare = await said({ inherit: false });
  expect(bare.slice(0, 5)).toEqual(["0", "0", "0", "/", ""]);
  expect(bare.slice(5, 8)).toEqual(["CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 0"]);
  await expect(said({ user: "nobody" })).rejects.toThrow(`there is no user "nobody" in /etc/passwd of ${rootfs}`);
  // A user by name at the start, too.
  await using web = await start(["id"], { rootfs, user: "web:5" });
  expect(await text(web.init.stdout)).toBe("uid=33(web) gid=5\n");
});

test("back-pressure: a reader that waits holds the container, not memory", async () => {
  await using container = await start(["sh", "-c", "yes | head -c 50000000; echo end >&2"]);
  let ended = false;
  container.init.stderr.on("data", () => {
    ended = true;
  });
  await sleep(500);
  expect(ended).toBe(false);
  expect(container.init.stdout.readableLength).toBeLessThan(1 << 20);
  let size = 0;
  for await (const chunk of container.init.stdout) size += (chunk as Buffer).length;
  expect(size).toBe(50_000_000);
  await container.wait();
});

test("handles go on working across a daemon that is killed and started again", async () => {
  await using container = await start(["cat"]);
  const child = await container.exec(["sh", "-c", "read line; echo got $line; exit 8"], { stdioDir: here.daemon.dir });
  const waits = [container.wait(), child.wait()] as const;
  const seen: string[] = [];
  const following = (async () => {
    for await (const event of here.client.v0.events({ id: container.id })) {
      seen.push(`${event.type} ${event.pid}`);
      if (event.type === "exit" && event.pid === "init") return;
    }
  })();
  const stats = container.watchStats({ interval: 50 });
  await stats.next();

  await here.daemon.kill();
  const sample = stats.next();
  await expect(container.state()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  // Streams do not need the daemon.
  child.stdin.end("a line\n");
  expect(await text(child.stdout)).toBe("got a line\n");
  await here.daemon.start();

  expect((await waits[1]).status).toBe(8);
  expect((await sample).done).toBe(false);
  const again = await container.exec(["echo", "again"], { stdioDir: here.daemon.dir });
  expect(await text(again.stdout)).toBe("again\n");
  container.init.stdin.end("last words");
  expect(await text(container.init.stdout)).toBe("last words");
  expect((await waits[0]).status).toBe(0);
  await following;
  // The exec that ended meanwhile, the one after, and the container: each once.
  expect(seen.filter((event) => event.startsWith("exit"))).toEqual([
    `exit ${child.name}`,
    `exit ${again.name}`,
    "exit init",
  ]);
});

test("a start that is aborted at any moment leaves nothing", async () => {
  await here.daemon.expectNothingLeft();
  const before = openDescriptors(process.pid).size;
  for (let delay = 0; delay < 200; delay += 8) {
    const controller = new AbortController();
    const starting = start(["sleep", "1000"], { signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), delay);
    try {
      await (await starting).remove();
    } catch (error) {
      expect((error as Error).message).toBe("enough");
    }
  }
  await expectClean();
  await eventually(() => openDescriptors(process.pid).size <= before, { what: "as few descriptors as before" });
});

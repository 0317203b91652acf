/** What can't be taken over when the daemon starts is taken over, or ended and told, as soon as that is possible. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { openDescriptors, processes } from "../harness/processes.js";
import { eventually, sleep } from "../harness/wait.js";

const ids = async (daemon: TestDaemon) => (await daemon.api.state()).containers.map(({ id }) => id).sort();

describe("something is mounted where a FIFO of it is", () => {
  let daemon: TestDaemon;
  let mounted: string[];
  beforeEach(async () => {
    daemon = await startDaemon();
    mounted = [];
  });
  afterEach(async () => {
    for (const path of mounted) spawnSync("umount", ["--lazy", path]);
    await daemon[Symbol.asyncDispose]();
  });

  /** It is no FIFO then, and can't be set aside. */
  function block(path: string): void {
    const file = join(daemon.dir, "no-fifo");
    writeFileSync(file, "");
    execFileSync("mount", ["--bind", file, path]);
    mounted.push(path);
  }
  const unblock = () => execFileSync("umount", mounted.splice(0));

  test.each(["init/exit", "init/control", "e/control"])("%s: it goes on, with its execs", async (fifo) => {
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    using other = await startContainer(daemon, { name: "other", args: ["sleep", "1000"] });
    await daemon.kill();
    block(join(daemon.stateDir, container.id, fifo));
    await daemon.start();
    expect(await ids(daemon)).toEqual([other.id]);
    // Its id stays its own.
    await expect(startContainer(daemon, { name: "c", args: ["true"] })).rejects.toThrow(/file exists/);
    unblock();
    await eventually(async () => (await ids(daemon)).includes(container.id), { what: "the container" });
    await daemon.api.signal({ id: container.id, pid: "e", signal: 9 });
    expect(await exec.exit()).toBe(137);
    using later = await startExec(daemon, container, { pid: "later", args: ["sh", "-c", "exit 4"] });
    expect(await later.exit()).toBe(4);
    await container.kill();
    expect(await container.exit()).toBe(137);
    await other.kill();
    expect(await other.exit()).toBe(137);
    const told = daemon.events.all({ id: container.id }).map(({ type, pid }) => `${type} ${pid}`.trim());
    expect(told).toEqual([
      "start-container",
      "start-process e",
      "exit e",
      "start-process later",
      "exit later",
      "exit init",
    ]);
    await daemon.expectNothingLeft();
  });

  test("what has ended meanwhile is told, with its status, once", async () => {
    using container = await startContainer(daemon, { name: "c", args: ["sh", "-c", "read line; exit 6"], stdio: true });
    const init = join(daemon.stateDir, container.id, "init");
    await daemon.kill();
    block(join(init, "control"));
    await daemon.start();
    container.stdio.stdin.end("now\n");
    await eventually(() => processes().every(({ directory }) => directory !== init), { what: "the end of its shim" });
    expect(daemon.events.all({ type: "exit" })).toEqual([]);
    unblock();
    expect(await container.exit()).toBe(6);
    await eventually(() => !existsSync(init), { what: "the removal of its directory" });
    await daemon.restart({ kill: true });
    await daemon.events.waitFor({ type: "exit", id: container.id });
    expect(daemon.events.all({ type: "exit" })).toHaveLength(1);
    await daemon.expectNothingLeft();
  });
});

/** How many descriptors the daemon has open once those of what it was just asked for are closed. */
async function settledDescriptors({ pid }: TestDaemon): Promise<number> {
  const count = () => openDescriptors(pid).size;
  let last = count();
  await eventually(async () => {
    const before = last;
    await sleep(200);
    last = count();
    return last === before;
  });
  return last;
}

test("too few descriptors for all: nothing that runs is ended, and the others are there once some have gone", async () => {
  // What the file `limit` beside its socket says.
  const limited = 'f=$(dirname $(echo "$@" | sed "s/.*unix:..//; s/ .*//"))/limit; [ ! -e $f ] || ulimit -n $(cat $f)';
  await using daemon = await startDaemon({ wrapper: ["sh", "-c", `${limited}; exec "$@"`, "sh"] });
  // What a daemon has besides its containers: also what only the first start opens.
  using first = await startContainer(daemon, { name: "first", args: ["true"] });
  await first.exit();
  const idle = await settledDescriptors(daemon);
  const all: string[] = [];
  for (let n = 0; n < 8; n++) {
    const { id } = await startContainer(daemon, { name: `c${n}`, args: ["sleep", "1000"] });
    await startExec(daemon, { id }, { pid: "e", args: ["sleep", "1000"] });
    all.push(id);
  }
  const busy = await settledDescriptors(daemon);
  await daemon.kill();
  writeFileSync(join(daemon.dir, "limit"), `${Math.floor((idle + busy) / 2)}`);
  await daemon.start();
  await expect.poll(() => daemon.log).toContain("restore container; trying again");
  expect(daemon.events.all({ type: "exit" }).filter(({ id }) => all.includes(id))).toEqual([]);
  for (const left = new Set(all); left.size > 0; ) {
    // Those that are there can be ended, also without a descriptor; then others have theirs.
    for (const id of left) {
      try {
        await daemon.api.signal({ id, pid: "init", signal: 9 });
      } catch (error) {
        expect((error as Error).message).toMatch(/container not found/);
        continue;
      }
      await daemon.events.waitFor({ type: "exit", id, pid: "init" });
      left.delete(id);
    }
    await sleep(20);
  }
  const exits = daemon.events.all({ type: "exit" }).filter(({ id }) => all.includes(id));
  expect(exits.map(({ status }) => status)).toEqual(exits.map(() => 137));
  expect(exits).toHaveLength(2 * all.length);
  await daemon.expectNothingLeft();
});

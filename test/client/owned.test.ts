/** What belongs to a program that is killed: its containers end with it, and their files go with the next program. */
import { existsSync, mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connect } from "../../src/client/index.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { eventually } from "../harness/wait.js";
import { type RunningProgram, runProgram, startProgram } from "./typescript-program.js";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** A run, a container of its own and one that is to stay, all with their files in the temporary folder. */
const PROGRAM = `
  import { connect } from "containerd-ts";
  const [rootfs, run, owned, free] = process.argv.slice(2);
  const client = connect();
  const sleeping = { rootfs, args: ["sh", "-c", "echo up; exec sleep 1000"] };
  void client.v0.run({ ...sleeping, id: run, input: (async function* () { await new Promise(() => {}); })() });
  for (const [id, belongs] of [[owned, true], [free, false]]) {
    const container = await client.v0.containers.start({ ...sleeping, id, owned: belongs });
    await new Promise((resolve) => container.init.stdout.once("data", resolve));
  }
  while ((await client.v0.containers.list()).length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  console.log("up");
`;

async function start(): Promise<RunningProgram> {
  const running = await startProgram(daemon, { text: PROGRAM }, [
    sharedRootfs(),
    ...["run", "owned", "free"].map((name) => daemon.id(name)),
  ]);
  await running.printed("up");
  return running;
}

const folders = () => readdirSync(daemon.dir).filter((name) => name.startsWith("ctr-"));
const ids = async () => (await daemon.api.state()).containers.map(({ id }) => id).toSorted();
const endsWithProgram = () => eventually(async () => (await ids()).join() === daemon.id("free"));

test("killed: what it ran and what it owned ends, what was to stay stays; the next program removes their files", async () => {
  using running = await start();
  const before = folders();
  running.child.kill("SIGKILL");
  await running.result;
  await endsWithProgram();
  // Nobody but a program of this user removes its files.
  expect(folders()).toEqual(before);
  await runProgram(daemon, {
    text: `import { connect } from "containerd-ts"; await connect().version(); process.exit(0);`,
  });
  const client = connect(daemon.listen);
  await client.v0.containers.prune({ folders: [daemon.dir] });
  client.close();
  // A bundle and FIFOs of the one that stays.
  expect(folders()).toHaveLength(2);
  expect(folders().filter((name) => name.startsWith("ctr-owned-"))).toEqual([]);
  await daemon.api.signal({ id: daemon.id("free"), signal: 9, pid: "init" });
});

test("connect() removes them by itself, in the background", async () => {
  using running = await start();
  running.child.kill("SIGKILL");
  await running.result;
  await endsWithProgram();
  using next = await startProgram(daemon, {
    text: `import { connect } from "containerd-ts"; connect(); setInterval(() => {}, 1000);`,
  });
  await eventually(() => folders().every((name) => !name.startsWith("ctr-owned-")));
  next.child.kill("SIGKILL");
});

test("what a program that runs, and another user, has there is not touched, whatever it is called", async () => {
  using _running = await start();
  const client = connect(daemon.listen);
  const before = folders();
  expect(await client.v0.containers.prune({ folders: [daemon.dir] })).toEqual({ removed: [] });
  expect(folders()).toEqual(before);
  const own = before.find((name) => name.startsWith("ctr-owned-"))!;
  const [, namespace] = /^ctr-owned-(\d+)/.exec(own)!;
  const elsewhere = join(daemon.dir, "elsewhere");
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, "file"), "");
  const names = {
    link: `ctr-owned-${namespace}.1.1-link`,
    file: `ctr-owned-${namespace}.1.1-file`,
    foreign: `ctr-owned-1.1.1-foreign-namespace`,
    dead: `ctr-owned-${namespace}.1.1-dead`,
  };
  symlinkSync(elsewhere, join(daemon.dir, names.link));
  writeFileSync(join(daemon.dir, names.file), "");
  for (const name of [names.foreign, names.dead]) mkdirSync(join(daemon.dir, name));
  expect(await client.v0.containers.prune({ folders: [daemon.dir] })).toEqual({
    removed: [join(daemon.dir, names.dead)],
  });
  expect(existsSync(join(elsewhere, "file"))).toBe(true);
  expect(folders()).toEqual(expect.arrayContaining([...before, names.link, names.file, names.foreign]));
  renameSync(elsewhere, `${elsewhere}-seen`);
  await expect(client.v0.containers.prune({ folders: ["/nowhere"] })).rejects.toThrow(/ENOENT.*\/nowhere/);
  client.close();
});

test("a run's time is over although its program stands still", async () => {
  using running = await startProgram(
    daemon,
    {
      text: `
        import { connect } from "containerd-ts";
        const [rootfs, id] = process.argv.slice(2);
        void connect().v0.run({ rootfs, id, args: ["sleep", "1000"], timeout: 4000 }).catch(() => {});
      `,
    },
    [sharedRootfs(), daemon.id("run")],
  );
  await daemon.events.waitFor({ type: "start-container" });
  running.child.kill("SIGSTOP");
  expect(await daemon.events.waitFor({ type: "exit" })).toMatchObject({ id: daemon.id("run"), status: 137 });
});

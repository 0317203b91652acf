/**
 * Whoever can put files of theirs in place of the daemon's own has them run as root: so it works in no directory where somebody else could.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { daemonEnvironment, startDaemon } from "../harness/daemon.js";
import { modes, nobody } from "../harness/modes.js";
import { daemonProgram, findProgram } from "../harness/paths.js";
import { directoryPrefix } from "../harness/run-name.js";
import { eventually, PATIENCE } from "../harness/wait.js";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(directoryPrefix());
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Runs a daemon that is expected not to start; its words. */
function refused(flags: { stateDir?: string; socket?: string }): string {
  const { stateDir = join(dir, "state"), socket = join(dir, "s") } = flags;
  const args = ["--state-dir", stateDir, "--listen", `unix://${socket}`];
  const run = spawnSync(process.execPath, [daemonProgram, ...args], {
    encoding: "utf8",
    timeout: PATIENCE,
    env: daemonEnvironment(),
  });
  expect(run.status, run.stderr).toBe(1);
  return run.stderr.trim();
}

/** Directories that somebody else than root can put files into, or can replace: how each is made, and what the daemon says of it. */
const weak: [string, (path: string) => void, (path: string) => string][] = [
  [
    "somebody else's",
    (path) => chownSync(path, nobody, nobody),
    (path) => `${path} belongs to user ${nobody}, who can put other files in place of ours: chown root ${path}`,
  ],
  ["everybody's to write to", (path) => chmodSync(path, 0o777), (path) => `everybody may write to ${path}`],
  [
    "a group's to write to",
    (path) => {
      chownSync(path, 0, 1);
      chmodSync(path, 0o775);
    },
    (path) => `group 1 may write to ${path} and put other files in place of ours: chmod go-w ${path}`,
  ],
];

/** Makes a directory. */
function made(...names: string[]): string {
  const path = join(dir, ...names);
  mkdirSync(path, { recursive: true, mode: 0o755 });
  return path;
}

describe("the state directory", () => {
  test.each(weak)("%s: refused, and what is planted there is not run", (_, weaken, words) => {
    const stateDir = made("state");
    const planted = made("state", "own");
    const proof = join(dir, "ran");
    writeFileSync(join(planted, "state.json"), JSON.stringify({ bundle: dir, runtime: join(dir, "runtime") }));
    writeFileSync(join(dir, "runtime"), `#!/bin/sh\ntouch ${proof}\n`, { mode: 0o755 });
    mkdirSync(join(planted, "init"));
    writeFileSync(join(planted, "init/pid"), "1");
    weaken(stateDir);
    const before = modes(stateDir);
    expect(refused({ stateDir })).toContain(`state directory ${stateDir}: ${words(stateDir)}`);
    expect(modes(stateDir)).toEqual(before);
    expect(existsSync(proof)).toBe(false);
  });

  test.each(weak)("below a directory that is %s: refused", (_, weaken, words) => {
    const above = made("above");
    made("above", "between", "state");
    weaken(above);
    expect(refused({ stateDir: join(above, "between/state") })).toContain(words(above));
  });

  test.each(weak)("to be made in a directory that is %s: refused, nothing is made", (_, weaken, words) => {
    const above = made("above");
    weaken(above);
    expect(refused({ stateDir: join(above, "new/state") })).toContain(words(above));
    expect(existsSync(join(above, "new"))).toBe(false);
  });

  test("in /tmp, where somebody else has it first: refused", () => {
    const shared = made("shared");
    chmodSync(shared, 0o1777);
    mkdirSync(join(shared, "state"), { mode: 0o700 });
    chownSync(join(shared, "state"), nobody, nobody);
    expect(refused({ stateDir: join(shared, "state") })).toContain(
      `${join(shared, "state")} belongs to user ${nobody}`,
    );
  });

  test("itself a directory like /tmp: refused", () => {
    const shared = made("shared");
    chmodSync(shared, 0o1777);
    expect(refused({ stateDir: shared })).toContain(`everybody may write to ${shared}`);
  });

  test("by a symbolic link of somebody else: refused", () => {
    const shared = made("shared");
    chmodSync(shared, 0o1777);
    made("state");
    symlinkSync(join(dir, "state"), join(shared, "link"));
    lchownSync(join(shared, "link"), nobody, nobody);
    expect(refused({ stateDir: join(shared, "link") })).toContain(`${join(shared, "link")} belongs to user ${nobody}`);
  });

  test("by a link of root's to a directory that is somebody else's: refused", () => {
    const target = made("target");
    chownSync(target, nobody, nobody);
    symlinkSync("../target", join(made("links"), "link"));
    expect(refused({ stateDir: join(dir, "links/link/state") })).toContain(`${target} belongs to user ${nobody}`);
  });

  test("of root's, below one like /tmp, by links of root's, with a slash at its end: fine, and closed", async () => {
    const shared = made("shared");
    chmodSync(shared, 0o1777);
    mkdirSync(join(shared, "ours"), { mode: 0o755 });
    symlinkSync("./ours/", join(shared, "link"));
    await using daemon = await startDaemon({ stateDir: `${join(shared, "link/state")}/` });
    expect((await daemon.api.state()).containers).toEqual([]);
    expect(modes(join(shared, "ours/state"))).toEqual({ ".": "d700", "events.log": "-600" });
  });

  test("with a container's directory that somebody else has made: that is not taken over, and not removed; the others are", async () => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "own", args: ["sleep", "1000"] });
    await daemon.kill();
    const planted = join(daemon.stateDir, "planted");
    const proof = join(dir, "ran");
    writeFileSync(join(dir, "runtime"), `#!/bin/sh\ntouch ${proof}\n`, { mode: 0o755 });
    mkdirSync(join(planted, "init"), { recursive: true });
    writeFileSync(join(planted, "state.json"), JSON.stringify({ bundle: dir, runtime: join(dir, "runtime") }));
    writeFileSync(join(planted, "init/pid"), String(process.pid));
    for (const path of [planted, join(planted, "state.json"), join(planted, "init"), join(planted, "init/pid")])
      chownSync(path, nobody, nobody);
    await daemon.start();
    const { containers } = await daemon.api.state();
    expect(containers.map(({ id }) => id)).toEqual([container.id]);
    await eventually(() => /leaving them alone".*planted/.test(daemon.log));
    expect(existsSync(join(planted, "state.json"))).toBe(true);
    expect(existsSync(proof)).toBe(false);
    rmSync(planted, { recursive: true });
    await container.kill();
    await container.exit();
  });

  test.each<[string, (path: string) => void]>([
    [
      "is somebody else's",
      (path) => {
        writeFileSync(path, "");
        chownSync(path, nobody, nobody);
      },
    ],
    ["is a link", (path) => symlinkSync(join(dir, "victim"), path)],
  ])("with an events.log that %s: refused", (_, plant) => {
    writeFileSync(join(dir, "victim"), "precious", { mode: 0o644 });
    const stateDir = made("state");
    plant(join(stateDir, "events.log"));
    expect(refused({ stateDir })).toContain("events.log is no file of root's");
    expect(readFileSync(join(dir, "victim"), "utf8")).toBe("precious");
    expect(lstatSync(join(dir, "victim")).mode & 0o777).toBe(0o644);
  });
});

describe("the state directory with a socket in it, as with the default flags", () => {
  test.each([
    ["its own group's", undefined],
    ["--group's", "1"],
  ])("can be gone through by the socket's group, and by nobody else: %s", async (_, group) => {
    const stateDir = join(dir, "run");
    chmodSync(dir, 0o755);
    const socket = join(stateDir, "s");
    await using daemon = await startDaemon({
      stateDir,
      listen: `unix://${socket}`,
      flags: group === undefined ? [] : ["--group", group],
    });
    expect(modes(stateDir)).toEqual({ ".": "d710", "events.log": "-600", s: "s660" });
    expect(lstatSync(stateDir).gid).toBe(Number(group ?? 0));
    const connect = (gid: number) =>
      spawnSync("setpriv", [
        `--reuid=${nobody}`,
        `--regid=${gid}`,
        "--clear-groups",
        process.execPath,
        "-e",
        `require("net").connect(${JSON.stringify(socket)}).on("connect", () => process.exit(0)).on("error", () => process.exit(1))`,
      ]).status;
    expect(connect(Number(group ?? 0))).toBe(0);
    expect(connect(nobody)).toBe(1);
    expect((await daemon.api.state()).containers).toEqual([]);
  });
});

describe("a socket's directory", () => {
  test.each(weak)("%s: refused", (_, weaken, words) => {
    const directory = made("sockets");
    weaken(directory);
    const socket = join(directory, "s");
    expect(refused({ socket })).toContain(`listen unix ${socket}: ${words(directory)}`);
    expect(existsSync(socket)).toBe(false);
  });

  test.each(weak)("below a directory that is %s: refused", (_, weaken, words) => {
    const above = made("above");
    const directory = made("above", "between", "sockets");
    weaken(above);
    expect(refused({ socket: join(directory, "s") })).toContain(words(above));
  });

  test("like /tmp, with a link of somebody else's in place of the socket: refused, and the link's target is as before", () => {
    const shared = made("shared");
    chmodSync(shared, 0o1777);
    const victim = join(dir, "victim");
    writeFileSync(victim, "precious", { mode: 0o600 });
    symlinkSync(victim, join(shared, "s"));
    lchownSync(join(shared, "s"), nobody, nobody);
    expect(refused({ socket: join(shared, "s") })).toContain("something else than a socket");
    expect(modes(victim)).toEqual({ ".": "-600" });
  });
});

describe("the socket", () => {
  test.skipIf(!findProgram("strace"))(
    "has its mode from the moment it has a name, and no mode is set by name",
    async () => {
      const trace = join(dir, "trace");
      const calls = "trace=umask,bind,chmod,fchmod,fchmodat,chown,fchownat,lchown";
      await using daemon = await startDaemon({
        wrapper: ["sh", "-c", 'umask 0; exec "$@"', "sh", "strace", "-D", "-f", "-qq", "-e", calls, "-o", trace],
        flags: ["--group", "1"],
      });
      expect((await daemon.api.state()).containers).toEqual([]);
      const lines = readFileSync(trace, "utf8").split("\n");
      const bind = lines.findIndex((line) => line.includes(`bind(`) && line.includes(`"${daemon.dir}/s"`));
      expect(lines[bind - 1]).toContain("umask(0117)");
      expect(lines[bind + 1]).toContain("umask(022)");
      const about = lines.filter((line) => line.includes(`"${daemon.dir}/s"`));
      // The C library calls it by one name or another.
      expect(about.slice(1)).toEqual([expect.stringMatching(/lchown|AT_SYMLINK_NOFOLLOW/)]);
      expect(modes(join(daemon.dir, "s"))).toEqual({ ".": "s660" });
    },
  );
});

describe("a checkpoint's directory", () => {
  test.each(weak)("%s: nothing is saved to it, nor started from it", async (_, weaken, words) => {
    await using daemon = await startDaemon();
    await using container = await startContainer(daemon, { name: "saved", args: ["sleep", "1000"] });
    const directory = made("checkpoints");
    mkdirSync(join(directory, "one"));
    writeFileSync(join(directory, "one/config.json"), "{}");
    weaken(directory);
    const refusal = {
      code: status.FAILED_PRECONDITION,
      details: expect.stringContaining(`checkpoint directory ${directory}: ${words(directory)}`),
    };
    await expect(
      daemon.api.createCheckpoint({ id: container.id, checkpoint: { name: "two" }, checkpointDir: directory }),
    ).rejects.toMatchObject(refusal);
    expect(existsSync(join(directory, "two"))).toBe(false);
    await expect(
      daemon.api.createContainer({
        id: daemon.id("restored"),
        bundlePath: container.bundle,
        checkpoint: "one",
        checkpointDir: directory,
      }),
    ).rejects.toMatchObject(refusal);
    await container.kill();
    await container.exit();
  });

  test("with a checkpoint that somebody else has made: nothing is started from it", async () => {
    await using daemon = await startDaemon();
    const bundlePath = daemon.bundle("planted", { args: ["true"] });
    const planted = join(bundlePath, "checkpoints/one");
    mkdirSync(planted, { recursive: true });
    writeFileSync(join(planted, "config.json"), "{}");
    chownSync(planted, nobody, nobody);
    await expect(
      daemon.api.createContainer({ id: daemon.id("planted"), bundlePath, checkpoint: "one" }),
    ).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      details: expect.stringContaining(`${planted} belongs to user ${nobody}`),
    });
    await daemon.expectNothingLeft();
  });
});

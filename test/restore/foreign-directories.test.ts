/** What is in the state directory and is not this daemon's: other programs have the same default directory. It is left as it is. */
import { spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, TestDaemon } from "../harness/daemon.js";
import { cases } from "../harness/extent.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
  await daemon.kill();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** Makes files and directories (with "/" at the end) in the state directory, and the directories above them. */
function lay(...paths: string[]): void {
  for (const path of paths) {
    const full = join(daemon.stateDir, path);
    mkdirSync(path.endsWith("/") ? full : dirname(full), { recursive: true });
    if (path.endsWith("/exit") || path.endsWith("/control")) makeFifos(full);
    else if (!path.endsWith("/")) writeFileSync(full, "somebody's");
  }
}

const tree = () => (readdirSync(daemon.stateDir, { recursive: true }) as string[]).sort();

/** How often the log warns of what is left alone. */
const warnings = () => daemon.log.split("\n").filter((line) => line.includes("leaving them alone"));

describe("is left alone, with one warning", () => {
  test("directories of other programs, also empty ones", async () => {
    lay("s/", "fifo/", "data/address", "deep/a/b/c/", "exec/control", "runtime/process/", "notes.txt");
    const before = tree();
    await daemon.start();
    expect((await daemon.api.state()).containers).toEqual([]);
    await daemon.stop();
    expect(tree()).toEqual(before);
    expect(warnings()).toHaveLength(1);
    for (const name of ["s", "fifo", "data", "deep", "exec", "runtime"])
      expect(warnings()[0]).toMatch(new RegExp(`"${name}\\\\?"`));
    expect(warnings()[0]).not.toContain("notes.txt");
  });

  test("containers of a runtime, whose own state has the name of ours", async () => {
    lay("somebody/state.json", "running/state.json", "running/exec.fifo");
    for (const id of ["somebody", "running"]) {
      writeFileSync(join(daemon.stateDir, id, "state.json"), '{"id":"x","init_process_pid":1,"config":{}}');
    }
    const before = tree();
    await daemon.start();
    await daemon.api.state();
    await daemon.stop();
    expect(tree()).toEqual(before);
    expect(warnings()).toHaveLength(1);
  });

  test("what looks like a container but belongs to somebody else, or is another file system", async () => {
    lay("theirs/init/process.json", "theirs/state.json", "theirs/init/exit", "theirs/init/control", "mounted/");
    chownSync(join(daemon.stateDir, "theirs"), 65534, 65534);
    const mounted = join(daemon.stateDir, "mounted");
    spawnSync("mount", ["-t", "tmpfs", "tmpfs", mounted]);
    try {
      lay("mounted/init/process.json", "mounted/init/exit", "mounted/init/control");
      const before = tree();
      await daemon.start();
      await daemon.api.state();
      await daemon.stop();
      expect(tree()).toEqual(before);
      expect(warnings()).toHaveLength(1);
    } finally {
      spawnSync("umount", [mounted]);
    }
  });

  test("nothing is said when there is nothing", async () => {
    await daemon.start();
    await daemon.api.state();
    expect(warnings()).toEqual([]);
  });
});

test.each(cases([".pid", "log.json", "pid", "console.sock", "config.json.tmp", "control.waiting.tmp", "usage"], 2))(
  "what a kill has left of a container goes, also if only a runtime or a shim had made something: %s",
  async (name) => {
    lay(`torn/init/${name}`);
    await daemon.start();
    await eventually(() => tree().every((path) => path === "events.log"), { what: "the removal of the directory" });
    expect(warnings()).toEqual([]);
  },
);

test("an id whose directory is empty is free, one whose directory is not is taken", async () => {
  const [empty, full, file] = ["empty", "full", "file"].map((name) => daemon.id(name));
  lay(`${empty}/`, `${full}/something`, `${file}`);
  await daemon.start();
  using container = await startContainer(daemon, { name: "empty", args: ["true"] });
  expect(await container.exit()).toBe(0);
  for (const [name, id] of [
    ["full", full],
    ["file", file],
  ] as const) {
    await expect(startContainer(daemon, { name, args: ["true"] })).rejects.toThrow(
      `mkdir ${join(daemon.stateDir, id!)}: file exists`,
    );
  }
  expect(readFileSync(join(daemon.stateDir, full!, "something"), "utf8")).toBe("somebody's");
  for (const id of [full, file]) rmSync(join(daemon.stateDir, id!), { recursive: true });
  await daemon.expectNothingLeft();
});

test("nothing of another file system that is mounted below a container's directory is removed with it", async () => {
  await daemon.start();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  const source = join(daemon.dir, "precious");
  mkdirSync(source);
  writeFileSync(join(source, "data"), "precious");
  const target = join(daemon.stateDir, container.id, "init", "mnt");
  mkdirSync(target);
  spawnSync("mount", ["-t", "tmpfs", "tmpfs", target]);
  try {
    writeFileSync(join(target, "data"), "precious");
    await container.kill();
    expect(await container.exit()).toBe(137);
    // Wherever the mount is now.
    const mount = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) => line.split(" ")[4] ?? "")
      .find((path) => path.startsWith(`${daemon.stateDir}/`));
    expect(readFileSync(join(mount!, "data"), "utf8")).toBe("precious");
    spawnSync("umount", [mount!]);
  } finally {
    spawnSync("umount", [target]);
  }
  await daemon.restart({ kill: true });
  await daemon.expectNothingLeft();
});

describe("a state directory of containerd 1.x", () => {
  test("is refused: the message names the directory and says what to do; nothing in it is touched", async () => {
    lay("io.containerd.runtime.v2.task/moby/abc/address", "io.containerd.grpc.v1.cri/", "s/", "fifo/");
    const before = tree();
    await expect(daemon.start()).rejects.toThrow(
      new RegExp(`state directory ${daemon.stateDir} is containerd 1.x's: it has io\\.containerd\\..*--state-dir DIR`),
    );
    expect((await daemon.exited).code).toBe(1);
    expect(tree()).toEqual(before);
    // As the message says, once that daemon is gone.
    for (const name of before.filter((path) => /^io\.containerd\.[^/]*$/.test(path))) {
      rmSync(join(daemon.stateDir, name), { recursive: true });
    }
    await daemon.start();
    for (const name of ["s", "fifo"]) expect(existsSync(join(daemon.stateDir, name))).toBe(true);
  });

  test("nothing is made in it either", async () => {
    await using other = new TestDaemon({});
    mkdirSync(join(other.stateDir, "io.containerd.metadata.v1.bolt"), { recursive: true });
    await expect(other.start()).rejects.toThrow("is containerd 1.x's");
    expect(readdirSync(other.stateDir)).toEqual(["io.containerd.metadata.v1.bolt"]);
  });
});

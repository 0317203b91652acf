/** `ctr checkpoints` and `ctr containers start --checkpoint`, on real runc and CRIU. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { unpackedProgram } from "../harness/paths.js";
import { type RuntimeWrapper, wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";
import { ctr, ctrError, type RunningCtr, runCtr, startCtr } from "./ctr.js";

/** Counts for ever; where it is shows whether it was saved. */
const COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

interface Counter {
  id: string;
  bundle: string;
  running: RunningCtr;
}

/** A counter that ctr is attached to and that has counted to 10. */
async function startCounter(name: string, options: { flags?: string[]; terminal?: boolean } = {}): Promise<Counter> {
  const { flags = [], terminal = false } = options;
  const id = daemon.id(name);
  const bundle = daemon.bundle(name, { args: COUNTER, terminal });
  const running = startCtr(daemon, "containers", "start", "--attach", ...flags, id, bundle);
  await running.printed(terminal ? "\r\n10\r\n" : "\n10\n");
  return { id, bundle, running };
}

/** Starts a container from a checkpoint, attached. */
function restore(name: string, bundle: string, ...flags: string[]): Omit<Counter, "bundle"> {
  const id = daemon.id(name);
  const running = startCtr(daemon, "containers", "start", "--attach", ...flags, id, bundle);
  return { id, running };
}

const kill = (id: string) => ctr(daemon, "containers", "kill", "--signal", "KILL", id);

/** Ends the container; ctr, attached to it, ends with its status. */
async function end({ id, running }: { id: string; running: RunningCtr }): Promise<number[]> {
  await kill(id);
  const { status, stdout, stderr } = await running.result;
  expect(stderr).toBe("");
  expect(status).toBe(137);
  return String(stdout).trim().split(/\r?\n/).map(Number);
}

/** What `ctr checkpoints list` tells, without its heading and its blanks. */
async function list(id: string, ...flags: string[]): Promise<string[]> {
  const lines = (await ctr(daemon, "checkpoints", "list", ...flags, id)).trimEnd().split("\n");
  expect(lines[0]).toMatch(/^NAME +TCP +UNIX SOCKETS +SHELL$/);
  return lines.slice(1).map((line) => line.replaceAll(/ +/g, " "));
}

const criu = unpackedProgram("criu");
describe.skipIf(!criu)(criu ? "with CRIU" : "with CRIU (skipped: none in /var/cache/containerd-ts)", () => {
  test("create: says nothing, the container goes on; list shows the checkpoint; delete removes it", async () => {
    const container = await startCounter("create");
    expect(await ctr(daemon, "checkpoints", "create", container.id, "one")).toBe("");
    await ctr(daemon, "checkpoints", "create", container.id, "two");
    const before = String((await ctr(daemon, "containers", container.id)).split("\n")[1]);
    expect(before).toMatch(/ running +init$/);
    expect(readdirSync(join(container.bundle, "checkpoints/one"))).toContain("inventory.img");
    expect(await list(container.id)).toEqual(["one false false false", "two false false false"]);
    // Without "list" it is the same.
    expect(await ctr(daemon, "checkpoints", container.id)).toBe(await ctr(daemon, "checkpoints", "list", container.id));
    expect(await ctrError(daemon, "checkpoints", "create", container.id, "one")).toBe(
      `mkdir ${container.bundle}/checkpoints/one: file exists`,
    );
    expect(await ctr(daemon, "checkpoints", "delete", container.id, "one")).toBe("");
    expect(await list(container.id)).toEqual(["two false false false"]);
    expect(readdirSync(join(container.bundle, "checkpoints"))).toEqual(["two"]);
    expect(await ctrError(daemon, "checkpoints", "delete", container.id, "one")).toBe(
      `open ${container.bundle}/checkpoints/one/config.json: no such file or directory`,
    );
    const numbers = await end(container);
    // Not one number is missing.
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });

  test("create --exit: the container ends, the attached ctr too; start --checkpoint goes on where it was, with the same id", async () => {
    const container = await startCounter("exit");
    await ctr(daemon, "checkpoints", "create", "--exit", container.id, "last");
    const { status, stdout } = await container.running.result;
    expect(status).toBe(137);
    const last = Number(String(stdout).trim().split("\n").at(-1));
    await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
    expect(await ctrError(daemon, "checkpoints", "list", container.id)).toBe(`no such containers: "${container.id}"`);
    const again = restore("exit", container.bundle, "--checkpoint", "last");
    await again.running.printed("\n");
    await eventually(async () => /running +init/.test(await ctr(daemon, "containers", container.id)));
    expect(await list(container.id)).toEqual(["last false false false"]);
    const numbers = await end(again);
    expect(numbers[0]! - last).toBeOneOf([0, 1, 2]);
    expect(numbers).toEqual(numbers.map((_, index) => numbers[0]! + index));
  });

  test("start -c, not attached, beside the original, with labels", async () => {
    const container = await startCounter("original");
    await ctr(daemon, "checkpoints", "create", container.id, "c");
    const copy = daemon.id("copy");
    expect(await ctr(daemon, "containers", "start", "-c", "c", "--label", "copy", copy, container.bundle)).toBe("");
    const { containers } = JSON.parse(await ctr(daemon, "state"));
    expect(containers.find(({ id }: { id: string }) => id === copy)).toMatchObject({
      status: "running",
      labels: ["copy"],
    });
    await kill(copy);
    await end(container);
  });

  test("a container that nobody is attached to, saved and restored three times over", async () => {
    const bundle = daemon.bundle("generations", {
      // The numbers come out in a file, since its stdout is nowhere; busybox' shell keeps the file open.
      args: ["sh", "-c", "i=0; exec 3>/tmp/count; while :; do i=$((i+1)); echo $i >&3; sleep 0.02; done"],
    });
    const last = async (id: string) =>
      Number(
        await ctr(
          daemon,
          ...[
            "containers",
            "exec",
            "--id",
            id,
            "--pid",
            `e${Math.random()}`,
            "--attach",
            "tail",
            "-n",
            "1",
            "/tmp/count",
          ],
        ),
      );
    let [before, flags]: [number, string[]] = [0, []];
    for (const name of ["first", "second", "third"]) {
      const id = daemon.id(name);
      await ctr(daemon, "containers", "start", ...flags, id, bundle);
      expect(await last(id)).toBeGreaterThanOrEqual(before);
      await eventually(async () => (await last(id)) > before + 10);
      before = await last(id);
      await ctr(daemon, "checkpoints", "create", "--exit", id, name);
      await eventually(() => !existsSync(join(daemon.stateDir, id)));
      flags = ["--checkpoint", name];
    }
  });

  test("an attached one that was restored is saved and restored again", async () => {
    const attached = await startCounter("pipes");
    await ctr(daemon, "checkpoints", "create", "--exit", attached.id, "one");
    await attached.running.result;
    const copy = restore("pipes-copy", attached.bundle, "--checkpoint", "one");
    await copy.running.printed("\n");
    await ctr(daemon, "checkpoints", "create", "--exit", copy.id, "two");
    const numbers = String((await copy.running.result).stdout)
      .trim()
      .split("\n")
      .map(Number);
    const again = restore("pipes-copy-again", attached.bundle, "--checkpoint", "two");
    await again.running.printed("\n");
    expect((await end(again))[0]! - numbers.at(-1)!).toBeOneOf([0, 1, 2]);
  });

  test("--checkpoint-dir: create, list, delete and start take it from there; relative paths are from where ctr is", async () => {
    const container = await startCounter("dir");
    const directory = join(daemon.dir, "elsewhere/deep");
    const at = ["--checkpoint-dir", directory];
    await ctr(daemon, "checkpoints", "create", ...at, container.id, "far");
    expect(existsSync(join(directory, "far/inventory.img"))).toBe(true);
    expect(existsSync(join(container.bundle, "checkpoints"))).toBe(false);
    expect(await list(container.id, ...at)).toEqual(["far false false false"]);
    expect(await list(container.id)).toEqual([]);
    const copy = restore("dir-copy", container.bundle, ...at, "--checkpoint", "far");
    await copy.running.printed("\n");
    expect((await end(copy))[0]).toBeGreaterThan(9);

    // The daemon was started somewhere else.
    const there = { cwd: daemon.dir };
    const relative = ["--checkpoint-dir", "near"];
    for (const args of [
      ["checkpoints", "create", ...relative, container.id, "n"],
      ["checkpoints", "list", ...relative, container.id],
      ["containers", "start", ...relative, "--checkpoint", "n", daemon.id("near"), container.bundle],
      ["checkpoints", "delete", ...relative, container.id, "n"],
    ]) {
      const { status, stdout, stderr } = await runCtr(daemon, args, "", there);
      expect(stderr, args.join(" ")).toBe("");
      expect(status, args.join(" ")).toBe(0);
      if (args[1] === "list") expect(String(stdout)).toMatch(/^NAME.*\nn +false/);
    }
    expect(readdirSync(join(daemon.dir, "near"))).toEqual([]);
    await kill(daemon.id("near"));
    await end(container);
  });

  test("--tcp, --unix-sockets, --shell: list shows them; with --empty-ns they reach the runtime", async () => {
    const wrapper: RuntimeWrapper = wrapRuntime(daemon.dir, "noting", "state", { kind: "fail" });
    const container = await startCounter("options", { flags: ["--runtime", wrapper.path] });
    await ctr(
      daemon,
      ...["checkpoints", "create", "--tcp", "--unix-sockets", "--shell", "--empty-ns", "network", container.id, "all"],
    );
    await ctr(daemon, "checkpoints", "create", "--tcp=false", "-unix-sockets", container.id, "some");
    expect(await list(container.id)).toEqual(["all true true true", "some false true false"]);
    const calls = readFileSync(`${wrapper.path}.calls`, "utf8").split("\n");
    const [all, some] = calls.filter((line) => /(^| )checkpoint /.test(line));
    for (const flag of ["--tcp-established", "--ext-unix-sk", "--shell-job", "--empty-ns network", "--leave-running"])
      expect(all).toContain(flag);
    for (const flag of ["--tcp-established", "--shell-job", "--empty-ns"]) expect(some).not.toContain(flag);
    expect(some).toContain("--ext-unix-sk");
    await end(container);
  });

  test("--shell: a container with a terminal is saved and goes on", async () => {
    const container = await startCounter("shell", { terminal: true });
    await ctr(daemon, "checkpoints", "create", "--shell", "--exit", container.id, "c");
    expect((await container.running.result).status).toBe(137);
    const again = restore("shell-copy", container.bundle, "--checkpoint", "c");
    await again.running.printed("\n");
    expect((await end(again))[0]).toBeGreaterThan(9);
  });

  test("stdin and both outputs of a restored container", async () => {
    const bundle = daemon.bundle("stdio", {
      args: ["sh", "-c", 'while read line; do echo "got $line"; echo "err $line" >&2; done; echo end; exit 5'],
    });
    const first = startCtr(daemon, "containers", "start", "--attach", daemon.id("stdio"), bundle);
    first.child.stdin!.write("one\n");
    await first.printed("got one\n");
    await ctr(daemon, "checkpoints", "create", "--exit", daemon.id("stdio"), "c");
    expect((await first.result).status).toBe(137);
    const again = await runCtr(
      daemon,
      ["containers", "start", "--attach", "--checkpoint", "c", daemon.id("stdio-copy"), bundle],
      "two\nthree\n",
    );
    expect({ ...again, stdout: String(again.stdout) }).toEqual({
      status: 5,
      signal: null,
      stdout: "got two\ngot three\nend\n",
      stderr: "err two\nerr three\n",
    });
  });

  test("a container that cannot be saved: the runtime's words, in one line, and it goes on", async () => {
    // An established connection, and no --tcp.
    const id = daemon.id("tcp");
    const bundle = daemon.bundle("tcp", {
      args: [
        "sh",
        "-c",
        "ip link set lo up; sleep 1000 | nc -l -p 7000 >/dev/null & sleep 0.3; yes | nc 127.0.0.1 7000",
      ],
      spec: ({ process }) => {
        const capabilities = process.capabilities as Record<string, string[]>;
        for (const set of Object.values(capabilities)) set.push("CAP_NET_ADMIN");
      },
    });
    await ctr(daemon, "containers", "start", id, bundle);
    const { containers } = JSON.parse(await ctr(daemon, "containers", "state", id));
    const { systemPid } = containers[0].processes[0];
    await eventually(() =>
      readFileSync(`/proc/${systemPid}/net/tcp`, "utf8")
        .split("\n")
        .some((line) => line.trim().split(/\s+/)[3] === "01"),
    );
    expect(await ctrError(daemon, "checkpoints", "create", id, "c")).toMatch(/^oci runtime error: [^"]*criu/i);
    expect(await list(id)).toEqual([]);
    expect(await ctr(daemon, "containers", id)).toMatch(/ running +init\n$/);
    await kill(id);
  });

  test("Ctrl-C while it is saved: no checkpoint, and the container goes on", async () => {
    const wrapper = wrapRuntime(daemon.dir, "slow", "checkpoint", { kind: "hold" });
    const container = await startCounter("interrupted", { flags: ["--runtime", wrapper.path] });
    wrapper.on();
    const running = startCtr(daemon, "checkpoints", "create", container.id, "c");
    await eventually(() => readFileSync(`${wrapper.path}.calls`, "utf8").includes("checkpoint"));
    running.child.kill("SIGINT");
    const { status, signal, stdout } = await running.result;
    expect([status, signal]).toContainEqual(status === null ? "SIGINT" : 130);
    expect(String(stdout)).toBe("");
    wrapper.off();
    await eventually(async () => (await list(container.id)).length === 0);
    await ctr(daemon, "checkpoints", "create", container.id, "c");
    await end(container);
  });
});

test("start --checkpoint: a checkpoint that is not there, or without images, and nothing is left", async () => {
  const id = daemon.id("ghost");
  const bundle = daemon.bundle("ghost", { args: ["sleep", "1000"] });
  for (const attach of [[], ["--attach"]]) {
    expect(await ctrError(daemon, "containers", "start", ...attach, "--checkpoint", "ghost", id, bundle)).toBe(
      `open ${bundle}/checkpoints/ghost/config.json: no such file or directory`,
    );
    expect(await ctrError(daemon, "containers", "start", ...attach, "--checkpoint", "../x", id, bundle)).toContain(
      '"../x"',
    );
  }
  expect(readdirSync(daemon.stateDir)).not.toContain(basename(id));
  writeFileSync(join(bundle, "file"), "");
  expect(
    await ctrError(
      daemon,
      "containers",
      "start",
      "--checkpoint",
      "c",
      "--checkpoint-dir",
      `${bundle}/file`,
      id,
      bundle,
    ),
  ).toContain(`${bundle}/file/c`);
});

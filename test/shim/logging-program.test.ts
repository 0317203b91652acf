/** A program that gets the output of a process: what it is given, how it is waited for, and what its end means for the process. */

import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { OutputJson } from "../../src/contract/shim/process-json.js";
import type { Spec } from "../harness/bundle.js";
import { full } from "../harness/extent.js";
import { isRunning, waitsToWrite } from "../harness/processes.js";
import { type ProcessOptions, Sandbox, type ShimOptions, until, withHostPids, withRootAs } from "./stand-in-daemon.js";

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.clean());

const URI = "binary:///logger";

/** Writes stdout and stderr into files named for its first argument. */
const KEEP = `cat 5>&- <&3 >"$1.out" &
cat 5>&- <&4 >"$1.err" &
exec 3<&- 4<&- 5>&-
wait`;

/** A shell script as a logging program, and what it is told. */
function program(script: string, ...args: string[]): OutputJson {
  const path = join(sandbox.path, `logger-${createHash("sha256").update(script).digest("hex").slice(0, 8)}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return { path, program: { args, environment: ["CONTAINER_ID=the-id", "CONTAINER_NAMESPACE=the-namespace"] } };
}

/** stdout and stderr to one program. */
function both(output: OutputJson): ProcessOptions {
  return { stdout: URI, stderr: URI, stdio: { stdin: "", stdout: output, stderr: output } };
}

function shim(command: string, process: ProcessOptions, options: ShimOptions = {}, change?: (config: Spec) => void) {
  const id = sandbox.id();
  return sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command], change), process, options);
}

const read = (path: string) => readFileSync(path, "utf8");
const pidIn = (path: string) => Number(read(path));
const kept = () => join(sandbox.path, "kept");

describe("a logging program", () => {
  test("gets stdout and stderr as 3 and 4, its arguments, its environment, and nothing else", async () => {
    const look = `printf '%s\\n' "$@" >"$1.args"
tr '\\0' '\\n' </proc/$$/environ >"$1.env"
ls /proc/$$/fd >"$1.fds"
pwd >"$1.cwd"
umask >"$1.umask"`;
    const logged = shim("echo out; echo err >&2", both(program(`${look}\n${KEEP}`, kept(), "", "a b", "ü")));
    await logged.start();
    expect(await logged.end()).toBe(0);
    expect(read(`${kept()}.out`)).toBe("out\n");
    expect(read(`${kept()}.err`)).toBe("err\n");
    expect(read(`${kept()}.args`)).toBe(`${kept()}\n\na b\nü\n`);
    expect(
      read(`${kept()}.env`)
        .split("\n")
        .filter((line) => !/^(PWD|OLDPWD|_|)(=|$)/.test(line)),
    ).toEqual(["CONTAINER_ID=the-id", "CONTAINER_NAMESPACE=the-namespace"]);
    // The shell reads its script through 10, and remembers there where its output goes.
    expect(read(`${kept()}.fds`).match(/\b\d\b/g)).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(read(`${kept()}.cwd`)).toBe("/\n");
    expect(read(`${kept()}.umask`)).toBe(`0${process.umask().toString(8).padStart(3, "0")}\n`);
    expect(logged.file("shim-log.json")).toBe("");
  });

  test("is waited for until it closes descriptor 5, before anything of the container is made", async () => {
    const go = join(sandbox.path, "go");
    const logged = shim("echo out", both(program(`while [ ! -e ${go} ]; do sleep 0.02; done\n${KEEP}`, kept())));
    await until("the program", () => existsSync(`/proc/${logged.pid}/task/${logged.pid}/children`));
    await until("its process", () => read(`/proc/${logged.pid}/task/${logged.pid}/children`) !== "");
    expect(sandbox.containers).toEqual([]);
    writeFileSync(go, "");
    await logged.start();
    await logged.end();
    expect(read(`${kept()}.out`)).toBe("out\n");
  });

  test("that goes on in a child of its own, and that says it is ready by a byte, get the output as well", async () => {
    const inChild = shim("echo out", both(program(`{ cat <&3 >"$1.child"; } 5>&- &\nexit 0`, kept())));
    await inChild.start();
    await inChild.end();
    await until("the output", () => existsSync(`${kept()}.child`) && read(`${kept()}.child`) === "out\n");
    const byByte = shim("echo out", both(program(`echo >&5; cat <&3 >"$1.byte"`, kept())));
    await byByte.start();
    await byByte.end();
    expect(read(`${kept()}.byte`)).toBe("out\n");
  });

  test("gets every byte, however late it reads, before the exit is told", async () => {
    const command = "dd if=/dev/urandom of=/tmp/data bs=1M count=10 2>/dev/null; cat /tmp/data; echo err >&2";
    const late = 'exec 5>&-; sleep 1; cat <&3 >"$1.out"; sleep 1; cat <&4 >"$1.err"; sleep 1; echo >"$1.done"';
    const logged = shim(command, both(program(late, kept())));
    await logged.start();
    expect(await logged.end()).toBe(0);
    expect(existsSync(`${kept()}.done`)).toBe(true);
    expect(readFileSync(`${kept()}.out`).equals(readFileSync(join(sandbox.rootfs, "tmp/data")))).toBe(true);
    expect(read(`${kept()}.err`)).toBe("err\n");
    expect(logged.exitStatus).toBe("0");
  });

  test("may get one output alone, and each output may have a program of its own", async () => {
    const [out, err] = [program(`${KEEP}`, `${kept()}1`), program(`${KEEP}`, `${kept()}2`)];
    const own = shim("echo out; echo err >&2", {
      ...{ stdout: `${URI}?1`, stderr: `${URI}?2`, stdio: { stdin: "", stdout: out, stderr: err } },
    });
    await own.start();
    await own.end();
    expect(["1.out", "1.err", "2.out", "2.err"].map((name) => read(`${kept()}${name}`))).toEqual([
      ...["out\n", "", "", "err\n"],
    ]);
    const fifo = sandbox.fifo("stdout");
    const alone = shim("echo out; echo err >&2", {
      ...{ stdout: fifo, stderr: URI, stdio: { stdin: "", stdout: { path: fifo }, stderr: err } },
    });
    const reader = sandbox.reader(fifo);
    await alone.start();
    await alone.end();
    expect((await reader.text).toString()).toBe("out\n");
    expect(read(`${kept()}2.err`)).toBe("err\n");
  });

  test("gets what a terminal shows", async () => {
    const logged = shim("echo out; echo err >&2", { terminal: true, ...both(program(KEEP, kept())) }, {}, (config) => {
      config.process.terminal = true;
    });
    await logged.start();
    await logged.end();
    expect(read(`${kept()}.out`)).toBe("out\r\nerr\r\n");
    expect(read(`${kept()}.err`)).toBe("");
  });

  test("gets the output of an exec, whatever umask that has", async () => {
    const container = shim("exec sleep 600", {});
    await container.start();
    const id = container.directory.split("/").at(-2)!;
    const exec = sandbox.shim(id, sandbox.bundle(id, ["sleep"]), {
      ...both(program(`umask >"$1.umask"\n${KEEP}`, kept())),
      exec: true,
      args: ["sh", "-c", "echo out; umask"],
      umask: 0,
    });
    expect(await exec.channel!.receive()).toMatch(/^created /);
    await exec.end();
    expect(read(`${kept()}.out`)).toBe("out\n0000\n");
    expect(read(`${kept()}.umask`)).toBe(`0${process.umask().toString(8).padStart(3, "0")}\n`);
  });

  test("a container whose root is another user can open its output again", async () => {
    const options = { ...both(program(KEEP, kept())), rootUID: 12345, rootGID: 23456 };
    const logged = shim("echo again >/proc/self/fd/1", options, {}, withRootAs(12345, 23456));
    await logged.start();
    await logged.end();
    expect(read(`${kept()}.out`)).toBe("again\n");
  });
});

describe("the end of a logging program", () => {
  /** A program that keeps stdout until it is killed by its pid in `kept.pid`. */
  const mortal = () => program(`echo $$ >"$1.pid"; exec 5>&-; exec cat <&3 >"$1.out"`, kept());

  test("its output is dropped from then on, and the process neither blocks nor gets SIGPIPE", async () => {
    const command = "echo first; while [ ! -e /tmp/go ]; do sleep 0.02; done; seq 100000 && echo end >/tmp/end; exit 3";
    const logged = shim(command, both(mortal()));
    await logged.start();
    await until("the first line", () => read(`${kept()}.out`) === "first\n");
    process.kill(pidIn(`${kept()}.pid`), "SIGKILL");
    await until("its end", () => !isRunning(pidIn(`${kept()}.pid`)));
    writeFileSync(join(sandbox.rootfs, "tmp/go"), "");
    expect(await logged.end()).toBe(0);
    expect(logged.exitStatus).toBe("3");
    expect(existsSync(join(sandbox.rootfs, "tmp/end"))).toBe(true);
    expect(logged.errors).toEqual([]);
    expect(logged.file("shim-log.json")).toContain("output is lost: broken pipe");
    expect(logged.file("shim-log.json")).toContain("exit status 137");
    expect(sandbox.containers).toEqual([]);
  });

  test("while the process is held up by it", async () => {
    const logged = shim("seq 100000 && echo end >/tmp/end", both(mortal()));
    const pid = async () => {
      await until("the program", () => existsSync(`${kept()}.pid`) && read(`${kept()}.pid`) !== "");
      return pidIn(`${kept()}.pid`);
    };
    const stopped = pid().then((program) => process.kill(program, "SIGSTOP"));
    await logged.start();
    await stopped;
    const id = logged.directory.split("/").at(-2)!;
    // It may have been so quick that all was taken before the program stood still.
    await until("a full pipe or the end", () => waitsToWrite(id) || logged.exitStatus !== undefined);
    process.kill(pidIn(`${kept()}.pid`), "SIGKILL");
    await logged.end();
    expect(logged.exitStatus).toBe("0");
    expect(existsSync(join(sandbox.rootfs, "tmp/end"))).toBe(true);
  });

  test.skipIf(!full)(
    "one that stands still, or does not end with the output, costs an exit ten seconds, not for ever",
    async () => {
      const still = shim("seq 100000", both(program(`exec 5>&-; echo $$ >"$1.pid"; exec sleep 1000`, kept())));
      const pid = await still.start();
      const deaf = shim("true", both(program(`exec 5>&- 3<&- 4<&-; exec sleep 1000`)));
      await deaf.start();
      await until("a full pipe", () => waitsToWrite(still.directory.split("/").at(-2)!));
      process.kill(pid, "SIGKILL");
      expect(await Promise.all([still.end(), deaf.end()])).toEqual([0, 0]);
      expect(still.exitStatus).toBe("137");
      expect(still.file("shim-log.json")).toContain("it does not take the output");
      expect(deaf.exitStatus).toBe("0");
      expect(deaf.file("shim-log.json")).toContain("it has not ended with the output");
      expect(isRunning(pidIn(`${kept()}.pid`))).toBe(false);
    },
  );

  test("the end of its shim is its own", async () => {
    const logged = shim("exec sleep 600", both(mortal()));
    await logged.start();
    const pid = pidIn(`${kept()}.pid`);
    logged.child.kill("SIGKILL");
    await until("its end", () => !isRunning(pid));
  });

  test("it is not ended with what else is left of a container that its runtime can't kill", async () => {
    const runtime = join(sandbox.path, "failing-runc");
    const script = `#!/bin/sh\ncase " $* " in *" kill "*) exit 1;; esac\nexec ${sandbox.runtime} "$@"\n`;
    writeFileSync(runtime, script, { mode: 0o755 });
    const command = "(while :; do sleep 1000; done) >/dev/null 2>&1 & echo out";
    const late = 'exec 5>&-; sleep 1; cat <&3 >"$1.out"; exit 0';
    const logged = shim(command, both(program(late, kept())), { runtime }, withHostPids);
    await logged.start();
    await logged.end();
    expect(logged.file("shim-log.json")).toContain("kill: exit status 1");
    expect(read(`${kept()}.out`)).toBe("out\n");
  });
});

describe("a logging program that is none", () => {
  /** The shim's errors, once it has ended without leaving anything. */
  async function errors(output: OutputJson, env: Record<string, string> = {}): Promise<string[]> {
    const failed = shim("true", both(output), { env });
    expect(await failed.end()).toBe(1);
    expect(sandbox.containers).toEqual([]);
    expect(failed.file("pid")).toBeUndefined();
    return failed.errors;
  }

  test("a missing one, a directory, a file that can't be executed: the error names it", async () => {
    const { program: none } = program("");
    const missing = join(sandbox.path, "missing");
    expect(await errors({ path: missing, program: none! })).toEqual([`open ${missing}: no such file or directory`]);
    const plain = join(sandbox.path, "plain");
    writeFileSync(plain, "");
    expect(await errors({ path: plain, program: none! })).toEqual([`open ${plain}: permission denied`]);
    const directory = join(sandbox.path, "directory");
    mkdirSync(directory);
    expect(await errors({ path: directory, program: none! })).toEqual([`fork/exec ${directory}: permission denied`]);
    chmodSync(plain, 0o755);
    writeFileSync(plain, "\x7fELF no program");
    expect(await errors({ path: plain, program: none! })).toEqual([`fork/exec ${plain}: exec format error`]);
  });

  test("one that ends before it is ready", async () => {
    for (const script of ["exit 3", "kill -9 $$"]) {
      const output = program(script);
      const status = script === "exit 3" ? 3 : 137;
      expect(await errors(output)).toEqual([`open ${output.path}: exit status ${status} before it was ready`]);
    }
  });

  test("one that is never ready", async () => {
    const output = program(`echo $$ >"$1.pid"; exec sleep 1000`, kept());
    const impatient = { CONTAINERD_SHIM_FIFO_TIMEOUT: "1000" };
    expect(await errors(output, impatient)).toEqual([`open ${output.path}: deadline exceeded`]);
    await until("its end", () => !isRunning(pidIn(`${kept()}.pid`)));
  });
});

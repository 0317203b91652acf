/** Output and input of a process: FIFOs, files, /dev/null; clients that come late, go, come back or never come. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import koffi from "koffi";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { times } from "../harness/extent.js";
import { statOf, waitsToWrite } from "../harness/processes.js";
import { PATIENCE } from "../harness/wait.js";
import { Sandbox, until, withRootAs } from "./stand-in-daemon.js";

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.clean());

const libc = koffi.load("libc.so.6");
const posixOpenpt = libc.func("int posix_openpt(int flags)");
const grantpt = libc.func("int grantpt(int fd)");
const unlockpt = libc.func("int unlockpt(int fd)");
const ptsname = libc.func("const char *ptsname(int fd)");

/** A pseudo-terminal of the host: its master, and the path of its slave. */
function openTerminal(): [number, string] {
  const master: number = posixOpenpt(constants.O_RDWR | constants.O_NOCTTY);
  if (master < 0 || grantpt(master) !== 0 || unlockpt(master) !== 0) throw new Error("no pseudo-terminal");
  return [master, ptsname(master) as string];
}

const sha256 = (data: Buffer | string) => createHash("sha256").update(data).digest("hex");

/** A reader that takes only what the test asks for. */
class SlowReader {
  readonly #fd: number;
  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  }
  /** What is there now; undefined when nothing is, empty at the end. */
  read(): Buffer | undefined {
    const data = Buffer.alloc(65536);
    try {
      return data.subarray(0, readSync(this.#fd, data));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
      throw error;
    }
  }
  async readToEnd(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const deadline = Date.now() + PATIENCE;
    while (Date.now() < deadline) {
      const chunk = this.read();
      if (chunk?.length === 0) return Buffer.concat(chunks);
      if (chunk) chunks.push(chunk);
      else await sleep(2);
    }
    throw new Error("no end of the output");
  }
  close(): void {
    closeSync(this.#fd);
  }
}

describe("output", () => {
  test("10 MB through a FIFO arrive whole, and stderr apart from them", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const stderr = sandbox.fifo("stderr");
    const command = "dd if=/dev/urandom of=/tmp/data bs=1M count=10 2>/dev/null; cat /tmp/data; echo problem >&2";
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout, stderr });
    const readers = [sandbox.reader(stdout), sandbox.reader(stderr)];
    await shim.start();
    await shim.end();
    const [output, problem] = await Promise.all(readers.map((reader) => reader.text));
    expect(output!.length).toBe(10 << 20);
    expect(sha256(output!)).toBe(sha256(readFileSync(join(sandbox.rootfs, "tmp/data"))));
    expect(problem!.toString()).toBe("problem\n");
    expect(shim.exitStatus).toBe("0");
  });

  test("many small writes to a slow reader arrive whole and in order", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const shim = sandbox.shim(id, sandbox.bundle(id, ["seq", "200000"]), { stdout });
    const reader = new SlowReader(stdout);
    await shim.start();
    await until("a full FIFO", () => waitsToWrite(id));
    const output = await reader.readToEnd();
    reader.close();
    const lines = Array.from({ length: 200000 }, (_, index) => `${index + 1}\n`).join("");
    expect(sha256(output)).toBe(sha256(lines));
    await shim.end();
  });

  test("a reader that leaves does no harm, and the next one goes on where it stopped", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const command = "echo one; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo two; echo three";
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout });
    const first = new SlowReader(stdout);
    await shim.start();
    let seen = "";
    await until("first line", () => {
      seen += first.read()?.toString() ?? "";
      return seen === "one\n";
    });
    first.close();
    // Written while nobody reads: it stays in the FIFO.
    writeFileSync(join(sandbox.rootfs, "tmp/go"), "");
    // The process has ended with output left in the FIFO; who opens it now, while the shim lives, gets it.
    const second = new SlowReader(stdout);
    expect((await second.readToEnd()).toString()).toBe("two\nthree\n");
    second.close();
    await shim.end();
    expect(shim.exitStatus).toBe("0");
  });

  test("with nobody reading the process blocks once the FIFO is full, and goes on when somebody reads", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "seq 100000; echo end >/tmp/end"]), { stdout });
    const first = new SlowReader(stdout);
    await shim.start();
    first.close();
    await until("a full FIFO", () => waitsToWrite(id));
    expect(existsSync(join(sandbox.rootfs, "tmp/end"))).toBe(false);
    expect(shim.exitStatus).toBeUndefined();
    const second = sandbox.reader(stdout);
    await shim.end();
    expect(shim.exitStatus).toBe("0");
    const lines = Array.from({ length: 100000 }, (_, index) => `${index + 1}\n`).join("");
    expect(sha256(await second.text)).toBe(sha256(lines));
  });

  test("small lines fill the whole capacity of a FIFO that nobody reads", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    // Line by line, each written by itself: 40,000 bytes in 2,000 writes.
    const command = 'i=0; while [ $i -lt 2000 ]; do echo "nineteen characters"; i=$((i+1)); done';
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout });
    const reader = new SlowReader(stdout);
    await shim.start();
    await shim.end();
    expect(shim.exitStatus).toBe("0");
    expect((await reader.readToEnd()).length).toBe(40_000);
    reader.close();
  });

  test("a client that has the FIFO open gets what is left, however late it reads; one that never opens it has 15 seconds", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "seq 50000"]), { stdout });
    const reader = new SlowReader(stdout);
    await shim.start();
    // The output of others, which nobody opens at all, is given up meanwhile.
    const limit = times(15_000, 1_000);
    const env: Record<string, string> = limit === 15_000 ? {} : { CONTAINERD_SHIM_FIFO_TIMEOUT: `${limit}` };
    const other = sandbox.id();
    const lonely = sandbox.fifo("lonely");
    const begin = Date.now();
    const abandoned = sandbox.shim(other, sandbox.bundle(other, ["true"]), { stdout: lonely }, { env });
    expect(await abandoned.end()).toBe(1);
    expect(Date.now() - begin).toBeGreaterThanOrEqual(limit);
    expect(abandoned.errors).toEqual([`open ${lonely}: deadline exceeded`]);
    expect(shim.child.exitCode).toBeNull();
    const output = await reader.readToEnd();
    reader.close();
    expect(output.toString().endsWith("\n50000\n")).toBe(true);
    await shim.end();
  });

  test("an exit is told although nobody reads what is left of the output", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const command = "while [ ! -e /tmp/go ]; do sleep 0.02; done; seq 100000";
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout });
    const reader = new SlowReader(stdout);
    await shim.start();
    reader.close();
    writeFileSync(join(sandbox.rootfs, "tmp/go"), "");
    await until("a full FIFO", () => waitsToWrite(id));
    sandbox.runtimeCall("kill", id, "KILL");
    await until("exit status", () => shim.exitStatus === "137");
    expect(await shim.end()).toBe(0);
    expect(sandbox.containers).toEqual([]);
  });

  test("what nobody has open is dropped at once when its process is killed", async () => {
    /** Seconds from the kill to the shim's end. */
    async function end(command: string): Promise<number> {
      const id = sandbox.id();
      const stdout = sandbox.fifo(`stdout-${id}`);
      const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout });
      const reader = new SlowReader(stdout);
      const pid = await shim.start();
      reader.close();
      // It has slept, or filled the FIFO.
      await until("rest", () => statOf(pid).name === "sleep" || waitsToWrite(id));
      const begin = performance.now();
      process.kill(pid, "SIGKILL");
      await shim.end();
      return (performance.now() - begin) / 1000;
    }
    const [quiet, flooding] = [[], []] as [number[], number[]];
    for (let round = 0; round < 3; round++) {
      quiet.push(await end("exec sleep 600"));
      flooding.push(await end("exec cat /dev/zero"));
    }
    expect(Math.min(...flooding)).toBeLessThan(5 * Math.max(...quiet));
  }, 60_000);

  test("the end of stdout is told when the process closes it, and that of stderr when it ends", async () => {
    const id = sandbox.id();
    const [stdout, stderr] = [sandbox.fifo("stdout"), sandbox.fifo("stderr")];
    const command = "echo out; exec >&-; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo err >&2";
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout, stderr });
    const [first, second] = [sandbox.reader(stdout), sandbox.reader(stderr)];
    await shim.start();
    expect((await first.text).toString()).toBe("out\n");
    expect(shim.exitStatus).toBeUndefined();
    // One that comes after the end waits for a writer, but not for ever.
    const late = sandbox.reader(stdout);
    await until("its wait", () => {
      const { name, field } = statOf(late.child.pid!);
      return name === "cat" && field(3) === "S";
    });
    writeFileSync(join(sandbox.rootfs, "tmp/go"), "");
    await shim.end();
    expect((await second.text).toString()).toBe("err\n");
    expect((await late.text).toString()).toBe("");
    expect(shim.exitStatus).toBe("0");
  });

  test("what was written before stdout was closed is kept for the reader that comes later", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const command = "while [ ! -e /tmp/go ]; do sleep 0.02; done; echo out; exec >&-; echo >/tmp/closed; sleep 600";
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout });
    const first = new SlowReader(stdout);
    const pid = await shim.start();
    first.close();
    writeFileSync(join(sandbox.rootfs, "tmp/go"), "");
    await until("the end of stdout", () => existsSync(join(sandbox.rootfs, "tmp/closed")));
    await sleep(100);
    const second = new SlowReader(stdout);
    expect((await second.readToEnd()).toString()).toBe("out\n");
    second.close();
    process.kill(pid, "SIGKILL");
    await shim.end();
  });

  test("stdout and stderr may be one FIFO", async () => {
    const id = sandbox.id();
    const both = sandbox.fifo("both");
    const bundle = sandbox.bundle(id, ["sh", "-c", "echo out; sleep 0.1; echo err >&2"]);
    const shim = sandbox.shim(id, bundle, { stdout: both, stderr: both });
    const reader = sandbox.reader(both);
    await shim.start();
    await shim.end();
    expect((await reader.text).toString()).toBe("out\nerr\n");
  });

  test("a stdout that nobody reads does not hold up stderr and stdin", async () => {
    const id = sandbox.id();
    const [stdin, stdout, stderr] = [sandbox.fifo("stdin"), sandbox.fifo("stdout"), sandbox.fifo("stderr")];
    const command = "cat /dev/zero & while read line; do echo got $line >&2; done; kill -9 $!";
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdin, stdout, stderr });
    const stuck = new SlowReader(stdout);
    const reader = sandbox.reader(stderr);
    await shim.start();
    await until("a full FIFO", () => waitsToWrite(id));
    let seen = "";
    reader.child.stdout!.on("data", (chunk: Buffer) => {
      seen += chunk.toString();
    });
    for (const word of ["one", "two", "three"]) {
      writeFileSync(stdin, `${word}\n`);
      await until(word, () => seen.endsWith(`got ${word}\n`));
    }
    shim.control("0 0 0");
    await until("exit status", () => shim.exitStatus !== undefined);
    await stuck.readToEnd();
    stuck.close();
    await shim.end();
  });

  test("a full disk loses output, but does not stop the process", async () => {
    const id = sandbox.id();
    const disk = join(sandbox.path, "small");
    execFileSync("mkdir", [disk]);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]);
    try {
      const stdout = join(disk, "log");
      writeFileSync(stdout, "");
      const shim = sandbox.shim(id, sandbox.bundle(id, ["seq", "100000"]), { stdout });
      await shim.start();
      await shim.end();
      expect(shim.exitStatus).toBe("0");
      expect(statSync(stdout).size).toBe(65536);
      expect(shim.file("shim-log.json")).toContain("output is lost: no space left on device");
      expect(shim.errors).toEqual([]);
    } finally {
      execFileSync("umount", ["-l", disk]);
    }
  });

  test("a regular file is appended to", async () => {
    const id = sandbox.id();
    const stdout = join(sandbox.path, "log");
    writeFileSync(stdout, "before\n");
    const command = "echo small; dd if=/dev/zero bs=1k count=300 2>/dev/null; echo problem >&2";
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", command]), { stdout, stderr: stdout });
    await shim.start();
    await shim.end();
    const text = readFileSync(stdout, "latin1");
    expect(text.startsWith("before\nsmall\n\0")).toBe(true);
    expect(text).toContain("problem\n");
    expect(text.length).toBe("before\nsmall\nproblem\n".length + 300 * 1024);
  });

  test("without paths the process has /dev/null and nothing is copied", async () => {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]), { stdin: "/dev/null" });
    const pid = await shim.start();
    for (const fd of [0, 1, 2]) expect(readlinkSync(`/proc/${pid}/fd/${fd}`)).toBe("/dev/null");
    const held = readdirSync(`/proc/${shim.pid}/fd`).map((fd) => readlinkSync(`/proc/${shim.pid}/fd/${fd}`));
    expect(held.filter((path) => path.startsWith("pipe:"))).toEqual([]);
  });

  test("pipes belong to the container's root in a user namespace", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const bundle = sandbox.bundle(id, ["sh", "-c", "stat -L -c '%u %g' /proc/self/fd/1"], withRootAs(12345, 23456));
    const shim = sandbox.shim(id, bundle, { stdout, rootUID: 12345, rootGID: 23456 });
    const output = sandbox.reader(stdout);
    await shim.start();
    await shim.end();
    expect((await output.text).toString()).toBe("0 0\n");
  });
});

describe("input", () => {
  /** A container that copies its input to its output. */
  async function cat(options: { stdin: string; stdout: string }) {
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["cat"]), options);
    const output = sandbox.reader(options.stdout);
    await shim.start();
    return { shim, output };
  }

  test("data, then closeStdin, then the client leaves", async () => {
    const stdin = sandbox.fifo("stdin");
    const stdout = sandbox.fifo("stdout");
    const { shim, output } = await cat({ stdin, stdout });
    const writer = openSync(stdin, "w");
    writeSync(writer, "first ");
    shim.control("0 0 0");
    await once(output.child.stdout!, "data");
    // The client is still there, so its stdin is not over.
    writeSync(writer, "second");
    expect(shim.exitStatus).toBeUndefined();
    closeSync(writer);
    await shim.end();
    expect((await output.text).toString()).toBe("first second");
    expect(shim.exitStatus).toBe("0");
  });

  test("data, then the client leaves, then closeStdin", async () => {
    const stdin = sandbox.fifo("stdin");
    const stdout = sandbox.fifo("stdout");
    const { shim, output } = await cat({ stdin, stdout });
    writeFileSync(stdin, "all of it");
    await once(output.child.stdout!, "data");
    // Without closeStdin the input does not end, and another client may go on.
    expect(shim.exitStatus).toBeUndefined();
    writeFileSync(stdin, " and more");
    shim.control("0 0 0");
    await shim.end();
    expect((await output.text).toString()).toBe("all of it and more");
  });

  test("data that is in the FIFO before the process exists reaches it, closed or not", async () => {
    const id = sandbox.id();
    const stdin = sandbox.fifo("stdin");
    const stdout = sandbox.fifo("stdout");
    const early = openSync(stdin, "r+");
    const data = Buffer.alloc(60_000, "early ");
    writeSync(early, data);
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "sleep 0.3; cat"]), { stdin, stdout });
    const output = sandbox.reader(stdout);
    shim.control("0 0 0");
    await shim.start();
    closeSync(early);
    await shim.end();
    expect(sha256(await output.text)).toBe(sha256(data));
  });

  test("closeStdin ends the input of a process whose client never came", async () => {
    const stdin = sandbox.fifo("stdin");
    const { shim, output } = await cat({ stdin, stdout: sandbox.fifo("stdout") });
    await sleep(100);
    expect(shim.exitStatus).toBeUndefined();
    shim.control("0 0 0");
    await shim.end();
    expect((await output.text).length).toBe(0);
    expect(shim.exitStatus).toBe("0");
  });

  test("pieces of any size, at any pace, arrive whole and in order", async () => {
    const stdin = sandbox.fifo("stdin");
    const stdout = sandbox.fifo("stdout");
    const id = sandbox.id();
    const shim = sandbox.shim(id, sandbox.bundle(id, ["cat"]), { stdin, stdout });
    const reader = new SlowReader(stdout);
    await shim.start();
    const seed = Number(process.env.SHIMTEST_SEED ?? Date.now() % 1e9);
    console.log(`seed ${seed}`);
    let state = seed;
    const random = (limit: number) => {
      state = (state * 1103515245 + 12345) % 2 ** 31;
      return Math.floor((state / 2 ** 31) * limit);
    };
    const writer = openSync(stdin, constants.O_WRONLY | constants.O_NONBLOCK);
    const sent = createHash("sha256");
    const received = createHash("sha256");
    let [sentLength, receivedLength, rest] = [0, 0, Buffer.alloc(0)];
    const write = () => {
      if (rest.length === 0)
        rest = Buffer.alloc(1 + random([10, 1000, 20_000, 200_000][random(4)]!), `${random(1e9)} `);
      try {
        const count = writeSync(writer, rest);
        sent.update(rest.subarray(0, count));
        sentLength += count;
        rest = rest.subarray(count);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      }
    };
    const read = () => {
      const chunk = reader.read();
      if (!chunk) return;
      received.update(chunk);
      receivedLength += chunk.length;
    };
    while (sentLength < 16 << 20) {
      const [writes, reads] = [random(20), random(20)];
      for (let i = 0; i < writes; i++) write();
      for (let i = 0; i < reads; i++) read();
      if (random(50) === 0) await sleep(random(20));
    }
    closeSync(writer);
    shim.control("0 0 0");
    for (const deadline = Date.now() + PATIENCE; receivedLength < sentLength && Date.now() < deadline; ) {
      read();
      await sleep(0);
    }
    expect(receivedLength).toBe(sentLength);
    expect(received.digest("hex")).toBe(sent.digest("hex"));
    reader.close();
    await shim.end();
  });

  test("more input than any pipe holds", async () => {
    const stdin = sandbox.fifo("stdin");
    const { shim, output } = await cat({ stdin, stdout: sandbox.fifo("stdout") });
    const data = Buffer.alloc(20 << 20, "0123456789abcdef");
    const client = sandbox.client("sh", "-c", 'cat > "$0"', stdin);
    client.stdin!.end(data);
    await new Promise((resolve) => client.once("exit", resolve));
    shim.control("0 0 0");
    await shim.end();
    expect(sha256(await output.text)).toBe(sha256(data));
  });

  test("a process that does not read its input does not hold up its output", async () => {
    const id = sandbox.id();
    const stdin = sandbox.fifo("stdin");
    const stdout = sandbox.fifo("stdout");
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "sleep 0.5; seq 100000; exit 3"]), { stdin, stdout });
    const output = sandbox.reader(stdout);
    const client = sandbox.client("sh", "-c", 'cat /dev/zero > "$0"', stdin);
    await shim.start();
    await shim.end();
    expect((await output.text).toString().endsWith("\n100000\n")).toBe(true);
    expect(shim.exitStatus).toBe("3");
    client.kill("SIGKILL");
  });

  test("a terminal in place of a FIFO does not become the shim's own", async () => {
    const [master, path] = openTerminal();
    const id = sandbox.id();
    const stdio = { stdin: path, stdout: path, stderr: path };
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sleep", "600"]), stdio);
    await shim.start();
    // Its controlling terminal.
    expect(statOf(shim.pid).field(7)).toBe("0");
    closeSync(master);
  });

  test("a regular file is read to its end", async () => {
    const stdin = join(sandbox.path, "input");
    writeFileSync(stdin, Buffer.alloc(300_000, "line\n"));
    const { shim, output } = await cat({ stdin, stdout: sandbox.fifo("stdout") });
    await shim.end();
    expect((await output.text).length).toBe(300_000);
  });
});

describe("paths that cannot be opened", () => {
  test.each(["stdin", "stdout", "stderr"] as const)("a missing %s FIFO is named", async (name) => {
    const id = sandbox.id();
    const path = join(sandbox.path, "nowhere", name);
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), { [name]: path });
    expect(await shim.end()).toBe(1);
    expect(shim.errors).toEqual([`open ${path}: no such file or directory`]);
    expect(await shim.channel!.receive()).toBe("");
    expect(sandbox.containers).toEqual([]);
  });

  test("a FIFO that nobody opens is given up after the limit", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const begin = Date.now();
    const env = { CONTAINERD_SHIM_FIFO_TIMEOUT: "600" };
    const shim = sandbox.shim(id, sandbox.bundle(id, ["true"]), { stdout }, { env });
    expect(await shim.end()).toBe(1);
    expect(Date.now() - begin).toBeGreaterThanOrEqual(600);
    expect(shim.errors).toEqual([`open ${stdout}: deadline exceeded`]);
    expect(sandbox.containers).toEqual([]);
  });

  test("a client that takes its time is waited for", async () => {
    const id = sandbox.id();
    const stdout = sandbox.fifo("stdout");
    const stderr = sandbox.fifo("stderr");
    const shim = sandbox.shim(id, sandbox.bundle(id, ["sh", "-c", "echo out; echo err >&2"]), { stdout, stderr });
    await sleep(300);
    const second = sandbox.reader(stderr);
    await sleep(300);
    const first = sandbox.reader(stdout);
    await shim.start();
    await shim.end();
    expect((await first.text).toString()).toBe("out\n");
    expect((await second.text).toString()).toBe("err\n");
  });
});

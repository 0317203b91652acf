/** A container's log, as its shim writes it. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { full } from "../harness/extent.js";
import { Sandbox, type Shim, until } from "./stand-in-daemon.js";

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.clean());

interface Wishes {
  maxSize?: number;
  maxFiles?: number;
  terminal?: boolean;
  directory?: string;
}

function directoryFor(name: string): string {
  const path = join(sandbox.path, name);
  mkdirSync(path, { mode: 0o700, recursive: true });
  return path;
}

function logging(args: string[], wishes: Wishes = {}): { shim: Shim; directory: string } {
  const { maxSize = 10 << 20, maxFiles = 2, terminal, directory = directoryFor("log") } = wishes;
  const id = sandbox.id();
  const start = Number(filesIn(directory).at(-1)?.slice(0, 16) ?? 0);
  const output = { path: directory, log: { start, maxSize, maxFiles } };
  const stdio = { stdin: "", stdout: output, stderr: output };
  const shim = sandbox.shim(
    id,
    sandbox.bundle(id, args, (config) => {
      if (terminal) config.process.terminal = true;
    }),
    { stdio, terminal },
  );
  return { shim, directory };
}

function filesIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith(".log"))
    .sort();
}

const LINE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) (P|F(?::[a-z:0-9]+)?) (.*)$/s;

function entries(directory: string): { stream: string; tag: string; text: string }[] {
  const whole = filesIn(directory)
    .map((name) => readFileSync(join(directory, name), "latin1"))
    .join("");
  if (whole === "") return [];
  expect(whole.endsWith("\n")).toBe(true);
  return whole
    .slice(0, -1)
    .split("\n")
    .map((line) => {
      const [, , stream = "", tag = "", text = ""] = LINE.exec(line) ?? [];
      expect(stream, line).not.toBe("");
      return { stream, tag, text };
    });
}

/** What a stream has brought, byte for byte. */
function printed(directory: string, stream = "stdout"): string {
  return entries(directory)
    .filter((entry) => entry.stream === stream && !entry.tag.startsWith("F:dropped"))
    .map(({ tag, text }) => (tag === "F" ? `${text}\n` : text))
    .join("");
}

async function run(args: string[], wishes: Wishes = {}) {
  const { shim, directory } = logging(args, wishes);
  await shim.start();
  await shim.end();
  expect(shim.errors).toEqual([]);
  return directory;
}

test("lines of both streams, parts of long ones, the last one without its end", async () => {
  const script = "echo one; echo two >&2; head -c 100000 /dev/zero | tr '\\0' x; echo; printf 'no end'";
  const directory = await run(["sh", "-c", script]);
  expect(printed(directory)).toBe(`one\n${"x".repeat(100_000)}\nno end`);
  expect(printed(directory, "stderr")).toBe("two\n");
  // The two streams are read one after the other, in either order.
  const stdout = entries(directory).filter(({ stream }) => stream === "stdout");
  const last = stdout.slice(stdout.findLastIndex(({ tag }) => tag === "F") + 1);
  expect(last.map(({ text }) => text).join("")).toBe("no end");
  // A shim that gets to run late has written it as a part before it hears of the end.
  expect(last.map(({ tag }) => tag)).toEqual([...last.slice(1).map(() => "P"), "F:cut"]);
  expect(filesIn(directory)).toEqual([`${"0".repeat(16)}.log`]);
});

test.skipIf(!full)("a line that is printed piece by piece is one; what no more comes for is seen", async () => {
  const script = "for c in a b c; do printf $c; done; echo; printf '$ '; read -r _ < /tmp/go; echo done";
  const go = sandbox.fifo("go");
  const { shim, directory } = logging(["sh", "-c", script.replace("/tmp/go", `/tmp/${basename(go)}`)], {});
  renameSync(go, join(sandbox.rootfs, "tmp", basename(go)));
  await shim.start();
  await until("the prompt", () => printed(directory).endsWith("$ "));
  expect(printed(directory)).toBe("abc\n$ ");
  sandbox.client("sh", "-c", `echo go > ${join(sandbox.rootfs, "tmp", basename(go))}`);
  await shim.end();
  expect(printed(directory)).toBe("abc\n$ done\n");
});

test.skipIf(!full)("a terminal's output is stdout", async () => {
  const directory = await run(["sh", "-c", "echo one; echo two >&2"], { terminal: true });
  expect(printed(directory)).toBe("one\r\ntwo\r\n");
});

test("a flood: files of their size, as many as wanted, whole lines in them, none doubled", async () => {
  const directory = await run(["sh", "-c", "seq 1 200000; seq 1 20 >&2"], { maxSize: 1 << 20, maxFiles: 3 });
  const files = filesIn(directory);
  expect(files).toHaveLength(3);
  let position = Number.parseInt(files[0]!, 10);
  for (const name of files) {
    expect(Number.parseInt(name, 10)).toBe(position);
    const { size } = statSync(join(directory, name));
    expect(size).toBeLessThanOrEqual(1 << 20);
    position += size;
  }
  const numbers = printed(directory).split("\n").slice(0, -1).map(Number);
  expect(numbers.at(-1)).toBe(200_000);
  const first = numbers[0]!;
  expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => first + index));
});

test.skipIf(!full)("any bytes, and lines of any length", async () => {
  const lengths = [0, 1, 16383, 16384, 16385, 32767, 32768, 65535, 65536, 65537, 1_000_000];
  const lines = lengths.map((length) => randomBytes(length).map((byte) => (byte === 10 ? 11 : byte)));
  const data = Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")]));
  writeFileSync(join(sandbox.rootfs, "data"), data);
  const directory = await run(["cat", "/data"]);
  expect(printed(directory)).toBe(data.toString("latin1"));
});

test.skipIf(!full)("a shim that is killed while it writes leaves lines that the next one goes on with", async () => {
  const directory = directoryFor("log");
  let runs = 0;
  for (; runs < 5; runs++) {
    const { shim } = logging(["sh", "-c", `while :; do seq 1 1000; printf half-${runs}; done`], { directory });
    await shim.start();
    // There is no file before the first line.
    const written = () => {
      const last = filesIn(directory).at(-1);
      return last === undefined ? 0 : Number.parseInt(last, 10) + statSync(join(directory, last)).size;
    };
    const before = written();
    await until("lines", () => written() > before + 100_000);
    shim.child.kill("SIGKILL");
    await shim.end();
    process.kill(shim.processPid, "SIGKILL");
  }
  const last = await run(["sh", "-c", "echo whole"], { directory });
  const found = entries(last);
  expect(found.at(-1)).toEqual({ stream: "stdout", tag: "F", text: "whole" });
  // Nothing goes on with what another shim has begun.
  expect(found.at(-2)?.tag).not.toBe("P");
});

test.skipIf(!full)(
  "what a container prints is never taken for the head of a line, wherever the end of the log begins",
  async () => {
    const directory = directoryFor("log");
    // All of it is longer than what a shim reads of a log that it goes on with.
    const flood = "yes 'a evil P a evil P a evil P' | head -c 90000 | tr '\\n' ' '; echo";
    for (let runs = 0; runs < 4; runs++) {
      await run(["sh", "-c", `${flood}; echo ${"x".repeat(runs)}`], { directory });
      // Fails for a line of a stream that there is not.
      expect(entries(directory).filter(({ tag }) => tag === "F:cut")).toEqual([]);
    }
  },
);

test.skipIf(!full)("lines without an end take no more room than others, start after start", async () => {
  const directory = directoryFor("log");
  for (let runs = 0; runs < 6; runs++)
    await run(["sh", "-c", "head -c 16000 /dev/zero | tr '\\0' x"], { directory, maxSize: 1 << 15, maxFiles: 2 });
  const files = filesIn(directory);
  expect(files).toHaveLength(2);
  for (const name of files) expect(statSync(join(directory, name)).size).toBeLessThanOrEqual(1 << 15);
});

test("a full disk: lines are dropped and counted, and the container goes on", async () => {
  const directory = directoryFor("small");
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", directory]);
  try {
    const filler = join(directory, "filler");
    writeFileSync(filler, Buffer.alloc(3900 * 1024));
    const go = sandbox.fifo("go");
    const inside = join(sandbox.rootfs, "tmp", "go");
    renameSync(go, inside);
    const { shim } = logging(["sh", "-c", "seq 1 20000; : > /tmp/printed; read -r _ < /tmp/go; echo after"], {
      directory,
    });
    await shim.start();
    await until("the end of all lines", () => existsSync(join(sandbox.rootfs, "tmp", "printed")));
    await until("a full disk", () => (shim.file("shim-log.json") ?? "").includes("no space left"));
    rmSync(filler);
    sandbox.client("sh", "-c", `echo go > ${inside}`);
    await shim.end();
    const dropped = entries(directory).find(({ tag }) => tag.startsWith("F:dropped:"));
    expect(dropped?.text).toMatch(/^\d+ lines were dropped: no space left on device$/);
    expect(entries(directory).at(-1)?.text).toBe("after");
  } finally {
    execFileSync("umount", ["--lazy", directory]);
  }
});

/**
 * Where the stdio of tasks and execs goes: FIFOs, files, logging programs, nowhere; and names that lead nowhere. Ours does more than
 * Debian's containerd, which takes `fifo://` and a terminal's `file://` for paths, tells the logging program of an exec the exec's id in
 * place of the container's, lets anybody lead a file elsewhere, and answers UNKNOWN to all that leads nowhere.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isDebians, startContainerd1, useContainerd1 } from "../harness/containerd1.js";
import { collect, makeFifos, openReader } from "../harness/stdio.js";
import { createContainer, createTask, startTask } from "../harness/task.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const containerd = useContainerd1();
const ours = test.skipIf(isDebians);

const args = ["sh", "-c", "echo out; echo err >&2"];
const read = (path: string) => readFileSync(path, "utf8");

/** A logging program that writes what it is told, and what it gets, into files named for its first argument. */
function logger(directory: string): string {
  const path = join(directory, "logger");
  const script = `printf '%s\\n' "$@" "$CONTAINER_ID" "$CONTAINER_NAMESPACE" >"$2.told"
cat 5>&- <&3 >"$2.out" &
cat 5>&- <&4 >"$2.err" &
exec 3<&- 4<&- 5>&-
wait`;
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

test("file:// is appended to, and made with what is missing above it, for root alone", async () => {
  const { daemon, api } = containerd;
  const path = join(daemon.dir, "logs", "of ü", "log");
  const uri = `file://${encodeURI(path)}`;
  for (const name of ["first", "second"]) {
    await using task = await startTask(daemon, api, { name, args, request: { stdout: uri, stderr: uri } });
    expect(await task.exit()).toBe(0);
    expect((await api.tasks.get({ containerId: task.id })).process).toMatchObject({ stdout: uri, stderr: uri });
    await task.delete();
  }
  // Each of the two comes by a pipe of its own.
  expect(read(path).split("\n").sort()).toEqual(["", "err", "err", "out", "out"]);
  if (isDebians) return;
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(daemon.dir, "logs", "of ü")).mode & 0o077).toBe(0);
});

ours("file:// shows what a terminal shows, and what an exec prints", async () => {
  const { daemon, api } = containerd;
  const [screen, log] = [join(daemon.dir, "screen"), join(daemon.dir, "exec")];
  await using task = await startTask(daemon, api, {
    ...{ name: "file", args: ["sh", "-c", "echo shown; exec sleep 1000"], terminal: true },
    request: { stdout: `file://${screen}` },
  });
  using exec = await task.exec({ execId: "e", args, request: { stdout: `file:${log}`, stderr: "" } });
  await exec.start();
  expect(await exec.exit()).toBe(0);
  expect(read(log)).toBe("out\n");
  await eventually(() => read(screen) === "shown\r\n", { what: "what the terminal shows" });
});

ours("binary:// starts a program that gets the output, of an exec too; its arguments are the query's", async () => {
  const { daemon, api } = containerd;
  const program = logger(daemon.dir);
  const of = (name: string) => {
    const kept = join(daemon.dir, name);
    const uri = `binary://${program}?key=${encodeURIComponent(kept)}&a+b=1%262&empty=&key=again`;
    return { kept, request: { stdout: uri, stderr: uri } };
  };
  const [init, other] = [of("init"), of("exec")];
  await using task = await startTask(daemon, api, {
    ...{ name: "binary", args: ["sh", "-c", "echo out; echo err >&2; exec sleep 1000"], request: init.request },
  });
  using exec = await task.exec({ execId: "e", args, request: other.request });
  await exec.start();
  expect(await exec.exit()).toBe(0);
  await task.kill();
  expect(await task.exit()).toBe(137);
  for (const { kept } of [init, other]) {
    expect(read(`${kept}.told`)).toBe(`key\n${kept}\na b\n1&2\nempty\n\n${task.id}\n${api.namespace}\n`);
    expect([read(`${kept}.out`), read(`${kept}.err`)]).toEqual(["out\n", "err\n"]);
  }
});

ours("a logging program outlives the daemon, and has every byte when the next one tells the exit", async () => {
  await using daemon = await startContainerd1();
  const uri = `binary://${logger(daemon.dir)}?key=${join(daemon.dir, "kept")}`;
  const go = join(daemon.dir, "go");
  makeFifos(go);
  const { id: containerId } = await startTask(daemon, daemon.v1("test"), {
    ...{ name: "outlives", args: ["sh", "-c", "echo before; read line; seq 50000"] },
    request: { stdin: `fifo://${go}`, stdout: uri, stderr: uri },
  });
  daemon.kill();
  await daemon.restart();
  writeFileSync(go, "line\n");
  const { exitStatus } = await daemon.v1("test").tasks.wait({ containerId });
  expect(exitStatus).toBe(0);
  const numbers = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join("");
  expect(read(join(daemon.dir, "kept.out"))).toBe(`before\n${numbers}`);
});

ours("fifo:// is a FIFO's path", async () => {
  const { daemon, api } = containerd;
  const path = join(daemon.dir, "a fifo");
  makeFifos(path);
  const output = collect(openReader(path));
  const request = { stdout: `fifo://${encodeURI(path)}` };
  await using task = await startTask(daemon, api, { name: "fifo", args, request });
  expect(await task.exit()).toBe(0);
  expect((await output.whole).toString()).toBe("out\n");
});

ours("what leads nowhere is refused by its name, and nothing is left", async () => {
  const { daemon, api } = containerd;
  const { dir } = daemon;
  const directory = join(dir, "directory");
  mkdirSync(directory);
  const plain = join(dir, "plain");
  writeFileSync(plain, "");
  const link = join(dir, "link");
  symlinkSync(plain, link);
  const fifo = join(dir, "fifo");
  makeFifos(fifo);
  const missing = join(dir, "missing");
  const cases: [request: object, refusal: RegExp | string][] = [
    [{ stdout: "http:///x" }, /^INVALID_ARGUMENT: .*"http:\/\/\/x": unknown STDIO scheme http/],
    [{ stdin: "binary:///bin/true" }, /^INVALID_ARGUMENT: .*unknown STDIO scheme binary/],
    [{ stdout: "relative" }, /^INVALID_ARGUMENT: .*"relative": not an absolute path/],
    [{ stdout: "file://relative/x" }, /^INVALID_ARGUMENT: .*third slash/],
    [{ stderr: "file:relative" }, /^INVALID_ARGUMENT: .*not an absolute path/],
    [{ stdout: "file:///x%ff" }, /^INVALID_ARGUMENT: .*not encoded/],
    [{ stdout: "file:///x%00y" }, /^INVALID_ARGUMENT: .*NUL/],
    [{ stdout: "binary:///bin/true?a=%00" }, /^INVALID_ARGUMENT: .*NUL/],
    [{ stdin: missing }, `NOT_FOUND: open ${missing}: no such file or directory: not found`],
    [{ stdout: missing }, `NOT_FOUND: open ${missing}: no such file or directory: not found`],
    [{ stderr: `fifo://${missing}` }, `NOT_FOUND: open ${missing}: no such file or directory: not found`],
    [{ stdout: `binary://${missing}` }, `NOT_FOUND: open ${missing}: no such file or directory: not found`],
    [{ stdin: directory }, `INVALID_ARGUMENT: open ${directory}: is a directory: invalid argument`],
    [{ stdout: directory }, `INVALID_ARGUMENT: open ${directory}: is a directory: invalid argument`],
    [{ stdout: `file://${directory}` }, /^INVALID_ARGUMENT: .*is a directory/],
    [{ stdout: `file://${link}` }, /^INVALID_ARGUMENT: .*link/],
    [{ stdout: `file://${fifo}` }, /^INVALID_ARGUMENT: .*fifo/],
    [{ stdout: `file://${plain}/below` }, /^(INVALID_ARGUMENT|FAILED_PRECONDITION): .*plain: not a directory/],
    [{ stdout: `binary://${plain}` }, `INVALID_ARGUMENT: open ${plain}: permission denied: invalid argument`],
    [{ stdout: "binary:///bin/false" }, /^FAILED_PRECONDITION: open \/bin\/false: exit status 1 before it was ready/],
  ];
  const containerId = await createContainer(daemon, api, { name: "nowhere", args });
  for (const [request, words] of cases) {
    const expected = typeof words === "string" ? expect.stringContaining(words) : expect.stringMatching(words);
    expect(await refusal(api.tasks.create({ containerId, ...request })), JSON.stringify(request)).toEqual(expected);
    expect(await refusal(api.tasks.get({ containerId }))).toMatch(/^NOT_FOUND/);
  }
  expect(readdirSync(join(daemon.runDir, "tasks", api.namespace))).toEqual([]);
  expect(existsSync(missing)).toBe(false);
  expect(read(plain)).toBe("");
  // The same of an exec, whose stdio is opened when it is started.
  await using task = await startTask(daemon, api, { name: "here", args: ["sleep", "1000"] });
  const asked = { execId: "e", args };
  expect(await refusal(task.exec({ ...asked, request: { stdout: "http:///x" } }))).toMatch(/^INVALID_ARGUMENT: /);
  using exec = await task.exec({ ...asked, request: { stdout: missing } });
  expect(await refusal(exec.start())).toBe(`NOT_FOUND: open ${missing}: no such file or directory: not found`);
  await api.containers.delete({ id: containerId });
});

ours("file:// goes nowhere that another user could lead it to", async () => {
  const { daemon, api } = containerd;
  const shared = mkdtempSync(join(tmpdir(), "log-"));
  try {
    const containerId = await createContainer(daemon, api, { name: "others", args });
    const create = (path: string) => refusal(api.tasks.create({ containerId, stdout: `file://${path}` }));
    chmodSync(shared, 0o777);
    expect(await create(join(shared, "log"))).toMatch(/^FAILED_PRECONDITION: .*everybody may write to/);
    chmodSync(shared, 0o755);
    chownSync(shared, 12345, 0);
    expect(await create(join(shared, "log"))).toMatch(/^FAILED_PRECONDITION: .*belongs to user 12345/);
    expect(readdirSync(shared)).toEqual([]);
    // In one like /tmp somebody may have been there first.
    chownSync(shared, 0, 0);
    chmodSync(shared, 0o1777);
    const path = join(shared, "log");
    writeFileSync(path, "theirs");
    chownSync(path, 12345, 12345);
    expect(await create(path)).toMatch(/^(FAILED_PRECONDITION: .*belongs to user 12345|UNKNOWN: .*permission denied)/);
    rmSync(path);
    await using task = await createTask(daemon, api, { name: "own", args, request: { stdout: `file://${path}` } });
    await task.start();
    expect(await task.exit()).toBe(0);
    expect(read(path)).toBe("out\n");
    expect(lstatSync(path).uid).toBe(0);
    await api.containers.delete({ id: containerId });
  } finally {
    rmSync(shared, { recursive: true, force: true });
  }
});

/** Ids, names and keys that mean something to the file system, to a terminal or to JavaScript: to the daemon they mean nothing. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { modes } from "../harness/modes.js";
import { directoryPrefix } from "../harness/run-name.js";

let daemon: TestDaemon;
let container: TestContainer;
/** Has files where names that lead out of the daemon's directories would lead to. */
let around: string;
beforeAll(async () => {
  around = mkdtempSync(directoryPrefix());
  daemon = await startDaemon({ stateDir: join(around, "state") });
  container = await startContainer(daemon, { name: "there", args: ["sleep", "1000"] });
  writeFileSync(join(around, "precious"), "precious");
});
afterAll(async () => {
  await container[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
  rmSync(around, { recursive: true, force: true });
});

/** What is asked with a name, of a container or in one. */
const calls: [string, (name: string) => Promise<unknown>][] = [
  ["createContainer", (id) => daemon.api.createContainer({ id, bundlePath: container.bundle })],
  ["addProcess to", (id) => daemon.api.addProcess({ id, pid: "exec", args: ["true"] })],
  ["addProcess", (pid) => daemon.api.addProcess({ id: container.id, pid, args: ["true"] })],
  ["signal in", (id) => daemon.api.signal({ id, pid: "init", signal: 9 })],
  ["signal", (pid) => daemon.api.signal({ id: container.id, pid, signal: 9 })],
  ["updateContainer", (id) => daemon.api.updateContainer({ id, status: "paused" })],
  ["updateProcess in", (id) => daemon.api.updateProcess({ id, pid: "init", closeStdin: true })],
  ["updateProcess", (pid) => daemon.api.updateProcess({ id: container.id, pid, closeStdin: true })],
  ["state", (id) => daemon.api.state({ id })],
  ["stats", (id) => daemon.api.stats({ id })],
  ["createCheckpoint of", (id) => daemon.api.createCheckpoint({ id, checkpoint: { name: "one" } })],
  ["createCheckpoint", (name) => daemon.api.createCheckpoint({ id: container.id, checkpoint: { name } })],
  ["deleteCheckpoint of", (id) => daemon.api.deleteCheckpoint({ id, name: "one" })],
  ["deleteCheckpoint", (name) => daemon.api.deleteCheckpoint({ id: container.id, name })],
  ["listCheckpoint", (id) => daemon.api.listCheckpoint({ id })],
  [
    "start from a checkpoint",
    (checkpoint) => daemon.api.createContainer({ id: daemon.id("restored"), bundlePath: container.bundle, checkpoint }),
  ],
];

describe.each(calls)("%s", (_, call) => {
  test.each([
    "..",
    ".",
    "../precious",
    "../../precious",
    "/etc",
    "there/../../precious",
    "a\0b",
    "a\nb",
    "\x1b]0;x\x07",
  ])("%j", async (name) => {
    const before = modes(around);
    const error = await call(name).then(
      () => undefined,
      (failure: { code: status; details: string }) => failure,
    );
    expect([status.INVALID_ARGUMENT, status.NOT_FOUND]).toContain(error?.code);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
    expect(error?.details).not.toMatch(/[\u0000-\u001f\u007f]/);
    expect(modes(around)).toEqual(before);
    expect(readFileSync(join(around, "precious"), "utf8")).toBe("precious");
    expect((await daemon.api.state()).containers.map(({ id, status }) => ({ id, status }))).toEqual([
      { id: container.id, status: "running" },
    ]);
  });
});

/** Those that would make something of that name. */
const MAKERS = ["createContainer", "addProcess", "createCheckpoint"];

describe.each(calls.filter(([name]) => !MAKERS.includes(name)))("%s", (_, call) => {
  test.each(["__proto__", "constructor", "toString"])("%s, of which there is none", async (name) => {
    await expect(call(name)).rejects.toMatchObject({ code: status.NOT_FOUND });
  });
});

test("names that every JavaScript object has are names like any", async () => {
  for (const pid of ["__proto__", "constructor", "hasOwnProperty"]) {
    using exec = await startExec(daemon, container, { pid, args: ["sh", "-c", "exit 3"] });
    expect(await exec.exit()).toBe(3);
  }
});

test("a config.json with __proto__ in it changes neither this nor any other container", async () => {
  const poison = {
    terminal: true,
    checkpoint: "x",
    noPivotRoot: true,
    exec: true,
    hooks: { poststart: [{ path: "/x" }] },
  };
  await using odd = await startContainer(daemon, {
    name: "odd",
    args: ["sleep", "1000"],
    request: { labels: ["__proto__=1"] },
  });
  const path = join(odd.bundle, "config.json");
  const config = readFileSync(path, "utf8");
  const text = `"__proto__":${JSON.stringify(poison)},`;
  const poisoned = daemon.bundle("poisoned", { args: ["sleep", "1000"] });
  writeFileSync(
    join(poisoned, "config.json"),
    config
      .replace("{", `{${text}`)
      .replace('"process": {', `"process": {${text}`)
      .replace('"linux": {', `"linux": {${text}`),
  );
  const id = daemon.id("poisoned");
  await daemon.api.createContainer({ id, bundlePath: poisoned, labels: ["__proto__"] });
  await using plain = await startContainer(daemon, { name: "plain", args: ["sleep", "1000"] });
  for (const each of [id, plain.id]) {
    const [state] = (await daemon.api.state({ id: each })).containers;
    expect(state).toMatchObject({ id: each, status: "running" });
    expect(state!.processes[0]).toMatchObject({ terminal: false });
    const written = JSON.parse(readFileSync(join(daemon.stateDir, each, "init/process.json"), "utf8"));
    expect(written).toMatchObject({ exec: false, checkpoint: "", noPivotRoot: false, terminal: false });
  }
  expect((await daemon.api.state({ id })).containers[0]!.labels).toEqual(["__proto__"]);
  await daemon.api.signal({ id, pid: "init", signal: 9 });
  await daemon.events.waitFor({ id, type: "exit" });
  for (const each of [odd, plain]) {
    await each.kill();
    await each.exit();
  }
});

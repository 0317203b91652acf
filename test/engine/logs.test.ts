/** Logs of the engine's containers. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { LogsRequest } from "../../src/proto/containerdts/engine/v1/engine.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { processes } from "../harness/processes.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

/** What is in the log's files. */
function filesOf(id: string): string {
  const directory = join(daemon.root, "engine", "logs", "default", id);
  return readdirSync(directory)
    .sort()
    .map((name) => readFileSync(join(directory, name), "utf8"))
    .join("");
}

async function runToEnd(script: string, config: Config = {}): Promise<string> {
  const { engine } = daemon.v1();
  const id = newId(daemon);
  await engine.run({
    create: requestFor({ id, config: { args: texts("sh", "-c", script), ...config } }),
    stdio: NO_STDIO,
  });
  await engine.wait({ id });
  return id;
}

test("a container without streams has a log, which survives another start, and goes with it", async () => {
  const id = await runToEnd("echo one; echo two >&2");
  const line = (text: string) => new RegExp(`^20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}Z ${text}$`, "m");
  expect(filesOf(id)).toMatch(line("stdout F one"));
  expect(filesOf(id)).toMatch(line("stderr F two"));
  await daemon.kill();
  await daemon.start();
  await daemon.v1().engine.start({ id, stdio: NO_STDIO });
  await daemon.v1().engine.wait({ id });
  expect(filesOf(id).match(/stdout F one/g)).toHaveLength(2);
  await daemon.v1().engine.remove({ id });
  expect(existsSync(join(daemon.root, "engine", "logs", "default", id))).toBe(false);
});

test("without a log there is none; another driver is refused", async () => {
  const id = await runToEnd("echo one", { log: { driver: "none", maxSize: 0n, maxFiles: 0 } });
  expect(existsSync(join(daemon.root, "engine", "logs", "default", id))).toBe(false);
  await daemon.v1().engine.remove({ id });
  const create = (log: Config["log"]) => refusal(daemon.v1().engine.create(requestFor({ id, config: { log } })));
  expect(await create({ driver: "syslog", maxSize: 0n, maxFiles: 0 })).toContain('log driver "syslog"');
  expect(await create({ driver: "file", maxSize: 5n, maxFiles: 0 })).toContain("log max_size 5");
});

test.skipIf(!full)("times that no line can have are before, or behind, all lines", async () => {
  const id = await runToEnd("echo one");
  const read = async (times: Partial<LogsRequest>) => {
    let text = "";
    for await (const { data } of daemon.v1().engineStreams.logs(LogsRequest.fromPartial({ id, ...times })))
      text += data;
    return text;
  };
  const [never, always] = ["", expect.stringContaining("stdout F one")];
  for (const seconds of [253_402_300_800n, 1n << 60n]) {
    expect(await read({ since: { seconds, nanos: 0 } })).toEqual(never);
    expect(await read({ until: { seconds, nanos: 0 }, tail: 1n })).toEqual(always);
    expect(await read({ since: { seconds: -seconds, nanos: 0 } })).toEqual(always);
    expect(await read({ until: { seconds: -seconds, nanos: 0 } })).toEqual(never);
  }
  await daemon.v1().engine.remove({ id });
});

test("a shim that has written much into a log still shares its heap with the others", async () => {
  const { engine } = daemon.v1();
  const id = newId(daemon);
  const lines = `yes ${"x".repeat(99)} | head -c 50000000; echo the end; exec sleep 1000`;
  await engine.run({ create: requestFor({ id, config: { args: texts("sh", "-c", lines) } }), stdio: NO_STDIO });
  const ended = () => {
    try {
      return filesOf(id).endsWith("the end\n");
    } catch {
      // The log is made with its first line, and a file of it may just have been rotated away.
      return false;
    }
  };
  await eventually(ended, { what: "the last line", interval: 200 });
  const shim = processes().find(({ command }) => command.startsWith(`containerd-shim ${id} `))!;
  const memory = () => {
    const text = readFileSync(`/proc/${shim.pid}/smaps_rollup`, "utf8");
    return [...text.matchAll(/^Private_\w+:\s+(\d+)/gm)].reduce((sum, [, size]) => sum + Number(size), 0);
  };
  // It gives its buffers back a second later. The whole heap would be 1,000 kB.
  await eventually(() => memory() <= 450, { what: "450 kB of private memory" });
  await engine.remove({ id, force: true });
});

/** Callers and containers that do too much of what is allowed: others are served all the while, and afterwards nothing of it is left. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ctr } from "../ctr/ctr.js";
import { indexed, literal } from "../grpc/authority/hpack.js";
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  greeting,
  HEADERS,
  message,
  PING,
  RST_STREAM,
  requestBlock,
  SETTINGS,
  WireClient,
} from "../grpc/authority/wire-client.js";
import { compare } from "../harness/compare.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import { openDescriptors } from "../harness/processes.js";
import { makeFifos } from "../harness/stdio.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
});

/** In kB. */
function peakMemory(): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))?.[1]);
}

const MARK = Buffer.from("the end!");
const COUNT = times(20_000, 2_000);
const block = requestBlock("localhost", "/types.API/State");
const headers = (stream: number, flags = END_HEADERS) => frame(HEADERS, flags, stream, block);
const stream = (n: number) => 2 * n + 1;
/** Error code CANCEL. */
const cancel = (stream: number) => frame(RST_STREAM, 0, stream, Buffer.from([0, 0, 0, 8]));
const many = (part: (n: number) => Buffer) => Array.from({ length: COUNT }, (_, n) => part(n));
/** A field of 4,000 bytes, which enters the table, then one byte for each time that it is meant. */
const bomb = Buffer.concat([
  block,
  literal("x", "y".repeat(4000), { coded: false }),
  Buffer.alloc(12_000, indexed(62)),
]);

/** [what, the frames after the greeting] */
const floods: [string, () => Buffer[]][] = [
  ["SETTINGS", () => many(() => frame(SETTINGS, 0, 0))],
  ["PING", () => many(() => frame(PING, 0, 0, Buffer.alloc(8)))],
  ["empty DATA", () => [headers(1), ...many(() => frame(DATA, 0, 1))]],
  ["empty CONTINUATION", () => [headers(1, 0), ...many(() => frame(CONTINUATION, 0, 1))]],
  ["headers that unpack to 48 MB", () => [frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb)]],
  [
    "requests whose answers have no window",
    () => [
      frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])),
      ...many((n) => Buffer.concat([headers(stream(n)), frame(DATA, END_STREAM, stream(n), message())])),
    ],
  ],
  ["streams that stay open", () => many((n) => headers(stream(n)))],
  ["requests that are reset at once", () => many((n) => Buffer.concat([headers(stream(n)), cancel(stream(n))]))],
];

describe("a connection with no end of", () => {
  test.each(floods)("%s", async (_, parts) => {
    await daemon.api.getServerVersion();
    const descriptors = openDescriptors(daemon.pid).size;
    const memory = peakMemory();
    {
      using client = new WireClient(join(daemon.dir, "s"));
      const isOver = () =>
        client.closed ||
        client.frames.some(({ type, payload }) => type === GOAWAY || (type === PING && payload.equals(MARK)));
      client.send(greeting, ...parts(), frame(PING, 0, 0, MARK));
      // Those who call meanwhile get their answers: they would fail, or never come.
      await eventually(async () => {
        expect((await daemon.api.getServerVersion()).minor).toBe(2);
        return isOver();
      });
    }
    await eventually(() => openDescriptors(daemon.pid).size <= descriptors, { what: "the end of the connection" });
    expect((await daemon.api.state()).containers).toEqual([]);
    expect(peakMemory() - memory).toBeLessThan(150_000);
  });
});

test.each([
  ["deep", (text: string) => text.replace(/}$/, `,"annotations":${"[".repeat(2 ** 20)}${"]".repeat(2 ** 20)}}`)],
  ["deep, and never closed", () => '{"a":'.repeat(2 ** 20)],
  ["wide", (text: string) => text.replace(/}$/, `,"annotations":{${'"a":"b",'.repeat(10 ** 6)}"c":"d"}}`)],
  ["one long text", (text: string) => text.replace(/}$/, `,"annotations":{"a":"${"b".repeat(15 * 2 ** 20)}"}}`)],
  ["one long number", (text: string) => text.replace(/}$/, `,"x":${"9".repeat(2 ** 20)}}`)],
])("a config.json that is %s ends nobody", async (what, change) => {
  const name = what.replaceAll(/\W+/g, "-");
  const bundlePath = daemon.bundle(name, { args: ["true"] });
  const config = join(bundlePath, "config.json");
  writeFileSync(config, change(readFileSync(config, "utf8").trimEnd()));
  const id = daemon.id(name);
  const { pid } = daemon;
  const outcome = await daemon.api.createContainer({ id, bundlePath }).catch((error) => error);
  // It runs, or there is an error that is no riddle.
  if (outcome instanceof Error) expect(outcome).toMatchObject({ details: expect.stringMatching(/\w{3}/) });
  else await daemon.events.waitFor({ type: "exit", id, pid: "init" });
  await setImmediate();
  expect(daemon.pid).toBe(pid);
  await using other = await startContainer(daemon, { name: `beside-${name}`, args: ["sh", "-c", "exit 7"] });
  expect(await other.exit()).toBe(7);
});

test("a crowd of processes that print a gigabyte, and go on, leave a ctr call its time", async () => {
  const count = times(3_000, 300);
  const stdout = join(daemon.dir, "crowd-stdout");
  makeFifos(stdout);
  const reader = spawn("sh", ["-c", `exec cat <${stdout} >/dev/null`], { stdio: "ignore" });
  const ended = once(reader, "exit");
  /** In bytes. */
  const printed = () => Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${reader.pid}/io`, "utf8"))?.[1]);
  /** How many times the time of a ctr that asks no daemon: that one has the same load beside it. */
  const slowness = async () => {
    const [call, alone] = await compare(
      () => ctr(daemon, "containers"),
      () => ctr(daemon, "--version"),
      5,
    );
    return call / alone;
  };
  const usual = await slowness();
  await using crowd = await startContainer(daemon, {
    name: "crowd",
    args: ["sh", "-c", `i=0; while [ $i -lt ${count} ]; do cat /dev/zero & i=$((i+1)); done; wait`],
    request: { stdout },
  });
  const running = async () => (await daemon.api.state({ id: crowd.id })).containers[0]!.pids.length;
  await eventually(async () => (await running()) > count && printed() > 1e9, {
    ...{ what: "a crowd that has printed", interval: 200 },
  });
  const before = printed();
  const crowded = await slowness();
  expect(await running()).toBeGreaterThan(count);
  expect(printed()).toBeGreaterThan(before);
  expect(crowded).toBeLessThan(5 * usual);
  await crowd.kill();
  expect(await crowd.exit()).toBe(137);
  await ended;
});

/** The event stream: order, replay, filters, retention. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { wire } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { eventually, within } from "../harness/wait.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const EPOCH = { seconds: 0n, nanos: 0 };
const nanoseconds = ({ timestamp }: wire.Event) => timestamp!.seconds * 1_000_000_000n + BigInt(timestamp!.nanos);
const timestamp = (time: bigint) => ({ seconds: time / 1_000_000_000n, nanos: Number(time % 1_000_000_000n) });
const brief = ({ type, id, pid, status }: wire.Event) => `${type} ${id} ${pid} ${status}`;

/** What a subscription for stored events only brings. */
async function stored(
  on: TestDaemon,
  request: { timestamp: wire.Event["timestamp"]; id?: string },
): Promise<wire.Event[]> {
  using stream = on.api.subscribe({ ...request, storedOnly: true });
  await within(stream.ended, "the end of the stored events");
  return stream.events;
}

async function run(on: TestDaemon, name: string, status = 0): Promise<string> {
  await using container = await startContainer(on, { name, args: ["sh", "-c", `exit ${status}`] });
  await container.exit();
  return container.id;
}

describe("one container", () => {
  test("start-container, then exit with pid and status; only exit and start-process have a pid", async () => {
    await using container = await startContainer(daemon, { name: "types", args: ["sleep", "1000"] });
    const { id } = container;
    await daemon.api.addProcess({ id, pid: "extra", args: ["sh", "-c", "exit 4"], cwd: "/", env: ["PATH=/bin"] });
    await daemon.events.waitFor({ id, type: "exit", pid: "extra" });
    await daemon.api.updateContainer({ id, status: "paused" });
    await daemon.api.updateContainer({ id, status: "running" });
    await container.kill();
    await container.exit();
    expect(daemon.events.all({ id }).map(brief)).toEqual([
      `start-container ${id}  0`,
      `start-process ${id} extra 0`,
      `exit ${id} extra 4`,
      `pause ${id}  0`,
      `resume ${id}  0`,
      `exit ${id} init 137`,
    ]);
  });

  test("execs exit before their container", async () => {
    await using container = await startContainer(daemon, { name: "order", args: ["sleep", "1000"] });
    const { id } = container;
    const pids = ["a", "b", "c"];
    await Promise.all(
      pids.map((pid) => daemon.api.addProcess({ id, pid, args: ["sleep", "1000"], cwd: "/", env: ["PATH=/bin"] })),
    );
    await container.kill();
    await container.exit();
    const exits = daemon.events.all({ id, type: "exit" }).map(({ pid }) => pid);
    expect(exits.slice(0, 3).sort()).toEqual(pids);
    expect(exits[3]).toBe("init");
    expect(daemon.events.all({ id, type: "exit", status: 137 })).toHaveLength(4);
  });
});

describe("timestamps", () => {
  test("are unique and increase in the order of the stream", async () => {
    await Promise.all(Array.from({ length: 10 }, (_, n) => run(daemon, `clock-${n}`)));
    const times = daemon.events.events.map(nanoseconds);
    for (let n = 1; n < times.length; n++) expect(times[n]! > times[n - 1]!).toBe(true);
    expect(Math.abs(Number(times.at(-1)! / 1_000_000n) - Date.now())).toBeLessThan(10_000);
  });

  test("the filter is strictly later, to the nanosecond", async () => {
    const id = await run(daemon, "strict");
    const [started, exited] = daemon.events.all({ id });
    const at = nanoseconds(started!);
    const later = async (time: bigint) =>
      (await stored(daemon, { timestamp: timestamp(time), id })).map(({ type }) => type);
    expect(await later(at - 1n)).toEqual(["start-container", "exit"]);
    expect(await later(at)).toEqual(["exit"]);
    expect(await later(nanoseconds(exited!) - 1n)).toEqual(["exit"]);
    expect(await later(nanoseconds(exited!))).toEqual([]);
  });
});

describe("subscriptions", () => {
  test("without a timestamp: live events only", async () => {
    await run(daemon, "past");
    using stream = daemon.api.subscribe();
    // The subscription is there once events that were caused later come through it.
    let round = 0;
    await eventually(async () => {
      await run(daemon, `live-${round++}`);
      return stream.events.length > 0;
    });
    expect(stream.all({ id: daemon.id("past") })).toEqual([]);
  });

  test("storedOnly ends with the last stored event, also when there is none", async () => {
    const id = await run(daemon, "stored");
    const all = await stored(daemon, { timestamp: EPOCH });
    expect(all.map(brief)).toEqual(daemon.events.events.map(brief));
    expect(all.at(-1)?.id).toBe(id);
    const [, exited] = daemon.events.all({ id });
    expect(await stored(daemon, { timestamp: exited!.timestamp })).toEqual([]);
  });

  test("the present epoch means everything", async () => {
    await run(daemon, "epoch");
    expect((await stored(daemon, { timestamp: EPOCH })).length).toBeGreaterThan(1);
  });

  test("only one container's, stored and live", async () => {
    const id = daemon.id("filter");
    using stream = daemon.api.subscribe({ timestamp: EPOCH, id });
    await run(daemon, "filter-other");
    await run(daemon, "filter");
    await stream.waitFor({ type: "exit" });
    await run(daemon, "filter-late");
    expect(stream.events.map(({ id }) => id)).toEqual([id, id]);
    expect((await stored(daemon, { timestamp: EPOCH, id })).map(({ type }) => type)).toEqual([
      "start-container",
      "exit",
    ]);
  });

  test("no event is lost or doubled where the replay meets the live stream", async () => {
    const before = daemon.events.events.length;
    const work = Promise.all(Array.from({ length: 40 }, (_, n) => run(daemon, `seam-${n}`)));
    let working = true;
    work.finally(() => {
      working = false;
    });
    const streams = [];
    while (working) {
      streams.push(daemon.api.subscribe({ timestamp: EPOCH }));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await work;
    await eventually(() => daemon.events.events.length === before + 80);
    const whole = daemon.events.events.map(brief);
    expect(streams.length).toBeGreaterThan(10);
    for (const stream of streams) {
      await eventually(() => stream.events.length >= whole.length, { what: "all events on every stream" });
      expect(stream.events.map(brief)).toEqual(whole);
      stream.cancel();
    }
  });

  test("a subscriber that is gone is forgotten", async () => {
    const before = daemon.snapshot();
    for (let n = 0; n < 20; n++) {
      using stream = daemon.api.subscribe({ timestamp: EPOCH });
      await stream.waitFor({ type: "exit" });
    }
    await daemon.expectNothingLeft({ before });
    await run(daemon, "after-the-leavers");
  });
});

describe("events.log", () => {
  test("one JSON object for each event, with RFC 3339 nanoseconds as Go writes them", async () => {
    await using own = await startDaemon();
    const id = await run(own, "log", 5);
    const text = readFileSync(join(own.stateDir, "events.log"), "utf8");
    expect(text.endsWith("\n")).toBe(true);
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { id, type: "start-container" },
      { id, type: "exit", pid: "init", status: 5 },
    ]);
    for (const line of lines)
      expect(line.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?(Z|[+-]\d\d:\d\d)$/);
  });

  test("events outlive any number of restarts, stopped or killed", async () => {
    await using own = await startDaemon();
    const ids: string[] = [];
    for (let round = 0; round < 4; round++) {
      ids.push(await run(own, `round-${round}`, round));
      await own.restart({ kill: round % 2 === 1 });
      const expected = ids.flatMap((id, n) => [`start-container ${id}  0`, `exit ${id} init ${n}`]);
      expect((await stored(own, { timestamp: EPOCH })).map(brief)).toEqual(expected);
    }
  });

  test("a client resumes after a restart from the last event it saw", async () => {
    await using own = await startDaemon();
    await run(own, "seen");
    const last = own.events.events.at(-1)!;
    await using container = await startContainer(own, { name: "unseen", args: ["sleep", "1000"] });
    await own.restart({ kill: true });
    await container.kill();
    await container.exit();
    using stream = own.api.subscribe({ timestamp: last.timestamp! });
    await stream.waitFor({ type: "exit" });
    expect(stream.events.map(brief)).toEqual([`start-container ${container.id}  0`, `exit ${container.id} init 137`]);
  });

  test("--retain-count events are kept, the last ones", async () => {
    await using own = await startDaemon({ flags: ["--retain-count", "5"] });
    for (let n = 0; n < 5; n++) await run(own, `kept-${n}`, n);
    const all = own.events.events.map(brief);
    expect(all).toHaveLength(10);
    expect((await stored(own, { timestamp: EPOCH })).map(brief)).toEqual(all.slice(-5));
    await own.restart();
    expect((await stored(own, { timestamp: EPOCH })).map(brief)).toEqual(all.slice(-5));
  });
});

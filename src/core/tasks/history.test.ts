import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { NewEvent } from "../events/event.js";
import { EventLog } from "../events/event-log.js";
import { History } from "./history.js";
import { eventLines } from "./state-directory/event-line.js";
import type { TaskEvent } from "./task-event.js";

/** An event as a line of containerd 0.2's log has it, with the time as the log counts it. */
interface Line {
  type: string;
  id: string;
  timestamp: bigint;
  pid?: string;
  status?: number;
  run?: string;
  memoryPeak?: bigint;
}

function eventOf({ memoryPeak, ...line }: Omit<Line, "timestamp">): NewEvent<TaskEvent> {
  const peak = memoryPeak === undefined ? {} : { memoryPeak: Number(memoryPeak) };
  return eventLines.decode(JSON.stringify({ timestamp: "1970-01-01T00:00:00Z", ...line, ...peak }))!;
}

function lineOf(event: TaskEvent): Line {
  const { memoryPeak, ...line } = JSON.parse(eventLines.encode(event));
  return { ...line, timestamp: event.time, ...(memoryPeak === undefined ? {} : { memoryPeak: BigInt(memoryPeak) }) };
}

/** The log of tasks, in 0.2's words. */
class TaskLog {
  readonly #log: EventLog<TaskEvent>;
  readonly #history: History;

  constructor(path: string, retain: number) {
    this.#log = new EventLog(path, eventLines, retain);
    this.#history = new History(this.#log);
  }

  append(line: Omit<Line, "timestamp">, onError: (error: unknown) => void): Line {
    return lineOf(this.#log.append(eventOf(line), onError));
  }

  since(time: bigint): Line[] {
    return this.#log.since(time).map(lineOf);
  }

  whenStored(then: () => void): void {
    this.#log.whenStored(then);
  }

  hasStart(id: string, pid: string, run: string): boolean | undefined {
    return this.#history.hasStart({ namespace: "", id }, pid, run);
  }

  hasExit(id: string, pid: string, run: string, ended?: bigint): boolean {
    return this.#history.hasExit({ namespace: "", id }, pid, run, ended);
  }

  running(id: string): Map<string, boolean> {
    return this.#history.running({ namespace: "", id });
  }

  close(): void {
    this.#log.close();
  }
}

let directory: string;
let path: string;
const open: TaskLog[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ctd-events-"));
  path = join(directory, "events.log");
});
afterEach(() => {
  for (const log of open.splice(0)) log.close();
  rmSync(directory, { recursive: true });
});
const openLog = (retain = 500) => {
  const log = new TaskLog(path, retain);
  open.push(log);
  return log;
};
const fail = (error: unknown) => {
  throw error;
};

test("events survive any number of restarts", () => {
  for (let restart = 0; restart < 3; restart++) openLog().append({ type: "start-container", id: `c${restart}` }, fail);
  expect(
    openLog()
      .since(0n)
      .map((event) => event.id),
  ).toEqual(["c0", "c1", "c2"]);
});

test("an exit's peak of memory survives, too; what is no number is left out", () => {
  openLog().append({ type: "exit", id: "c", pid: "init", status: 0, memoryPeak: 48n << 20n }, fail);
  appendFileSync(
    path,
    '{"id":"d","type":"exit","timestamp":"2100-01-01T00:00:00Z","pid":"init","status":0,"memoryPeak":"x"}\n',
  );
  expect(
    openLog()
      .since(0n)
      .map(({ memoryPeak }) => memoryPeak),
  ).toEqual([48n << 20n, undefined]);
});

test("the file's form", () => {
  const event = openLog().append({ type: "exit", id: "c", pid: "init", status: 137 }, fail);
  const line = JSON.parse(readFileSync(path, "utf8"));
  expect(line).toEqual({ id: "c", type: "exit", pid: "init", status: 137, timestamp: line.timestamp });
  expect(line.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);
  expect(openLog().since(event.timestamp - 1n)).toEqual([event]);
});

test("timestamps differ and grow, across restarts too; since is strictly later", () => {
  const log = openLog();
  const events = Array.from({ length: 1000 }, () => log.append({ type: "oom", id: "c" }, fail));
  events.push(openLog().append({ type: "oom", id: "c" }, fail));
  for (let i = 1; i < events.length; i++) expect(events[i]!.timestamp).toBeGreaterThan(events[i - 1]!.timestamp);
  expect(log.since(events[998]!.timestamp)).toEqual([events[999]]);
  expect(log.since(events[999]!.timestamp)).toEqual([]);
});

test("a torn last line is dropped, and the next event has a line of its own", () => {
  openLog().append({ type: "oom", id: "a" }, fail);
  appendFileSync(path, '{"id":"b","type":"ex');
  openLog().append({ type: "oom", id: "c" }, fail);
  expect(
    openLog()
      .since(0n)
      .map((event) => event.id),
  ).toEqual(["a", "c"]);
});

test("the original's lines: status 0 with everything, -1 for unknown, a zone", () => {
  writeFileSync(
    path,
    [
      '{"id":"a","type":"start-container","timestamp":"2016-11-04T10:00:00.5+01:00","status":0}',
      '{"id":"a","type":"exit","timestamp":"2016-11-04T09:00:01.123456789Z","pid":"init","status":-1}',
      "",
    ].join("\n"),
  );
  expect(openLog().since(0n)).toEqual([
    { id: "a", type: "start-container", timestamp: 1478250000_500000000n },
    { id: "a", type: "exit", timestamp: 1478250001_123456789n, pid: "init", status: 255 },
  ]);
});

test("the last N are kept, in the file at most twice that", () => {
  const log = openLog(5);
  for (let i = 0; i < 323; i++) log.append({ type: "oom", id: `c${i}` }, fail);
  const ids = ["c318", "c319", "c320", "c321", "c322"];
  expect(log.since(0n).map((event) => event.id)).toEqual(ids);
  expect(readFileSync(path, "utf8").trim().split("\n").length).toBeLessThanOrEqual(10);
  expect(
    openLog(5)
      .since(0n)
      .map((event) => event.id),
  ).toEqual(ids);
});

test("retaining none is possible", () => {
  const log = openLog(0);
  for (let n = 0; n < 3; n++) log.append({ type: "oom", id: "c" }, fail);
  expect(log.since(0n)).toEqual([]);
  expect(readFileSync(path, "utf8")).toBe("");
  expect(log.hasStart("c", "init", "1:2")).toBeUndefined();
});

test("a file with more lines than may be kept is cut at once", () => {
  const log = openLog(500);
  for (let i = 0; i < 50; i++) log.append({ type: "oom", id: `c${i}` }, fail);
  openLog(10);
  expect(readFileSync(path, "utf8").trim().split("\n")).toHaveLength(10);
});

test("statuses that no process has are 255: -1, as the original has written it, and what damage makes of one", () => {
  const statuses = [-1, 4294967295, 256, 1.5, "7", null, {}, 0, 137, 255];
  writeFileSync(
    path,
    statuses
      .map(
        (status) =>
          `${JSON.stringify({ id: "a", type: "exit", timestamp: "2016-11-04T09:00:01Z", pid: "p", status })}\n`,
      )
      .join(""),
  );
  const read = openLog()
    .since(0n)
    .map(({ status }) => status);
  expect(read).toEqual([255, 255, 255, 255, 255, 255, 255, 0, 137, 255]);
});

test("an exit is of one run, whatever the times say", () => {
  writeFileSync(
    path,
    `${JSON.stringify({ id: "c", type: "exit", timestamp: "2099-01-01T00:00:00Z", pid: "init", status: 3 })}\n`,
  );
  const log = openLog();
  expect(log.hasExit("c", "init", "1:2")).toBe(false);
  const stored = log.append({ type: "exit", id: "c", pid: "init", status: 4, run: "1:2" }, fail);
  for (const known of [log, openLog()]) {
    expect(known.hasExit("c", "init", "1:2")).toBe(true);
    expect(known.hasExit("c", "init", "1:3")).toBe(false);
    expect(known.hasExit("c", "e", "1:2")).toBe(false);
  }
  // Times grow all the same, also after a later line in the middle of the file.
  appendFileSync(path, `${JSON.stringify({ id: "c", type: "oom", timestamp: "2016-01-01T00:00:00Z" })}\n`);
  expect(openLog().append({ type: "oom", id: "c" }, fail).timestamp).toBeGreaterThan(stored.timestamp);
});

test("an exit of which the run was not noted is believed after the start and the end, and not from the future", () => {
  const log = openLog();
  const ended = log.append({ type: "exit", id: "c", pid: "init", status: 0 }, fail).timestamp;
  expect(log.hasExit("c", "init", "1:2", ended)).toBe(true);
  expect(log.hasExit("c", "init", "1:2", ended + 1n)).toBe(false);
  expect(log.hasExit("c", "init", "1:2")).toBe(false);
  log.append({ type: "start-container", id: "c" }, fail);
  expect(log.hasExit("c", "init", "1:2", ended)).toBe(false);
  const line = { id: "c", type: "exit", timestamp: "2099-01-01T00:00:00Z", pid: "init", status: 3 };
  appendFileSync(path, `${JSON.stringify(line)}\n`);
  expect(openLog().hasExit("c", "init", "1:2", ended)).toBe(false);
});

test("a file that is too long, and can't be written anew, is gone on with, and cut as soon as that is possible", async () => {
  const names = () =>
    openLog()
      .since(0n)
      .map(({ id }) => id);
  const log = openLog(1);
  log.append({ type: "oom", id: "a" }, fail);
  log.append({ type: "oom", id: "b" }, fail);
  // Takes the place of the new file that comes next.
  mkdirSync(`${path}.tmp`);
  log.append({ type: "oom", id: "c" }, fail);
  expect(names()).toEqual(["a", "b", "c"]);
  expect(log.since(0n).map(({ id }) => id)).toEqual(["c"]);
  rmSync(`${path}.tmp`, { recursive: true });
  await expect.poll(names).toEqual(["c"]);
});

test("hasStart knows when it can't know", () => {
  const log = openLog(2);
  log.append({ type: "start-container", id: "c", run: "1:2" }, fail);
  expect(log.hasStart("c", "init", "1:2")).toBe(true);
  expect(log.hasStart("d", "init", "1:2")).toBe(false);
  log.append({ type: "oom", id: "x" }, fail);
  log.append({ type: "oom", id: "x" }, fail);
  for (let i = 0; i < 200; i++) log.append({ type: "oom", id: "x" }, fail);
  expect(log.hasStart("c", "init", "1:2")).toBeUndefined();
});

test("a start is of one run, whatever the times say", () => {
  const start = (id: string, timestamp: string, type = "start-container") =>
    `${JSON.stringify({ id, type, timestamp, ...(type === "exit" && { pid: "init", status: 0 }) })}\n`;
  // Of a daemon that did not note runs: one that was running when the clock was set back, and one that has ended.
  writeFileSync(path, start("c", "2016-01-01T00:00:00Z") + start("d", "2099-01-01T00:00:00Z"));
  appendFileSync(path, start("d", "2099-01-01T00:00:01Z", "exit"));
  const log = openLog();
  log.append({ type: "start-container", id: "e", run: "1:2" }, fail);
  log.append({ type: "exit", id: "e", pid: "init", status: 0, run: "1:2" }, fail);
  expect(log.hasStart("c", "init", "1:2")).toBe(true);
  expect(log.hasStart("d", "init", "1:2")).toBe(false);
  expect(log.hasStart("e", "init", "1:2")).toBe(true);
  expect(log.hasStart("e", "init", "1:3")).toBe(false);
});

test("an exec whose exit was lost belongs to the container of its time, not to the next one of that name", () => {
  const log = openLog();
  log.append({ type: "start-container", id: "c" }, fail);
  log.append({ type: "start-process", id: "c", pid: "lost" }, fail);
  log.append({ type: "start-container", id: "c" }, fail);
  log.append({ type: "start-process", id: "c", pid: "e" }, fail);
  expect([...log.running("c")]).toEqual([
    ["init", true],
    ["e", true],
  ]);
});

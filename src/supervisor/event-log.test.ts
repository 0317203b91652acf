import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EventLog } from "./event-log.js";

let directory: string;
let path: string;
const open: EventLog[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ctd-events-"));
  path = join(directory, "events.log");
});
afterEach(() => {
  for (const log of open.splice(0)) log.close();
  rmSync(directory, { recursive: true });
});
const openLog = (retain = 500) => {
  const log = new EventLog(path, retain);
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
  expect(readFileSync(path, "utf8").trim().split("\n").length).toBeLessThanOrEqual(200);
  expect(
    openLog(5)
      .since(0n)
      .map((event) => event.id),
  ).toEqual(ids);
});

test("retaining none is possible", () => {
  const log = openLog(0);
  log.append({ type: "oom", id: "c" }, fail);
  expect(log.since(0n)).toEqual([]);
});

test("hasStart knows when it can't know", () => {
  const log = openLog(2);
  const started = log.append({ type: "start-container", id: "c" }, fail).timestamp;
  expect(log.hasStart("c", "init", started)).toBe(true);
  expect(log.hasStart("d", "init", started)).toBe(false);
  log.append({ type: "oom", id: "x" }, fail);
  log.append({ type: "oom", id: "x" }, fail);
  for (let i = 0; i < 200; i++) log.append({ type: "oom", id: "x" }, fail);
  expect(log.hasStart("c", "init", started)).toBeUndefined();
});

import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { Removals } from "./removals.js";

const lines: { level: string; directory: string }[] = [];
const log = pino(
  { formatters: { level: (level) => ({ level }) } },
  { write: (line: string) => void lines.push(JSON.parse(line)) },
);
const removals = new Removals(log);
afterEach(() => {
  removals.close();
  lines.length = 0;
});
const never = new AbortController().signal;

/** A directory that stays for so many tries. */
function stubborn(tries: number) {
  const directory = {
    tries: 0,
    remove: () => {
      if (++directory.tries <= tries) throw new Error("EROFS");
    },
  };
  return directory;
}

test("what can be removed is removed at once, without a word", () => {
  const directory = stubborn(0);
  expect(removals.now("/d", directory.remove)).toBe(true);
  expect(directory.tries).toBe(1);
  expect(lines).toEqual([]);
});

test("what can't is tried again until it is gone; one line says so, and one that it is over", async () => {
  const directory = stubborn(1);
  expect(removals.now("/d", directory.remove)).toBe(false);
  await expect.poll(() => directory.tries).toBe(2);
  expect(lines.map(({ level }) => level)).toEqual(["error", "info"]);
});

test("whoever wants the name has it tried at once", async () => {
  const directory = stubborn(2);
  removals.now("/d", directory.remove);
  await removals.settled("/d", never);
  expect(directory.tries).toBe(2);
  await removals.settled("/d", never);
  expect(directory.tries).toBe(3);
  await removals.settled("/d", never);
  expect(directory.tries).toBe(3);
});

test("one that has to wait is waited for, as long as the caller does", async () => {
  const directory = stubborn(0);
  let ready = () => {};
  removals.after(new Promise<void>((resolve) => (ready = resolve)), "/d", directory.remove);
  const gone = new AbortController();
  const given = removals.settled("/d", gone.signal);
  gone.abort(new Error("left"));
  await expect(given).rejects.toThrow("left");
  const settled = removals.settled("/d", never);
  expect(directory.tries).toBe(0);
  ready();
  await settled;
  expect(directory.tries).toBe(1);
});

test("with a directory goes what was in it: its names may be others' then", async () => {
  const inner = stubborn(1);
  removals.now("/d/e", inner.remove);
  const other = stubborn(1);
  removals.now("/de", other.remove);
  removals.now("/d", () => {});
  await removals.settled("/d/e", never);
  expect(inner.tries).toBe(1);
  await removals.settled("/de", never);
  expect(other.tries).toBe(2);
});

test("one that has to wait is forgotten with the directory that it is in", async () => {
  const [outer, inner] = [stubborn(0), stubborn(0)];
  let ready = () => {};
  const waiting = new Promise<void>((resolve) => (ready = resolve));
  removals.after(waiting, "/d/e", inner.remove);
  expect(removals.now("/d", outer.remove)).toBe(true);
  ready();
  await waiting;
  expect(inner.tries).toBe(0);
});

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkIdMappedLayers, IdRanges, RANGE } from "./id-ranges.js";

let directory: string;
let files: string[];
const first = 0x7800_0000;
const pool = { first, length: 5 * RANGE };
const at = (number: number) => first + number * RANGE;
const map = (outside: number, length = RANGE) => ({
  uids: [{ inside: 0, outside, length }],
  gids: [{ inside: 0, outside, length }],
});
const starts = (ranges: IdRanges, count: number) => Array.from({ length: count }, () => ranges.take().uids[0]!.outside);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "id-ranges-test-"));
  files = ["subuid", "subgid"].map((name) => join(directory, name));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

test("the lowest free range, the same for uids and gids", () => {
  const ranges = new IdRanges({ files });
  expect(ranges.take()).toEqual(map(at(0)));
  expect(starts(ranges, 2)).toEqual([at(1), at(2)]);
  ranges.release(map(at(1)));
  expect(starts(ranges, 2)).toEqual([at(1), at(3)]);
});

test("what records hold is left out, whole or not", () => {
  const ranges = new IdRanges({ files, pool });
  ranges.keep(map(at(0)));
  ranges.keep(map(at(1) + 10, 1));
  ranges.keep({ uids: [], gids: [{ inside: 0, outside: at(3) - 1, length: 2 }] });
  expect(starts(ranges, 1)).toEqual([at(4)]);
  ranges.release(map(at(1) + 10, 1));
  expect(starts(ranges, 1)).toEqual([at(1)]);
});

test("what users may take for themselves is left out, from when it is written", () => {
  const ranges = new IdRanges({ files, pool });
  expect(starts(ranges, 1)).toEqual([at(0)]);
  writeFileSync(files[0]!, `# comment\nroot:100000:65536\nsome:${at(1) + 5}:10\nodd line\n`);
  writeFileSync(files[1]!, `some:${at(2) - 1}:${RANGE}\n`);
  expect(starts(ranges, 1)).toEqual([at(3)]);
  rmSync(files[0]!);
  rmSync(files[1]!);
});

test("an empty pool: an error that says what to do", () => {
  const ranges = new IdRanges({ files, pool });
  starts(ranges, 5);
  expect(() => ranges.take()).toThrow(/no range of 65536 ids is free for userns "auto": 5 are taken by containers/);
  ranges.release(map(at(2)));
  expect(starts(ranges, 1)).toEqual([at(2)]);
});

test("whatever is taken and given back, no two have an id in common", () => {
  const ranges = () => new IdRanges({ files, pool });
  const steps = fc.array(fc.oneof(fc.constant("take" as const), fc.nat(4)), { maxLength: 30 });
  fc.assert(
    fc.property(steps, (all) => {
      const given = ranges();
      const there: ReturnType<IdRanges["take"]>[] = [];
      for (const step of all) {
        if (step === "take" && there.length < 5) there.push(given.take());
        else if (typeof step === "number") for (const maps of there.splice(step, 1)) given.release(maps);
      }
      const outside = there.map(({ uids }) => uids[0]!.outside);
      expect(new Set(outside).size).toBe(outside.length);
      expect(outside.every((one) => one >= at(0) && one <= at(4))).toBe(true);
    }),
  );
});

test("a kernel that can't map the ids of layers", () => {
  expect(() => checkIdMappedLayers("auto", [5, 15])).toThrow(
    'invalid userns "auto": it needs Linux 5.19 for an image\'s files, and this is 5.15: choose userns "host"',
  );
  checkIdMappedLayers("host", [5, 15]);
  checkIdMappedLayers("auto", [5, 19]);
});

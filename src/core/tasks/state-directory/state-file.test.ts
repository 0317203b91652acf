import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readStateFile } from "./state-file.js";

let path: string;
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), "ctd-file-")), "f");
});
afterEach(() => rmSync(join(path, ".."), { recursive: true }));

test("a file", () => {
  writeFileSync(path, "0123456789");
  expect(readStateFile(path)).toBe("0123456789");
});

test.each([
  { what: "nothing", put: () => {}, error: /no such file/ },
  { what: "a directory", put: () => mkdirSync(path), error: /not a regular file/ },
  { what: "a FIFO that nobody writes to", put: () => execFileSync("mkfifo", [path]), error: /not a regular file/ },
  { what: "a link", put: () => symlinkSync("/dev/zero", path), error: /ELOOP/ },
  { what: "a device", put: () => execFileSync("mknod", [path, "c", "1", "5"]), error: /not a regular file/ },
  {
    what: "a file that is far too large",
    put: () => {
      writeFileSync(path, "");
      truncateSync(path, 2 ** 40);
    },
    error: /larger than/,
  },
])("$what is an error, at once", ({ put, error }) => {
  put();
  expect(() => readStateFile(path)).toThrow(error);
});

import { createHook } from "node:async_hooks";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readRegularFile, UnfitFile } from "./regular-file.js";

const directory = mkdtempSync(join(tmpdir(), "ctd-regular-file-"));
afterAll(() => rmSync(directory, { recursive: true }));

function file(content: string): string {
  const path = join(directory, "file");
  writeFileSync(path, content);
  return path;
}

test.each([0, 1, 4096, 100_000])("all of a file of %i bytes", async (length) => {
  const content = "x".repeat(length);
  expect((await readRegularFile(file(content), 100_000)).toString()).toBe(content);
});

test("all of a file that says it has no size", async () => {
  expect((await readRegularFile("/proc/version", 10_000)).toString()).toBe(readFileSync("/proc/version", "utf8"));
});

test("not one that has a byte more than the limit, also when it does not say so", async () => {
  await expect(readRegularFile(file("12345"), 4)).rejects.toThrow(UnfitFile);
  await expect(readRegularFile("/proc/version", 4)).rejects.toThrow(UnfitFile);
});

test("each start reads one: with four trips to another thread, for two openings, a reading and a closing", async () => {
  const path = file("{}");
  let trips = 0;
  const hook = createHook({
    init(_, type) {
      if (/^(FSREQ|FileHandle)/i.test(type)) trips++;
    },
  }).enable();
  try {
    await readRegularFile(path, 10);
  } finally {
    hook.disable();
  }
  expect(trips).toBe(4);
});

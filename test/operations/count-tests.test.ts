/** The last lines of `npm test`. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { repository } from "../harness/paths.js";
import { directoryPrefix } from "../harness/run-name.js";

/** A folder with these files. */
function folder(files: Record<string, string>): string {
  const dir = mkdtempSync(directoryPrefix());
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

function count(dir: string, vitestStatus: number | null) {
  const args = ["scripts/count-tests.mjs", join(dir, "report.json"), `${vitestStatus}`];
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: repository, encoding: "utf8" });
  return { status, lines: stdout.replaceAll(/\S*(?=lame\.test\.js)/g, "").split("\n") };
}

test("names what passed only when it was tried again, with its first error, and counts what failed or did not load", () => {
  const dir = folder({
    "lame.test.js": `
      let tries = 0;
      describe("walk", () => test("lame", () => expect(tries++).toBe(1)));
      test("fine", () => {});
      test.skip("left out", () => {});`,
    "bad.test.js": `test("bad", () => { throw new Error("no"); });`,
    "unloaded.test.js": `throw new Error("no");`,
  });
  const outputFile = `--outputFile=${join(dir, "report.json")}`;
  const args = ["run", "--root", dir, "--globals", "--retry=1", "--reporter=json", outputFile];
  const { status } = spawnSync(join(repository, "node_modules/.bin/vitest"), args);
  expect(count(dir, status)).toEqual({
    status: 1,
    lines: [
      "passed only when tried again: lame.test.js > walk lame",
      expect.stringMatching(/^ {2}AssertionError: expected \+?0 to be 1/),
      expect.stringMatching(/^ +at lame\.test\.js:3:\d+$/),
      "2 passed, 2 failed, 1 skipped",
      "",
    ],
  });
});

test("an error outside the tests is a failure, and so is a report that is missing", () => {
  const fine = { numPassedTests: 7, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] };
  const dir = folder({ "report.json": JSON.stringify(fine) });
  expect(count(dir, 0)).toEqual({ status: 0, lines: ["7 passed, 0 failed", ""] });
  expect(count(dir, 1)).toEqual({
    status: 1,
    lines: [expect.stringMatching(/^no test failed, but vitest ended with status 1/), "7 passed, 1 failed", ""],
  });
  const { status, lines } = count(folder({}), 1);
  expect(status).toBe(1);
  expect(lines).toContain("vitest has written no report");
  expect(lines.at(-2)).toBe("0 passed, 1 failed");
});

/** Lines end at 140 columns: in sources, tests and documents. Rows of tables can't be broken; the change log is a list of what was. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { repository } from "../harness/paths.js";

const COLUMNS = 140;
const WRITTEN_BY_HAND = /\.(?:[cm]?[jt]s|lua|md|proto|sh|ya?ml)$|^(?:scripts|\.ci)\/[\w-]+$/;
const EXCEPTED = /^(?:CHANGELOG\.md$|src\/proto\/)/;

test("no line is wider than 140 columns", () => {
  const files = execFileSync("git", ["ls-files"], { cwd: repository, encoding: "utf8" })
    .split("\n")
    .filter((file) => WRITTEN_BY_HAND.test(file) && !EXCEPTED.test(file) && existsSync(join(repository, file)));
  expect(files.length).toBeGreaterThan(500);
  const wide = files.flatMap((file) =>
    readFileSync(join(repository, file), "utf8")
      .split("\n")
      .map((line, index) => ({ line, place: `${file}:${index + 1}` }))
      .filter(({ line }) => [...line].length > COLUMNS && !(file.endsWith(".md") && line.startsWith("|")))
      .map(({ line, place }) => `${place}: ${[...line].length} columns`),
  );
  expect(wide).toEqual([]);
});

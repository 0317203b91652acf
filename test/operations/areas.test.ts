/** The areas of `npm run test:full`. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { repository } from "../harness/paths.js";

function runTests(...args: string[]) {
  const { status, stdout, stderr } = spawnSync("bash", ["scripts/test", ...args], {
    cwd: repository,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

const filesOf = (area: string) =>
  spawnSync(process.execPath, ["scripts/run-typescript.mjs", "test/areas.ts", area], {
    cwd: repository,
    encoding: "utf8",
  }).stdout.split("\n");

const areas = Object.keys(JSON.parse(readFileSync(join(repository, "test/areas.json"), "utf8")) as object);

test("an unknown area, or none, is an error that lists them; the last line counts it", () => {
  const all = [...areas, "other", "all"];
  for (const [area, wrong] of [
    ["nope", 'unknown area "nope"'],
    ["toString", 'unknown area "toString"'],
    ["", "no area is named"],
  ] as const)
    expect(runTests("--full", area)).toEqual({
      status: 1,
      stdout: "0 passed, 1 failed\n",
      stderr: `${wrong}: npm run test:full -- AREA, one of ${all.join(", ")}\n`,
    });
  const contributing = readFileSync(join(repository, "CONTRIBUTING.md"), "utf8");
  for (const area of all) expect(contributing).toContain(`\`${area}\``);
});

test("an area is its files; what is in none is in 'other'", () => {
  const [ctr, other, all] = ["ctr", "other", "all"].map(filesOf);
  expect(ctr).toContain("test/ctr/commands.test.ts");
  expect(ctr).not.toContain("test/v0/start.test.ts");
  expect(other!.filter((file) => ctr!.includes(file) && file !== "")).toEqual([]);
  for (const file of [...ctr!, ...other!, "test/v0/start.test.ts"]) expect(all).toContain(file);
});

/**
 * Prints the test files of an area, one a line: `node scripts/run-typescript.mjs test/areas.ts AREA`. test/areas.json says how their paths
 * begin; what begins like none of them is "other", and everything is "all".
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./harness/paths.js";

const areas = JSON.parse(readFileSync(join(repository, "test/areas.json"), "utf8")) as Record<string, string[]>;
const files = ["src", "test"].flatMap((folder) =>
  readdirSync(join(repository, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(folder, name)),
);
const isIn = (file: string, beginnings: readonly string[]) =>
  beginnings.some((beginning) => file.startsWith(beginning));
const known = new Map<string, string[]>([
  ...Object.entries(areas).map(([area, beginnings]): [string, string[]] => [
    area,
    files.filter((file) => isIn(file, beginnings)),
  ]),
  ["other", files.filter((file) => !isIn(file, Object.values(areas).flat()))],
  ["all", files],
]);

const [area = ""] = process.argv.slice(2);
const found = known.get(area);
if (found === undefined) {
  const wrong = area === "" ? "no area is named" : `unknown area "${area}"`;
  console.error(`${wrong}: npm run test:full -- AREA, one of ${[...known.keys()].join(", ")}`);
  process.exit(1);
}
if (found.length === 0) {
  console.error(`there is no test of the area "${area}"`);
  process.exit(1);
}
console.log(found.join("\n"));

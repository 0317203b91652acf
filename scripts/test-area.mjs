// Prints the test files of an area, one a line: `node scripts/test-area.mjs AREA`. test/areas.json says how their paths begin; what
// begins like none of them is "other", and everything is "all".
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const areas = JSON.parse(readFileSync("test/areas.json", "utf8"));
const files = ["src", "test"].flatMap((folder) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(folder, name)),
);
const isIn = (file, beginnings) => beginnings.some((beginning) => file.startsWith(beginning));
const known = {
  ...Object.fromEntries(
    Object.entries(areas).map(([area, beginnings]) => [area, files.filter((file) => isIn(file, beginnings))]),
  ),
  other: files.filter((file) => !isIn(file, Object.values(areas).flat())),
  all: files,
};

const [area = ""] = process.argv.slice(2);
if (!Object.hasOwn(known, area)) {
  const wrong = area === "" ? "no area is named" : `unknown area "${area}"`;
  console.error(`${wrong}: npm run test:full -- AREA, one of ${Object.keys(known).join(", ")}`);
  process.exit(1);
}
if (known[area].length === 0) {
  console.error(`there is no test of the area "${area}"`);
  process.exit(1);
}
console.log(known[area].join("\n"));

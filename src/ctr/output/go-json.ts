import { printableJson } from "../../contract/terminal/printable.js";

/** Fields that are maps on the wire: they are left out when empty, and their values never are. */
const MAPS = new Set(["hugetlb_stats", "stats"]);

/**
 * A wire message as Go's encoding/json writes the struct that Go's protobuf generator makes of it: fields in the order
 * and under the names of the contract, zero values left out, 64-bit numbers as plain JSON numbers with all their digits.
 */
export function goJson(message: object): string {
  const fields = Object.entries(message)
    .filter(([name, value]) => !isOmitted(name, value))
    .map(([name, value]) => `${goString(name)}:${MAPS.has(name) ? goMap(value) : goValue(value)}`);
  return `{${fields.join(",")}}`;
}

function isOmitted(name: string, value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  // A message that is there is written even when all of it is zero.
  if (typeof value === "object" && value !== null) return MAPS.has(name) && Object.keys(value).length === 0;
  return !value;
}

function goMap(map: Record<string, unknown>): string {
  const keys = Object.keys(map).sort();
  return `{${keys.map((key) => `${goString(key)}:${goValue(map[key])}`).join(",")}}`;
}

function goValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(goValue).join(",")}]`;
  if (typeof value === "string") return goString(value);
  if (typeof value === "object" && value !== null) return goJson(value);
  return String(value);
}

/**
 * Go has no short escapes for backspace and form feed, and escapes what could end a script in HTML; ours also what a terminal would obey.
 */
function goString(text: string): string {
  return printableJson(JSON.stringify(text))
    .replace(/\\(.)/g, (escaped, letter) => (letter === "b" ? "\\u0008" : letter === "f" ? "\\u000c" : escaped))
    .replace(/[<>&]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

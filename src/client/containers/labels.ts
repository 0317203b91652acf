import { anyText, type Check, listOf, wrong } from "../options/option-checks.js";

/** All of them hold: `{ tier: "web" }`, where `true` is any value; or `NAME`, `NAME=value`. */
export type WantedLabels = Readonly<Record<string, string | true>> | readonly string[];

export const labelsCheck: Check = (value, name) => {
  if (Array.isArray(value)) listOf(anyText)(value, name);
  else if (typeof value !== "object" || value === null)
    throw wrong(name, "an object of texts, or a list of texts", value);
  else for (const [label, text] of Object.entries(value)) if (text !== true) anyText(text, `${name}.${label}`);
};

/** As a filter of the daemon's. */
export function labelsOf(labels: WantedLabels = []): string[] {
  if (Array.isArray(labels)) return [...labels];
  return Object.entries(labels).map(([name, value]) => (value === true ? name : `${name}=${value}`));
}

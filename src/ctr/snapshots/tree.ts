import { printable } from "../../contract/terminal/printable.js";
import type { Snapshot } from "./command.js";

/** Each snapshot on a line, below the one that it is on. One whose parent is not among them stands alone. */
export function drawTree(snapshots: readonly Snapshot[]): string {
  const names = new Set(snapshots.map(({ name }) => name));
  const above = new Map<string, Snapshot[]>();
  for (const snapshot of snapshots) {
    const parent = names.has(snapshot.parent) ? snapshot.parent : "";
    above.set(parent, [...(above.get(parent) ?? []), snapshot]);
  }
  const lines: string[] = [];
  // Hundreds of layers are no reason to go as deep in calls.
  const rest = (above.get("") ?? []).map((snapshot) => ({ snapshot, indent: "", mark: "", isLast: true })).reverse();
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const { snapshot, indent, mark, isLast } = next;
    lines.push(`${indent}${mark}${printable(snapshot.name)} (${snapshot.kind})\n`);
    const children = above.get(snapshot.name) ?? [];
    const below = mark === "" ? indent : `${indent}${isLast ? "   " : "│  "}`;
    const marked = children.map((child, index) => {
      const last = index === children.length - 1;
      return { snapshot: child, indent: below, mark: last ? "└─ " : "├─ ", isLast: last };
    });
    rest.push(...marked.reverse());
  }
  return lines.join("");
}

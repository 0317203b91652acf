import { printable } from "../../contract/terminal/printable.js";

export interface TabwriterOptions {
  /** Of a column, in characters. */
  minWidth: number;
  /** Between a column's longest text and the next column. */
  padding: number;
}

/** The original's tables. */
export const LIST_LAYOUT: TabwriterOptions = { minWidth: 20, padding: 3 };

/**
 * Lines with aligned columns, as Go's text/tabwriter aligns them with spaces; the last column is not padded. What a terminal would obey is
 * escaped.
 */
export function tabwriter(cells: readonly (readonly string[])[], { minWidth, padding }: TabwriterOptions): string {
  const rows = cells.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, text] of row.slice(0, -1).entries())
      widths[column] = Math.max(widths[column] ?? minWidth, length(text) + padding);
  const line = (row: readonly string[]) =>
    row.map((text, column) => (column === row.length - 1 ? text : text + " ".repeat(widths[column]! - length(text))));
  return rows.map((row) => `${line(row).join("")}\n`).join("");
}

function length(text: string): number {
  return [...text].length;
}

/** The project's documents, and what is in them: fenced blocks, code in the text, links. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../harness/paths.js";

/** Paths of all documents for users and contributors. */
export function documents(): string[] {
  return [
    ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "packages/client/README.md"].map((name) =>
      join(repository, name),
    ),
    ...readdirSync(join(repository, "docs"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .map((name) => join(repository, "docs", name)),
  ].filter(existsSync);
}

export interface Fence {
  /** The line of its opening, counted from 1. */
  line: number;
  language: string;
  /** What follows the language. */
  info: string;
  text: string;
}

export function fences(markdown: string): Fence[] {
  const found: Fence[] = [];
  let open: Fence | undefined;
  markdown.split("\n").forEach((line, index) => {
    const match = /^```(\w*)\s*(.*)$/.exec(line);
    if (open === undefined && match) open = { line: index + 1, language: match[1]!, info: match[2]!, text: "" };
    else if (open !== undefined && line.startsWith("```")) {
      found.push(open);
      open = undefined;
    } else if (open !== undefined) open.text += `${line}\n`;
  });
  if (open !== undefined) throw new Error(`the block at line ${open.line} is never closed`);
  return found;
}

/** Why a block of commands is not run by the tests: "```sh not-run: <reason>"; undefined when it is to be run. */
export function reasonNotToRun({ info }: Fence): string | undefined {
  return /^not-run: (.+)$/.exec(info)?.[1];
}

/** What stands in backquotes in the text. */
export function inlineCode(markdown: string): string[] {
  return [...withoutFences(markdown).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
}

/** Where the links within the project lead, without the part behind `#`. */
export function links(markdown: string): string[] {
  return [...withoutFences(markdown).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!.replace(/#.*$/, ""))
    .filter((target) => target !== "" && !/^[a-z]+:/.test(target));
}

export interface Table {
  header: string[];
  body: string[][];
}

export function tables(markdown: string): Table[] {
  return [...withoutFences(markdown).matchAll(/(?:^\|.*\|$\n?)+/gm)].map(([lines]) => {
    const [header = [], , ...body] = lines.trim().split("\n").map(cells);
    return { header, body };
  });
}

/** A bar within a cell has a backslash before it. */
function cells(row: string): string[] {
  return row
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim());
}

/** The text between headings, tables and blocks. */
export function paragraphs(markdown: string): string[] {
  return withoutFences(markdown)
    .split(/\n(?:\s*\n)+/)
    .filter((text) => !/^[#|]/.test(text));
}

function withoutFences(markdown: string): string {
  return markdown.replace(/^```.*?^```$/gms, "");
}

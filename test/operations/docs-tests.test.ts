/** The tests that a document names for what it promises are there: the file, and in it a test or a part with that title. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { repository } from "../harness/paths.js";
import { paragraphs, tables } from "./markdown.js";

/** A test's file, the one that the row before names first, or a title in it: as much of it as is clear, "…" for what is left out. */
const NAMED = new RegExp(
  [
    /`(?<file>(?:src|test)\/[\w./-]+\.test\.ts)`/,
    /(?<same>\bsame (?:file|test|part)\b)/,
    /(?<![\w*])\*(?<title>.+?)\*(?!\w)/,
    /(?<!\w)_(?<other>.+?)_(?!\w)/,
  ]
    .map(({ source }) => source)
    .join("|"),
  "g",
);

/** A command whose run is the test. */
const COMMAND = /`npm run /;

/** How a hole is written, in a document or in a title, which `test.each` or a template fills. */
const HOLE = /\s*…\s*|%[sjd]|\$\w+|\0/;

function pattern(text: string): string {
  const fixed = text.split(HOLE).map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return fixed.join(".*");
}

const texts = new Map<string, string[]>();

/** All texts in a file: titles are among them, and what `test.each` makes titles of. A template's holes are NUL. */
function textsOf(file: string): string[] {
  const known = texts.get(file);
  if (known !== undefined) return known;
  const found: string[] = [];
  const visit = (node: ts.Node) => {
    if (ts.isStringLiteralLike(node)) found.push(node.text);
    else if (ts.isTemplateExpression(node))
      found.push([node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join("\0"));
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, readFileSync(join(repository, file), "utf8"), ts.ScriptTarget.Latest));
  // Nothing but a hole would be every title.
  const titles = found.filter((text) => text.split(HOLE).join("").trim().length > 3);
  texts.set(file, titles);
  return titles;
}

function has(file: string, title: string): boolean {
  const wanted = new RegExp(pattern(title), "s");
  return textsOf(file).some((text) => wanted.test(text) || new RegExp(`^${pattern(text)}$`, "s").test(title));
}

/**
 * What is wrong with what a text says of tests, and the file that it names first.
 * @param before the file of the row before
 * @param ofAll the file of titles that come before any
 */
function check(text: string, before?: string, ofAll?: string): { wrong: string[]; first: string | undefined } {
  const wrong: string[] = [];
  let first: string | undefined;
  let file = ofAll;
  for (const { groups } of text.matchAll(NAMED)) {
    const { file: path, same, title = groups?.other } = groups!;
    if (title === undefined) {
      file = same === undefined ? path : before;
      first ??= file;
      if (file === undefined || !existsSync(join(repository, file))) wrong.push(`there is no file: ${text}`);
    } else if (file !== undefined && existsSync(join(repository, file)) && !has(file, title.replaceAll("\\", "")))
      wrong.push(`${file} has no "${title}"`);
  }
  return { wrong, first: first ?? ofAll };
}

describe.each(["docs/security.md", "docs/reliability.md"])("%s", (document) => {
  const markdown = readFileSync(join(repository, document), "utf8");

  test("each row of a table with tests names one, which is there", () => {
    const wrong: string[] = [];
    let rows = 0;
    for (const { header, body } of tables(markdown)) {
      const heading = header.at(-1) ?? "";
      if (!/^tests?\b/.test(heading)) continue;
      const { first: ofAll } = check(heading);
      let file = ofAll;
      for (const row of body) {
        const cell = row.at(-1) ?? "";
        const { wrong: found, first } = check(cell, file, ofAll);
        wrong.push(...found);
        if (first === undefined && !COMMAND.test(cell)) wrong.push(`no test is named for: ${row[0]}`);
        file = first ?? file;
        rows++;
      }
    }
    expect(wrong).toEqual([]);
    expect(rows).toBeGreaterThan(30);
  });

  test("the tests that its text names are there", () => {
    expect(paragraphs(markdown).flatMap((text) => check(text).wrong)).toEqual([]);
  });
});

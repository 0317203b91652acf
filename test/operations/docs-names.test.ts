/** What the documents name in passing is there: files, npm scripts, options of the programs. (Blocks of commands are run: docs.test.ts.) */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { ctrProgram } from "../../src/ctr/command-line/program.js";
import { daemonCommand } from "../../src/daemon/flags.js";
import { repository } from "../harness/paths.js";
import { documents, fences, inlineCode, links } from "./markdown.js";

const { scripts } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};

/** Long options of a program and of all of its commands. */
function optionsOf(command: Command): string[] {
  const own = command.createHelp().visibleOptions(command);
  return [...own.flatMap(({ long }) => long ?? []), ...command.commands.flatMap(optionsOf)];
}

const known = new Set([...optionsOf(daemonCommand()), ...optionsOf(ctrProgram())]);
/** Options of OCI runtimes, of which docs/shim.md tells, a stand-in for any option, some of Node, of Docker's and of esbuild's. */
const OTHERS = new Set([
  ...["--always-sparkplug", "--no-flush-bytecode", "--force", "--pid-file", "--log", "--flag", "--no-memory-reducer"],
  ...["--live-restore", "--endpoint-mode", "--format", "--banner"],
]);

/** The text of a script of package.json, with the files beside it: where its own options must be. */
function scriptText(name: string): string {
  const command = scripts[name]!;
  const file = command.split(" ").find((word) => /\.(ts|mjs)$/.test(word) && !word.startsWith("scripts/run-"));
  if (file === undefined) return command;
  const folder = join(repository, dirname(file));
  const files = readdirSync(folder).filter((entry) => /\.(ts|mjs)$/.test(entry));
  return files.map((entry) => readFileSync(join(folder, entry), "utf8")).join("\n");
}

describe.each(documents().map((path) => [relative(repository, path), path]))("%s", (name, path) => {
  const text = readFileSync(path, "utf8");
  const commands = fences(text).filter(({ language }) => language === "sh");
  const code = [...inlineCode(text), ...commands.flatMap((fence) => fence.text.split("\n"))];

  test("its links lead to files that are there", () => {
    const broken = links(text).filter((target) => !existsSync(join(dirname(path), target)));
    expect(broken).toEqual([]);
  });

  test("the files that it names are there", () => {
    const files = inlineCode(text).filter((word) =>
      /^(bench|build|docs|examples|packages|packaging|proto|scripts|src|test)\/[\w./-]*$/.test(word),
    );
    // Made by `npm run docs`, not kept.
    const missing = files.filter((file) => !file.startsWith("docs/api") && !existsSync(join(repository, file)));
    expect(missing).toEqual([]);
  });

  test("the npm scripts that it names are there, and know their options", () => {
    for (const line of code) {
      for (const [, script, options] of line.matchAll(/\bnpm run (?:--silent )?([\w:-]+)(?: -- ([^#]*))?/g)) {
        expect(Object.keys(scripts), `${name}: ${line}`).toContain(script);
        for (const [option] of (options ?? "").matchAll(/--[a-z][a-z-]*/g)) {
          // As the program spells it on its command line, or by its name alone to a parser of options.
          expect(scriptText(script!), `${name}: ${line}`).toMatch(new RegExp(`${option}\\b|\\b${option.slice(2)}\\b`));
        }
      }
    }
  });

  test("the options that it names are the programs'", () => {
    const words = inlineCode(text).filter(
      (word) => /^(ctr |containerd )?--[a-z]/.test(word) || /^(ctr|containerd) /.test(word),
    );
    const options = words.flatMap((word) => [...word.matchAll(/(?<!\S)--[a-z][a-z-]*/g)].map(([option]) => option));
    expect(options.filter((option) => !known.has(option) && !OTHERS.has(option))).toEqual([]);
  });
});

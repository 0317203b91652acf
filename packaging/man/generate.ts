/** Makes the man pages, dist/man/*: the texts beside this file, with the options and commands that the programs themselves know. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command, Option } from "commander";
import { version } from "../../build/version.js";
import { ctrProgram } from "../../src/ctr/command-line/program.js";
import { daemonCommand } from "../../src/daemon/flags.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const source = join(root, "packaging/man");
const target = join(root, "dist/man");

const programs: Record<string, Command> = { containerd: daemonCommand(), ctr: ctrProgram() };

mkdirSync(target, { recursive: true });
for (const file of readdirSync(source).filter((name) => name.endsWith(".md"))) {
  const page = basename(file, ".md");
  const program = programs[page.slice(0, page.lastIndexOf("."))];
  const text = readFileSync(join(source, file), "utf8")
    .replace("@OPTIONS@", () => (program ? options(program) : ""))
    .replace("@COMMANDS@", () => (program ? commands(program, program.name()) : ""));
  const args = ["--version", `containerd-ts ${version()}`, "--manual", "containerd", "--no-breaks"];
  writeFileSync(join(target, page), execFileSync(join(root, "node_modules/.bin/marked-man"), args, { input: text }));
}

function options(command: Command): string {
  return command
    .createHelp()
    .visibleOptions(command)
    .map((option) => `* ${optionFlags(option)}: ${plain(optionDescription(option))}\n`)
    .join("\n");
}

function optionFlags({ flags }: Option): string {
  return flags
    .split(", ")
    .map((flag) => flag.replace(/^(\S+)/, "**`$1`**"))
    .join(", ");
}

function optionDescription({ description, defaultValue, defaultValueDescription }: Option): string {
  const known = defaultValueDescription ?? (Array.isArray(defaultValue) ? defaultValue.join(" ") : defaultValue);
  const shown = known === undefined || known === "" || known === false ? "" : ` (default: ${known})`;
  return `${description}${shown}`;
}

/** Every command that does something, with its options. */
function commands(command: Command, path: string): string {
  return command.commands
    .map((child) => {
      const name = `${path} ${child.name()}`;
      const own = `### ${name} ${child.usage()}\n\n${plain(child.description())}\n\n${options(child)}\n`;
      return own + commands(child, name);
    })
    .join("\n");
}

/** Angle brackets and stars are text here. */
function plain(text: string): string {
  return text.replace(/[<>*_\\]/g, "\\$&");
}

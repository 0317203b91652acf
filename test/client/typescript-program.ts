/** TypeScript programs (examples, snippets of the documentation) run as a user would run them, against a test's daemon. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import type { TestDaemon } from "../harness/daemon.js";
import { repository } from "../harness/paths.js";
import { eventually } from "../harness/wait.js";

export interface ProgramResult {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunningProgram extends Disposable {
  readonly child: ChildProcess;
  readonly result: Promise<ProgramResult>;
  /** What stdout has shown so far. */
  output(): string;
  /** Resolves when stdout has shown this text. */
  printed(text: string): Promise<void>;
}

/** A TypeScript file, the text of one, or of a JavaScript module that runs as it is. */
export type ProgramSource = { file: string } | { text: string } | { script: string };

let count = 0;

/**
 * Starts a program whose `containerd-ts` is this package, as it is built; its temporary files are in the daemon's directory.
 *
 * @param wrapper a command that gets the program's command line as its last arguments and must exec it
 */
export async function startProgram(
  daemon: TestDaemon,
  source: ProgramSource,
  args: readonly string[] = [],
  env: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<RunningProgram> {
  // Inside the package, so that its name is resolved by its own `exports`.
  const dir = join(repository, "dist/run");
  mkdirSync(dir, { recursive: true });
  const name = `program-${process.pid}-${count++}`;
  const outfile = join(dir, `${name}.mjs`);
  if ("script" in source) writeFileSync(outfile, source.script);
  else await bundle(source, outfile);
  const [command, ...words] = [...wrapper, process.execPath, outfile, ...args];
  const child = spawn(command!, words, {
    env: { PATH: process.env.PATH ?? "", TMPDIR: daemon.dir, CONTAINERD_ADDRESS: daemon.listen, ...env },
    stdio: "pipe",
  });
  child.stdin!.on("error", () => {});
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const result = new Promise<ProgramResult>((resolve) => {
    child.once("close", (status, signal) => {
      rmSync(outfile, { force: true });
      resolve({ status, signal, stdout, stderr });
    });
  });
  return {
    child,
    result,
    output: () => stdout,
    async printed(text) {
      await eventually(() => stdout.includes(text), {
        what: `"${text}" from the program, which printed "${stdout}" and "${stderr}"`,
      });
    },
    [Symbol.dispose]() {
      child.kill("SIGKILL");
    },
  };
}

async function bundle(source: { file: string } | { text: string }, outfile: string): Promise<void> {
  await build({
    ...("file" in source
      ? { entryPoints: [join(repository, source.file)] }
      : { stdin: { contents: source.text, loader: "ts", resolveDir: repository } }),
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    target: "node20",
    format: "esm",
    // tsconfig.json sends the package's name to its sources.
    tsconfigRaw: {},
  });
}

/** What a program printed; fails when it failed. */
export async function runProgram(
  daemon: TestDaemon,
  source: ProgramSource,
  args: readonly string[] = [],
  env: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<string> {
  using program = await startProgram(daemon, source, args, env, wrapper);
  program.child.stdin!.end();
  const { status, signal, stdout, stderr } = await program.result;
  if (status !== 0 || stderr !== "")
    throw new Error(`the program ended with ${status ?? signal}, printed "${stdout}" and said "${stderr}"`);
  return stdout;
}

/** `ctr` as it is built, run against a test's daemon. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import type { TestDaemon } from "../harness/daemon.js";
import { ctrProgram } from "../harness/paths.js";
import { eventually } from "../harness/wait.js";

export interface CtrResult {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  stderr: string;
}

export interface RunningCtr {
  readonly child: ChildProcess;
  readonly result: Promise<CtrResult>;
  /** What stdout has shown so far. */
  output(): string;
  /** Resolves when stdout has shown this text. */
  printed(text: string): Promise<void>;
}

/** Only what ctr needs; its FIFOs are made in the daemon's private directory. */
export function ctrEnvironment(daemon: TestDaemon): Record<string, string> {
  return { PATH: process.env.PATH ?? "", TMPDIR: daemon.dir, TERM: "xterm" };
}

/** The words of a command line. */
export function ctrCommand(daemon: TestDaemon, ...args: string[]): string[] {
  // With the dashes that ctr's own first line has.
  return [process.execPath, "--", ctrProgram, "--address", daemon.listen, ...args];
}

/** Starts ctr; its stdin stays open until `child.stdin` is ended. */
export function startCtr(daemon: TestDaemon, ...args: string[]): RunningCtr {
  return startCtrIn(process.cwd(), daemon, args);
}

function startCtrIn(cwd: string, daemon: TestDaemon, args: string[]): RunningCtr {
  // The daemon takes its time on a busy machine.
  return startProgram(daemon, ctrCommand(daemon, "--conn-timeout", "60s", ...args), cwd);
}

/** Starts a client of the daemon's; its stdin stays open until `child.stdin` is ended. */
export function startProgram(daemon: TestDaemon, command: readonly string[], cwd = process.cwd()): RunningCtr {
  const [program, ...words] = command;
  const child = spawn(program!, words, { cwd, env: ctrEnvironment(daemon), stdio: "pipe" });
  child.stdin!.on("error", () => {});
  const [stdout, stderr]: Buffer[][] = [[], []];
  child.stdout!.on("data", (chunk: Buffer) => stdout!.push(chunk));
  child.stderr!.on("data", (chunk: Buffer) => stderr!.push(chunk));
  const result = new Promise<CtrResult>((resolve) => {
    child.once("close", (status, signal) => {
      resolve({ status, signal, stdout: Buffer.concat(stdout!), stderr: Buffer.concat(stderr!).toString() });
    });
  });
  return {
    child,
    result,
    output: () => Buffer.concat(stdout!).toString(),
    async printed(text) {
      await eventually(() => Buffer.concat(stdout!).includes(text), { what: `"${text}" from ${command.join(" ")}` });
    },
  };
}

/** Runs ctr to its end with this on its stdin, in this working directory. */
export function runCtr(
  daemon: TestDaemon,
  args: string[],
  input: string | Buffer = "",
  { cwd = process.cwd() } = {},
): Promise<CtrResult> {
  const running = startCtrIn(cwd, daemon, args);
  running.child.stdin!.end(input);
  return running.result;
}

/** What a command printed; fails when it failed. */
export async function ctr(daemon: TestDaemon, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runCtr(daemon, args);
  if (status !== 0) throw new Error(`ctr ${args.join(" ")} ended with ${status}: ${stderr}`);
  if (stderr !== "") throw new Error(`ctr ${args.join(" ")} complained: ${stderr}`);
  return String(stdout);
}

/** What a command that fails says; fails when it does not, or says more than one line, or prints something. */
export async function ctrError(daemon: TestDaemon, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runCtr(daemon, args);
  const line = /^\[ctr\] (.*)\n$/.exec(stderr)?.[1];
  if (status !== 1 || line === undefined || stdout.length > 0)
    throw new Error(`ctr ${args.join(" ")} ended with ${status}, printed "${stdout}" and said "${stderr}"`);
  return line;
}

/**
 * Resolves when the caller of a start has its answer. What the container prints comes before: a daemon, or a ctr, that is killed in between
 * takes the container along.
 */
export async function startIsTold(daemon: TestDaemon, id: string): Promise<void> {
  await daemon.events.waitFor({ type: "start-container", id });
  // An answer that comes behind that one.
  await daemon.api.state();
}

/** The FIFO directories of ctr that are there now. */
export function fifoDirectories(daemon: TestDaemon): string[] {
  return readdirSync(daemon.dir).filter((name) => name.startsWith("ctr-"));
}

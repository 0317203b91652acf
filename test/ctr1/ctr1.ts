/** Debian's `ctr` 1.6, run against a test's daemon. */
import { lstatSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type RunningCtr, startProgram } from "../ctr/ctr.js";
import type { TestDaemon } from "../harness/daemon.js";
import { unpackedProgram } from "../harness/paths.js";

/** Why there are no tests with Debian's `ctr` here, or undefined. */
export const withoutCtr1 =
  unpackedProgram("ctr") === undefined ? "scripts/setup could not have Debian's ctr" : undefined;

/** Which commands make FIFOs; without a word they make them below /run/containerd. */
const WITH_FIFOS = [["run"], ["tasks", "start"], ["tasks", "exec"]];

/** The words of a command line, its FIFOs in the daemon's directory. */
export function ctr1Command(daemon: TestDaemon, ...args: string[]): string[] {
  const fifos = join(daemon.dir, "fifos");
  mkdirSync(fifos, { recursive: true });
  const words = WITH_FIFOS.find((command) => command.every((word, index) => args[index] === word))?.length;
  const all = words === undefined ? args : [...args.slice(0, words), "--fifo-dir", fifos, ...args.slice(words)];
  return [unpackedProgram("ctr")!, "--address", daemon.listen.slice("unix://".length), ...all];
}

export interface Ctr1Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

export function startCtr1(daemon: TestDaemon, ...args: string[]): RunningCtr {
  return startProgram(daemon, ctr1Command(daemon, ...args));
}

/** Runs it to its end with this on its stdin. */
export async function runCtr1(daemon: TestDaemon, args: string[], input: string | Buffer = ""): Promise<Ctr1Result> {
  const running = startCtr1(daemon, ...args);
  running.child.stdin!.end(input);
  const { status, stdout, stderr } = await running.result;
  return { status, stdout: stdout.toString(), stderr };
}

/** What a command printed; fails when it failed. */
export async function ctr1(daemon: TestDaemon, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runCtr1(daemon, args);
  if (status !== 0) throw new Error(`ctr ${args.join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
}

/** The rows of a table that it printed, the words of each. */
export function rows(table: string): string[][] {
  return table
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
}

/** Removes all images, and waits for what they held to go. */
export async function removeImages(daemon: TestDaemon): Promise<void> {
  const names = (await ctr1(daemon, "images", "ls", "-q")).split("\n").filter((name) => name !== "");
  if (names.length > 0) await ctr1(daemon, "images", "rm", "--sync", ...names);
}

/** The bytes that a daemon's content and snapshots take on the disk, its records aside. What is mounted there counts once, as its file. */
export function spaceOf({ root }: TestDaemon): number {
  const seen = new Set<number>();
  const { dev } = lstatSync(root);
  const spaceBelow = (directory: string): number =>
    readdirSync(directory).reduce((sum, name) => {
      const path = join(directory, name);
      const info = lstatSync(path);
      if (info.dev !== dev || /\.db/.test(name) || seen.has(info.ino)) return sum;
      seen.add(info.ino);
      return sum + info.blocks * 512 + (info.isDirectory() ? spaceBelow(path) : 0);
    }, 0);
  return spaceBelow(root);
}

import { readFileSync } from "node:fs";
import { dirname, isAbsolute } from "node:path";
import { runCommand } from "../linux/child.js";
import { findProgram } from "../linux/spawn.js";

/** A file system to be mounted, as the kernel's mount(2) and mount(8) have it. */
export interface Mount {
  type: string;
  source: string;
  /** Below where it is mounted; "" is that itself. */
  target: string;
  options: readonly string[];
}

/**
 * No helper program, no table of mounts, no look at the paths before the kernel's own: each of them could wait for a server. Any length of
 * options: the newer interface of the kernel takes 256 bytes of each.
 */
const FLAGS = ["--internal-only", "--no-mtab", "--no-canonicalize"];
/** In bytes: what is left of the page that the kernel takes, with room for what mount(8) adds. */
const LONGEST_OPTIONS = 4000;
const ENVIRONMENT = [`PATH=${process.env.PATH}`, "LC_ALL=C", "LIBMOUNT_FORCE_MOUNT2=always"];

/**
 * Mounts a file system at a directory, by mount(8): a file system may never answer, and then it is that process which stands still, not a
 * thread of this one.
 * @param target absolute, and nobody else's to change
 * @param signal ends the wait at once, and kills that process; a mount that is under way in the kernel may still come to its end
 * @throws an Error with the words of mount(8), a system error when that can't be run, or the signal's reason
 */
export async function mount({ type, source, options }: Mount, target: string, signal: AbortSignal): Promise<void> {
  const args = type === "" ? [] : ["--types", type];
  const { directory, compact } = compactOptions(options);
  if (options.length > 0) args.push("--options", compact.join());
  try {
    await call("mount", [...FLAGS, ...args, "--", source || "none", target], signal, directory);
  } catch (error) {
    const isBind = options.includes("bind") || options.includes("rbind");
    throw signal.aborted || type === "" || isBind || isKnown(type) ? error : new Error("unknown file system type");
  }
}

/**
 * The lower directories of an overlay in a form that the kernel takes, when there are so many that they don't fit: relative to where they
 * all are.
 */
function compactOptions(options: readonly string[]): { directory: string; compact: readonly string[] } {
  const name = "lowerdir=";
  const lower = options.find((option) => option.startsWith(name));
  const paths = lower?.slice(name.length).split(":") ?? [];
  const fits = options.join().length < LONGEST_OPTIONS;
  if (fits || paths.length === 0 || !paths.every(isAbsolute)) return { directory: "/", compact: options };
  let directory = dirname(paths[0]!);
  while (directory !== "/" && !paths.every((path) => path.startsWith(`${directory}/`))) directory = dirname(directory);
  const relative = paths.map((path) => path.slice(directory.length).replace(/^\/+/, ""));
  return { directory, compact: options.map((option) => (option === lower ? name + relative.join(":") : option)) };
}

/**
 * Whether the kernel knows it, once it was asked for and had the chance to load it; of one that it does not know mount(8) blames the
 * source.
 */
function isKnown(type: string): boolean {
  const [base] = type.split(".");
  return readFileSync("/proc/filesystems", "utf8")
    .split("\n")
    .some((line) => line.split("\t")[1] === base);
}

/**
 * Takes what was mounted last at a directory out of the tree, with all that is mounted below: at once, whoever still uses it. As
 * {@link mount} otherwise.
 */
export async function unmount(target: string, signal: AbortSignal): Promise<void> {
  await call("umount", [...FLAGS, "--lazy", "--", target], signal);
}

async function call(program: string, args: readonly string[], signal: AbortSignal, cwd = "/"): Promise<void> {
  signal.throwIfAborted();
  const path = findProgram(program);
  if (path === undefined) throw new Error(`${program}: not installed`);
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const ended = runCommand(path, [program, ...args], { env: ENVIRONMENT, cwd, signal });
  // It is not waited for when it can't be killed.
  const { status, output } = await Promise.race([ended, aborted]);
  if (status !== 0) throw new Error(wordsOf(output, program, args.at(-1)!) || `${program}: exit status ${status}`);
}

/** Of what mount(8) prints the reason: the first line without the program's name and the directory; a hint follows. */
function wordsOf(output: string, program: string, target: string): string {
  const [line = ""] = output.split("\n");
  const prefix = `${program}: ${target}: `;
  return (line.startsWith(prefix) ? line.slice(prefix.length) : line).replace(/\.$/, "");
}

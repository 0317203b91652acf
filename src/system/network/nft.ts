import { runCommand } from "../linux/child.js";
import { findProgram } from "../linux/spawn.js";

/** In ms: a transaction takes some 10; this is what a machine that is out of its depth may take. */
const TIMEOUT = 15_000;
/** In characters. */
const LONGEST_MESSAGE = 500;
/** Where it is on most systems, whatever the PATH of a service says. */
const MORE_DIRECTORIES = "/usr/sbin:/sbin:/usr/local/sbin";

/** There is no nft on this machine. */
export class NftMissing extends Error {
  constructor() {
    super("nft is not installed: networks need the package nftables");
  }
}

/**
 * Has nft(8) do what a text says, all of it or nothing.
 * @throws NftMissing; Error with what it says; after 15 s it is killed, with an Error that says so; a system error when it can't be run
 */
export async function applyNft(text: string): Promise<void> {
  const { program, status, output } = await runNft(["-f", "-"], text);
  if (status === 0) return;
  // The lines that follow show what was wrong, which may be very long.
  const [line = ""] = output.trim().split("\n");
  throw new Error(`${program}: ${line.slice(0, LONGEST_MESSAGE) || `exit status ${status}`}`);
}

/**
 * What nft(8) answers to commands that list something, as JSON, an object for each; undefined when something of it is not there.
 * @throws as {@link applyNft}
 */
export async function listNft(commands: readonly string[]): Promise<{ nftables: unknown[] }[] | undefined> {
  const { status, output } = await runNft(["-j", "-f", "-"], commands.map((line) => `${line}\n`).join(""), true);
  if (status !== 0) return undefined;
  const lines = output.split("\n").filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line));
}

async function runNft(args: readonly string[], text: string, withoutStderr = false) {
  const path = process.env.PATH ?? "";
  const program = findProgram("nft", `${path}:${MORE_DIRECTORIES}`);
  if (program === undefined) throw new NftMissing();
  const timeout = AbortSignal.timeout(TIMEOUT);
  const aborted = new Promise<never>((_, reject) => {
    timeout.addEventListener("abort", () => reject(new Error(`${program}: no answer within ${TIMEOUT} ms`)));
  });
  const ended = runCommand(program, ["nft", ...args], {
    env: [`PATH=${path}`, "LC_ALL=C"],
    cwd: "/",
    stdin: text,
    withoutStderr,
    signal: timeout,
  });
  ended.catch(() => {});
  // It is not waited for when it can't be killed.
  const { status, output } = await Promise.race([ended, aborted]);
  return { program, status, output };
}

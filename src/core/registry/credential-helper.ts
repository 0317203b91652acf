import { printable } from "../../contract/terminal/printable.js";
import { type CommandResult, runCommand } from "../../system/linux/child.js";
import { errorText } from "../../system/linux/libc.js";
import { environmentStrings, findProgram } from "../../system/linux/spawn.js";
import { Failure } from "../failure/failure.js";
import { withTimeout } from "../failure/timeout.js";
import { parseJson } from "../files/json.js";
import type { Environment } from "./proxies.js";

/** In ms: some ask a server. */
const TIMEOUT = 30_000;
/** In characters: of what a helper says when it fails. */
const SHOWN = 200;
/** What all of them say when they know nothing of a host. */
const NOT_FOUND = "credentials not found in native keychain";
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/**
 * Asks `docker-credential-NAME get`: the host on its stdin, JSON on its stdout. No shell sees any of it, and no other process a secret.
 * @param host as config.json has it
 * @returns undefined when it has none
 * @throws Failure failed-precondition when it is not there, fails, answers nonsense, or not within 30 s; the signal's reason
 */
export async function askHelper(
  name: string,
  host: string,
  environment: Environment,
  signal: AbortSignal = new AbortController().signal,
  timeout = TIMEOUT,
): Promise<{ username: string; secret: string } | undefined> {
  const program = `docker-credential-${name}`;
  const failed = (why: string, cause?: unknown) =>
    new Failure("failed-precondition", "helper-failed", { program, host, why }, { cause });
  if (!NAME.test(name)) throw failed("that is no name of a program");
  const path = findProgram(program, environment.PATH ?? "");
  if (path === undefined) throw failed("there is no such program on the daemon's PATH");
  let answer: CommandResult;
  try {
    const run = (signal: AbortSignal) =>
      runCommand(path, [program, "get"], {
        env: environmentStrings(environment),
        cwd: "/",
        stdin: host,
        withoutStderr: true,
        signal,
      });
    answer = await withTimeout([signal], timeout, "answer-timeout", run);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw failed(errorText(error), error);
  }
  const { status, output } = answer;
  const said = output.trim();
  if (status !== 0) {
    if (said === NOT_FOUND) return undefined;
    throw failed(`it ended with status ${status}${said === "" ? "" : `: ${printable(said.slice(0, SHOWN))}`}`);
  }
  let found: { Username?: unknown; Secret?: unknown } | null;
  try {
    found = parseJson(output) as typeof found;
  } catch {
    // What it said may be a secret.
    throw failed("its answer is no JSON");
  }
  const { Username: username, Secret: secret } = found ?? {};
  if (typeof username !== "string" || typeof secret !== "string" || secret === "")
    throw failed("its answer has no Username and Secret");
  return { username, secret };
}

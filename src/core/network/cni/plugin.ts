import { runCommand } from "../../../system/linux/child.js";
import { findProgram } from "../../../system/linux/spawn.js";
import { Failure } from "../../failure/failure.js";
import { isObject } from "./configuration.js";

/** In ms: how long a plugin may take. One of DHCP waits for a server. */
const TIMEOUT = 60_000;

export interface PluginCall {
  /** The network's name, for errors. */
  network: string;
  type: string;
  command: "ADD" | "DEL";
  /** Where plugins are looked for. */
  directories: readonly string[];
  containerId: string;
  /** The path of its network namespace; "": there is none any more. */
  netns: string;
  /** Its device there. */
  ifName: string;
  /** The plugin's configuration. */
  config: object;
}

/** @throws Failure (failed-precondition) when it is not installed */
export function findPlugin({
  network,
  type,
  directories,
}: Pick<PluginCall, "network" | "type" | "directories">): string {
  const path = findProgram(type, directories.join(":"));
  if (path !== undefined) return path;
  const which = `network ${JSON.stringify(network)}: plugin ${JSON.stringify(type)}`;
  const where = `${directories.join(" or ")}: Debian has the usual ones in containernetworking-plugins`;
  throw refused("failed-precondition", `${which} is not in ${where}`);
}

/**
 * Runs a plugin to its end.
 * @returns what it answers; undefined: nothing
 * @throws Failure: failed-precondition when it is not installed, internal with what it says, deadline-exceeded; the signal's reason
 */
export async function callPlugin(call: PluginCall, signal: AbortSignal): Promise<object | undefined> {
  const { network, type, command, directories, containerId, netns, ifName, config } = call;
  const which = `network ${JSON.stringify(network)}: plugin ${JSON.stringify(type)}`;
  const path = findPlugin(call);
  const env = [
    `PATH=${process.env.PATH}`,
    `CNI_COMMAND=${command}`,
    `CNI_CONTAINERID=${containerId}`,
    `CNI_NETNS=${netns}`,
    `CNI_IFNAME=${ifName}`,
    "CNI_ARGS=IgnoreUnknown=1",
    `CNI_PATH=${directories.join(":")}`,
  ];
  const limit = AbortSignal.timeout(TIMEOUT);
  let ended: { status: number; output: string };
  try {
    const stdin = JSON.stringify(config);
    ended = await runCommand(path, [path], {
      env,
      stdin,
      withoutStderr: true,
      signal: AbortSignal.any([limit, signal]),
    });
  } catch (error) {
    if (limit.aborted && !signal.aborted)
      throw refused("deadline-exceeded", `${which}: ${command} has not ended within ${TIMEOUT / 1000} s`);
    throw error;
  }
  const answer = parse(ended.output);
  if (ended.status === 0) return answer;
  throw refused("internal", `${which}: ${command}: ${wordsOf(answer) ?? `exit status ${ended.status}`}`);
}

function parse(output: string): Record<string, unknown> | undefined {
  try {
    const answer: unknown = JSON.parse(output);
    return isObject(answer) ? answer : undefined;
  } catch {
    return undefined;
  }
}

function wordsOf(answer: Record<string, unknown> | undefined): string | undefined {
  const { msg, details, code } = answer ?? {};
  if (typeof msg !== "string") return undefined;
  const more = typeof details === "string" && details !== "" ? ` (${details})` : "";
  return `${msg}${more}${typeof code === "number" ? `, code ${code}` : ""}`;
}

function refused(kind: Failure["kind"], why: string): Failure {
  return new Failure(kind, "refused", { why });
}

import { join } from "node:path";
import { RUNTIME_LOG, SHIM_LOG } from "../../../contract/shim/process-directory.js";
import type { Failure } from "../../failure/failure.js";
import { readForeignFile } from "../../files/foreign-files.js";

/** In bytes: a runtime that says everything says some kilobytes. */
const LARGEST_LOG = 1024 * 1024;

/** What the shim says went wrong with it; undefined when nothing did. */
export async function shimLogError(directory: string): Promise<string | undefined> {
  return (await readErrors(join(directory, SHIM_LOG)))[0];
}

/** What the runtime says went wrong: its last error, since trouble with cleaning up can precede the one that explains the failure. */
export async function runtimeLogError(directory: string): Promise<string | undefined> {
  return (await readErrors(join(directory, RUNTIME_LOG))).at(-1);
}

/**
 * The messages of level "error" in a log of JSON lines; lines that are none are passed over. A runtime may be any program, and what runs
 * before it is through (a hook) may have the file open: what can't be read is told instead.
 */
async function readErrors(path: string): Promise<string[]> {
  let text: string;
  try {
    text = await readForeignFile(path, LARGEST_LOG);
  } catch (error) {
    const { kind, message } = error as Failure;
    return kind === "not-found" ? [] : [message];
  }
  return text.split("\n").flatMap((line) => {
    try {
      const { level, msg } = JSON.parse(line) as { level?: unknown; msg?: unknown };
      return level === "error" && typeof msg === "string" && msg !== "" ? [msg] : [];
    } catch {
      return [];
    }
  });
}

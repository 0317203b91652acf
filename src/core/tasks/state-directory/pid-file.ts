import { join } from "node:path";
import { PID_FILE } from "../../../contract/shim/process-directory.js";
import { readStateFile } from "./state-file.js";

/** The host pid that the runtime has written into a process directory; undefined while there is none. */
export function readPidFile(directory: string): number | undefined {
  let text: string;
  try {
    text = readStateFile(join(directory, PID_FILE));
  } catch {
    return undefined;
  }
  // The runtime may be writing it right now.
  return /^\d+\s*$/.test(text) ? Number(text) : undefined;
}

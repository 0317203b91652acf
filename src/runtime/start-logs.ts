import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What the shim says went wrong with it; undefined when nothing did. */
export async function shimLogError(directory: string): Promise<string | undefined> {
  return (await readErrors(join(directory, "shim-log.json")))[0];
}

/** What the runtime says went wrong: its last error, since trouble with cleaning up can precede the one that explains the failure. */
export async function runtimeLogError(directory: string): Promise<string | undefined> {
  return (await readErrors(join(directory, "log.json"))).at(-1);
}

/** The messages of level "error" in a log of JSON lines; lines that are none are passed over. */
async function readErrors(path: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return [];
  }
  return text.split("\n").flatMap((line) => {
    try {
      const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
      return level === "error" && msg ? [msg] : [];
    } catch {
      return [];
    }
  });
}

import { readdir } from "node:fs/promises";
import { hasCode } from "./libc.js";

/** What is in a directory: nothing if that is not there. @throws any other system error */
export async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

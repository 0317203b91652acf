import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { hasCode } from "../linux/libc.js";

/** What the kernel means by "max" (v2) and the most that a counter of 64 bits can say. */
export const UNLIMITED = 2n ** 64n - 1n;

const MISSING = ["ENOENT", "ENODEV", "ENOTSUP"];

/**
 * The text of a cgroup's file, undefined where there is none: the controller is not on, the kernel is older or built without it, or
 * the cgroup is being removed (ENODEV). EOPNOTSUPP (Node: ENOTSUP) is v2's answer for files that make no sense in a threaded cgroup.
 */
export function readControlFile(directory: string, name: string): string | undefined {
  try {
    return readFileSync(`${directory}/${name}`, "utf8");
  } catch (error) {
    if (MISSING.some((code) => hasCode(error, code))) return undefined;
    throw error;
  }
}

/** Writes into a cgroup's file; false where there is none (see {@link readControlFile}). */
export function writeControlFile(directory: string, name: string, text: string): boolean {
  try {
    writeFileSync(`${directory}/${name}`, text, { flag: "r+" });
    return true;
  } catch (error) {
    if (MISSING.some((code) => hasCode(error, code))) return false;
    throw error;
  }
}

/** The number in a file of one number; 0n where there is no such file, {@link UNLIMITED} for "max". */
export function readCount(directory: string, name: string): bigint {
  return parseCount(readControlFile(directory, name) ?? "");
}

/** A number as the kernel prints it. A negative one (some kernels' "-1") is 0n, as in the original's library. */
export function parseCount(text: string): bigint {
  const number = text.trim();
  if (number === "max") return UNLIMITED;
  return /^\d+$/.test(number) ? BigInt(number) : 0n;
}

/** The lines of a file of names and numbers (cpu.stat, memory.stat, memory.events, …); other lines are left out. */
export function parseFlatKeyed(text: string): Map<string, bigint> {
  const values = new Map<string, bigint>();
  for (const line of text.split("\n")) {
    const space = line.indexOf(" ");
    if (space > 0) values.set(line.slice(0, space), parseCount(line.slice(space + 1)));
  }
  return values;
}

/** The names in a cgroup's directory; none when it is gone. */
export function namesIn(directory: string): Set<string> {
  try {
    return new Set(readdirSync(directory));
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENODEV")) return new Set();
    throw error;
  }
}

import { resolve } from "node:path";

/**
 * @param flag what gives the value, where that is no argument
 * @throws Error `<what> cannot be empty`, with the flag
 */
export function required(value: string | undefined, what: string, flag?: string): string {
  if (value === undefined || value === "")
    throw new Error(`${what} cannot be empty${flag ? `: give it with ${flag}` : ""}`);
  return value;
}

/** The daemon has a working directory of its own, so it gets the whole path; "" when there is none, for its default. */
export function wholePath(path: string | undefined): string {
  return path ? resolve(path) : "";
}

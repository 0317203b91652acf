import { resolve } from "node:path";

/** @throws Error `<what> cannot be empty` */
export function required(value: string | undefined, what: string): string {
  if (value === undefined || value === "") throw new Error(`${what} cannot be empty`);
  return value;
}

/** The daemon has a working directory of its own, so it gets the whole path; "" when there is none, for its default. */
export function wholePath(path: string | undefined): string {
  return path ? resolve(path) : "";
}

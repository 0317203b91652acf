import { Failure } from "../../failure/failure.js";

/** In characters: how much of a value an error quotes. */
const MAX_SHOWN = 200;

/**
 * For a wish that can't be granted.
 * @param name of the option: `resources.memory`, `mounts[2].destination`
 * @param why what is allowed, or what stands against it
 */
export function invalidOption(name: string, value: unknown, why: string): Failure {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return new Failure("invalid-argument", "invalid-value", { name, value: shown, why });
}

/** @throws Failure (invalid-argument) for what has a NUL in it, where the kernel would see the end */
export function checkText(name: string, value: string): void {
  if (value.includes("\0")) throw invalidOption(name, value, "it has a NUL in it");
}

/** A path without what means nothing in one. @throws Failure (invalid-argument) for one that does not begin at the root */
export function absolutePath(name: string, value: string): string {
  checkText(name, value);
  if (!value.startsWith("/")) throw invalidOption(name, value, "it must be an absolute path, which begins with /");
  const parts: string[] = [];
  for (const part of value.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** @throws Failure (invalid-argument) for what is no whole number in these bounds */
export function checkWhole(name: string, value: number, least: number, most: number, allowed: string): void {
  if (!Number.isSafeInteger(value) || value < least || value > most)
    throw invalidOption(name, value, `it must be ${allowed}`);
}

import { isAbsolute } from "node:path";
import { inspect } from "node:util";

/** Looks at the value of one option. @throws TypeError or RangeError that names the option, the value and what is allowed. */
export interface Check {
  (value: unknown, name: string): void;
  /** It must be given. Of all others `undefined` says that they are not. */
  readonly required?: boolean;
}

/** A check for every option of an interface and for no other: the compiler holds the table to it. */
export type Checks<Options> = { readonly [Name in keyof Options]-?: Check };

/**
 * Checks options that somebody has given: a wrong one must not be ignored, nor fail far away.
 *
 * @param name what the object as a whole is called; its options are called `<name>.<option>`, or just by their own names without it
 * @throws TypeError for an unknown option or a wrong type, RangeError for a number that is too small or too large; they name the
 *   option, its value and what is allowed.
 */
export function checkOptions<Options>(given: unknown, checks: Checks<Options>, name = ""): asserts given is Options {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw wrong(name || "options", `an object of ${allowed(checks)}`, given);
  const path = (option: string) => (name === "" ? option : `${name}.${option}`);
  for (const [option, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (Object.hasOwn(checks, option)) (checks as Record<string, Check>)[option]!(value, path(option));
    else throw new TypeError(`unknown option ${path(option)} (${quote(value)}), allowed are ${allowed(checks)}`);
  }
  for (const [option, check] of Object.entries<Check>(checks)) {
    if (check.required && (given as Record<string, unknown>)[option] === undefined) check(undefined, path(option));
  }
}

function allowed(checks: object): string {
  return Object.keys(checks).join(", ");
}

/** The error for a value that is not what it must be. */
export function wrong(name: string, what: string, value: unknown): TypeError {
  return new TypeError(`${name} must be ${what}, not ${quote(value)}`);
}

/** A value as an error shows it: short, on one line, and without running any code of it. */
export function quote(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value);
  const options = { depth: 1, breakLength: Number.POSITIVE_INFINITY, maxArrayLength: 5, maxStringLength: 50 };
  return inspect(value, { ...options, customInspect: false });
}

export function required(check: Check): Check {
  return Object.assign((value: unknown, name: string) => check(value, name), { required: true });
}

/** A check by a condition. */
export function that(what: string, condition: (value: unknown) => boolean): Check {
  return (value, name) => {
    if (!condition(value)) throw wrong(name, what, value);
  };
}

export const flag = that("true or false", (value) => typeof value === "boolean");

export function oneOf(...values: readonly (string | boolean)[]): Check {
  return that(values.map((value) => JSON.stringify(value)).join(" or "), (value) => values.includes(value as string));
}

/**
 * A text that arrives as it is: a NUL byte would end it in the kernel, and half of a surrogate pair becomes another character on
 * the wire.
 */
export function text(what: string, condition: (value: string) => boolean = () => true): Check {
  return (value, name) => {
    if (typeof value !== "string") throw wrong(name, what, value);
    if (value.includes("\0")) throw wrong(name, `${what} without a NUL byte`, value);
    if (/\p{Surrogate}/u.test(value))
      throw wrong(name, `${what} that is valid Unicode, without half a surrogate pair`, value);
    if (!condition(value)) throw wrong(name, what, value);
  };
}

export const anyText = text("a text");

/** Of a container, process or checkpoint. The daemon knows what else is no name. */
export const nameText = text("a name that is not empty", (value) => value !== "");

export const pathText = text("a path that is not empty", (value) => value !== "");

export const absolutePath = text("an absolute path", isAbsolute);

/** A whole number within limits; a bigint is one as well. */
export function whole(what: string, smallest: number, largest = Number.MAX_SAFE_INTEGER): Check {
  return number(what, (value) => Number.isSafeInteger(value) && value >= smallest && value <= largest);
}

export function number(what: string, condition: (value: number) => boolean): Check {
  return (value, name) => {
    if (typeof value !== "number") throw wrong(name, what, value);
    if (!condition(value)) throw new RangeError(wrong(name, what, value).message);
  };
}

export function listOf(check: Check, what = "a list"): Check {
  return (value, name) => {
    if (!Array.isArray(value)) throw wrong(name, what, value);
    // Not forEach, which passes over holes.
    for (let index = 0; index < value.length; index++) check(value[index], `${name}[${index}]`);
  };
}

export function object<Options>(checks: Checks<Options>): Check {
  return (value, name) => checkOptions(value, checks, name);
}

export const callback = that("a function", (value) => typeof value === "function");

import { anyText, type Check, listOf, quote } from "./option-checks.js";

/** Environment variables: by name, or as a list of "KEY=value". */
export type Environment = Readonly<Record<string, string | undefined>> | readonly string[];

/** Where a command is looked up when the environment says nothing else. */
const DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const variables = listOf(anyText, 'an object, or a list of "KEY=value"');

/** By name, where undefined says that there is none, or as a list. */
export const environmentCheck: Check = (value, name) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    variables(value, name);
    return;
  }
  for (const [variable, text] of Object.entries(value)) {
    if (variable === "" || variable.includes("="))
      throw new TypeError(`${name}: ${quote(variable)} is no name of an environment variable`);
    anyText(variable, `a name in ${name}`);
    if (text !== undefined) anyText(text, `${name}.${variable}`);
  }
};

/**
 * The variables as a process gets them: with a PATH, and with a TERM when it has a terminal, unless they are given.
 *
 * @param inherited as a list of "KEY=value"; what is given replaces those of the same name, and undefined takes one away
 */
export function environmentList(
  given: Environment = {},
  terminal = false,
  inherited: readonly string[] = [],
): string[] {
  const nameOf = (variable: string) => variable.split("=", 1)[0]!;
  const names = new Set(isList(given) ? given.map(nameOf) : Object.keys(given));
  const variables = [
    ...inherited.filter((variable) => !names.has(nameOf(variable))),
    ...(isList(given)
      ? given
      : Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))),
  ];
  const has = (name: string) => variables.some((variable) => variable.startsWith(`${name}=`));
  if (terminal && !has("TERM")) variables.unshift("TERM=xterm");
  if (!has("PATH")) variables.unshift(DEFAULT_PATH);
  return variables;
}

function isList(given: Environment): given is readonly string[] {
  return Array.isArray(given);
}

/** Environment variables: by name, or as a list of "KEY=value". */
export type Environment = Readonly<Record<string, string | undefined>> | readonly string[];

/** Where a command is looked up when the environment says nothing else. */
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * The variables as a process gets them: with a PATH, and with a TERM when it has a terminal, unless they are given.
 *
 * @throws TypeError for a name that is none.
 */
export function environmentList(given: Environment = {}, terminal = false): string[] {
  const variables = isList(given)
    ? [...given]
    : Object.entries(given)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => {
          if (name === "" || name.includes("=")) throw new TypeError(`"${name}" is no name of an environment variable`);
          return `${name}=${value}`;
        });
  const has = (name: string) => variables.some((variable) => variable.startsWith(`${name}=`));
  if (terminal && !has("TERM")) variables.unshift("TERM=xterm");
  if (!has("PATH")) variables.unshift(defaultPath);
  return variables;
}

function isList(given: Environment): given is readonly string[] {
  return Array.isArray(given);
}

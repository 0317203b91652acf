import type { ContainerConfig } from "../container-config.js";
import type { ImageConfig } from "./image-config.js";
import { absolutePath, checkText, invalidOption } from "./invalid-option.js";

/** Where commands are looked for when nobody says where. */
const DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * What runs: the entrypoint, then the command. Who gives an entrypoint does not get the image's command with it.
 * @throws Failure (invalid-argument)
 */
export function argsOf(
  { entrypoint, args }: Pick<ContainerConfig, "entrypoint" | "args">,
  image?: ImageConfig,
): string[] {
  const cmd = args ?? (entrypoint === undefined ? image?.cmd : undefined) ?? [];
  const all = [...(entrypoint ?? image?.entrypoint ?? []), ...cmd];
  if (all.length === 0) {
    const none = image === undefined ? "there is no image that says" : "the image does not say";
    throw invalidOption("args", args ?? [], `it must be a command, since ${none} what to run`);
  }
  checkArgs(entrypoint?.length ? "entrypoint" : "args", all);
  return all;
}

/** @throws Failure (invalid-argument) for a list that is no command with its arguments */
export function checkArgs(name: string, args: readonly string[]): void {
  if (!args[0]) throw invalidOption(name, args, "it must begin with the command, which can't be empty");
  for (const text of args) checkText(name, text);
}

/** Who a container runs as, in the form of {@link ContainerConfig.user}; "" is root. */
export function userOf({ user }: Pick<ContainerConfig, "user">, image?: ImageConfig): string {
  return user || image?.user || "";
}

/** Absolute. @throws Failure (invalid-argument) */
export function workdirOf({ workdir }: Pick<ContainerConfig, "workdir">, image?: ImageConfig): string {
  return workdir === "" ? absolutePath("workdir", `/${image?.workdir ?? ""}`) : absolutePath("workdir", workdir);
}

/** The value's last one of each name, where the first one stood. */
function byName(variables: readonly string[]): Map<string, string> {
  return new Map(variables.map((variable) => [variable.slice(0, variable.indexOf("=")), variable]));
}

/**
 * Environment variables over others.
 * @param name of the option
 * @param given `NAME=value`, or `NAME` to have none
 * @throws Failure (invalid-argument)
 */
export function overEnvironment(name: string, before: readonly string[], given: readonly string[]): string[] {
  const variables = byName(before);
  for (const [index, variable] of given.entries()) {
    const where = `${name}[${index}]`;
    checkText(where, variable);
    const end = variable.indexOf("=");
    if (variable === "" || end === 0) throw invalidOption(where, variable, "it must be NAME=value, or NAME");
    if (end === -1) variables.delete(variable);
    else variables.set(variable.slice(0, end), variable);
  }
  return [...variables.values()];
}

/** What is in each environment that does not say otherwise. @param home undefined: said later, or by nobody */
export function withDefaults(
  variables: readonly string[],
  { hostname, tty, home }: { hostname?: string; tty: boolean; home?: string | undefined },
): string[] {
  const defaults = [
    ...(home === undefined ? [] : [`HOME=${home}`]),
    DEFAULT_PATH,
    ...(hostname === undefined ? [] : [`HOSTNAME=${hostname}`]),
    ...(tty ? ["TERM=xterm"] : []),
  ];
  const has = byName(variables);
  return [...defaults.filter((variable) => !has.has(variable.slice(0, variable.indexOf("=")))), ...variables];
}

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { RegistryAuth } from "../../client/index.js";

export interface RegistryFlags {
  user?: string;
  passwordStdin?: boolean;
  plainHttp?: boolean;
}

export function addRegistryFlags(command: Command): Command {
  return command
    .option("-u, --user <name:password>", "who you are at the registry (default: what the daemon's docker login says)")
    .option("--password-stdin", "read the password from stdin: it is in nobody's list of processes then")
    .option("--plain-http", "ask the registry without TLS");
}

/** What the flags say to the client library. */
export function registryOptions({ user, passwordStdin, plainHttp }: RegistryFlags): {
  auth?: RegistryAuth;
  plainHttp?: boolean;
} {
  if (passwordStdin && !user) throw new Error("--password-stdin needs --user NAME");
  const [username = "", ...rest] = (user ?? "").split(":");
  if (user !== undefined && !passwordStdin && rest.length === 0)
    throw new Error(`--user "${username}" has no password: give NAME:PASSWORD, or --password-stdin`);
  const password = passwordStdin ? readFileSync(0, "utf8").replace(/\r?\n$/, "") : rest.join(":");
  return { ...(user !== undefined && { auth: { username, password } }), ...(plainHttp && { plainHttp }) };
}

export const PLATFORM_FLAG = "--platform <os/architecture>";

export interface ProgressFlags {
  json?: boolean;
  quiet?: boolean;
}

export function addProgressFlags(command: Command): Command {
  return command
    .option("--json", "print what happens as JSON, one object a line")
    .option("-q, --quiet", "print the image's name only, at the end");
}

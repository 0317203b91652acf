/** npm as a user runs it, and the two packages as it packs them. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { repository } from "./paths.js";

/** npm's own settings of the run that a test is a part of are not the user's. */
export const npmEnvironment = () => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(config_|package_|lifecycle_)/.test(name)),
  ),
  npm_config_audit: "false",
  npm_config_fund: "false",
  npm_config_prefer_offline: "true",
});

/** Resolves with what npm printed. */
export async function npm(directory: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)("npm", args, {
    cwd: directory,
    env: npmEnvironment(),
    maxBuffer: 64 << 20,
  });
  return stdout;
}

export interface Archives {
  client: string;
  containerd: string;
}

/** Packs both packages into a directory. Nothing is built again while other tests run it: the build is fresh. */
export async function packPackages(directory: string): Promise<Archives> {
  const printed = await npm(repository, "pack", "--silent", "--workspaces", "--pack-destination", directory);
  const [client, containerd] = printed.trim().split("\n");
  return { client: join(directory, client!), containerd: join(directory, containerd!) };
}

/** Installs archives into a directory, as the only dependencies of an empty project. No package's install script is run: none is needed. */
export async function installInto(project: string, archives: readonly string[]): Promise<void> {
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  await npm(project, "install", "--ignore-scripts", ...archives);
}

import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";

/** Runs a program of node_modules/.bin; resolves with what it printed, which is in the error when it fails. */
export async function runTool(name: string, args: readonly string[], cwd = "."): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(resolve("node_modules/.bin", name), args, {
      cwd,
      maxBuffer: 64 << 20,
    });
    return stdout;
  } catch (error) {
    const { stdout, stderr, message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(stdout || stderr ? `${name} ${args.join(" ")}:\n${stdout}${stderr}` : message);
  }
}

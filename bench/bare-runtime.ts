import { readFileSync } from "node:fs";
import { runCommand } from "../src/system/linux/child.js";
import { environmentStrings, findProgram } from "../src/system/linux/spawn.js";

/**
 * The OCI runtime driven by hand: what a supervisor can't be faster than. It is spawned the cheapest way this project knows, so that the
 * peer is not slowed down by its driver.
 */
export class BareRuntime {
  readonly #path: string;
  readonly #env: string[];

  constructor(name: string, env: Record<string, string | undefined> = process.env) {
    const path = findProgram(name);
    if (path === undefined) throw new Error(`${name} is not installed`);
    this.#path = path;
    this.#env = environmentStrings(env);
  }

  async run(...args: string[]): Promise<void> {
    const { status, output } = await runCommand(this.#path, [this.#path, ...args], { env: this.#env });
    if (status !== 0) throw new Error(`${this.#path} ${args.join(" ")}: exit status ${status}: ${output}`);
  }

  async createAndStart(id: string, bundle: string, pidFile: string): Promise<number> {
    await this.run("create", "--bundle", bundle, "--pid-file", pidFile, id);
    await this.run("start", id);
    return Number(readFileSync(pidFile, "utf8"));
  }

  async delete(id: string): Promise<void> {
    await this.run("delete", "--force", id);
  }
}

/** Runs `task` for each number below `count`, so many at a time. Returns how many ended per second. */
export async function rate(count: number, atATime: number, task: (n: number) => Promise<unknown>): Promise<number> {
  const began = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
  return count / ((performance.now() - began) / 1000);
}

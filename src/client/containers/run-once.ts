import { overOwnConnection, type RunTarget } from "../own-connection.js";
import { type RunBufferOptions, type RunOptions, type RunResult, runChecks } from "./run.js";

/**
 * Runs a command in a container of its own, over a connection of its own, and resolves when it has ended and nothing of it is
 * left: {@link Client.run} for a program that has no client otherwise.
 *
 * @throws RunError after `timeout` or too much output, with what was printed; the signal's reason; ContainerdError with the
 *   words when the command cannot be run. Nothing of the container is left then either.
 * @example
 * const { stdout, status } = await run({ image: "alpine:3.20", args: ["wc", "-c"], input: "hello", timeout: 5000 });
 */
export function run(options: RunOptions & RunTarget): Promise<RunResult>;
export function run(options: RunBufferOptions & RunTarget): Promise<RunResult<Buffer>>;
export function run(options: (RunOptions | RunBufferOptions) & RunTarget): Promise<RunResult | RunResult<Buffer>>;
export function run(options: (RunOptions | RunBufferOptions) & RunTarget): Promise<RunResult | RunResult<Buffer>> {
  return overOwnConnection(options, runChecks, (client, rest) => client.run(rest));
}

import { type ClientOptions, clientChecks } from "../client.js";
import { connect } from "../connect.js";
import { anyText, checkOptions } from "../options/option-checks.js";
import { type RunBufferOptions, type RunOptions, type RunResult, runChecks } from "./run.js";

/** Where the daemon is, for a run that makes its own connection. */
export interface RunTarget extends ClientOptions {
  /** As {@link connect} takes it. */
  address?: string | undefined;
}

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
export async function run(
  options: (RunOptions | RunBufferOptions) & RunTarget,
): Promise<RunResult | RunResult<Buffer>> {
  checkOptions(options, { ...runChecks, ...clientChecks, address: anyText });
  const { address, patience, namespace, connectTimeout, tls, ...rest } = options;
  await using client = connect(address, { patience, namespace, connectTimeout, tls });
  // Awaited here, while the client is open.
  return await client.run(rest as RunOptions | RunBufferOptions);
}

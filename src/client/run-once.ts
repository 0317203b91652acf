import type { ClientOptions } from "./client.js";
import { connect } from "./connect.js";
import type { RunOptions, RunResult } from "./run.js";

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
 *   runtime's words when the command cannot be run. Nothing of the container is left then either.
 * @example
 * const { stdout, status } = await run({ rootfs: "/srv/rootfs", args: ["wc", "-c"], input: "hello", timeout: 5000 });
 */
export function run(options: RunOptions & RunTarget & { encoding: "buffer" }): Promise<RunResult<Buffer>>;
export function run(options: RunOptions & RunTarget & { encoding?: "utf8" | undefined }): Promise<RunResult>;
export async function run({
  address,
  patience,
  connectTimeout,
  tls,
  ...options
}: RunOptions & RunTarget): Promise<RunResult | RunResult<Buffer>> {
  await using client = connect(address, {
    patience,
    ...(connectTimeout !== undefined && { connectTimeout }),
    ...(tls && { tls }),
  });
  // The overloads of Client.run are those of this function.
  // Awaited here, while the client is open.
  return await client.run(options as RunOptions & { encoding?: "utf8" });
}

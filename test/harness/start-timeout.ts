import { startContainer } from "./container.js";
import { startDaemon } from "./daemon.js";

let known: Promise<number> | undefined;

/**
 * A --start-timeout in ms, at least one second, that a runtime which hangs exceeds, and none that works: ten times what a start takes on
 * this machine, as busy as it is.
 */
export function startTimeout(): Promise<number> {
  known ??= measure();
  return known;
}

/** The flags for a daemon with it. */
export async function startTimeoutFlags(): Promise<string[]> {
  return ["--start-timeout", `${await startTimeout()}ms`];
}

async function measure(): Promise<number> {
  await using daemon = await startDaemon();
  let slowest = 0;
  for (let round = 0; round < 3; round++) {
    const begin = performance.now();
    await using container = await startContainer(daemon, { name: `usual-${round}`, args: ["true"] });
    slowest = Math.max(slowest, performance.now() - begin);
    await container.exit();
  }
  return Math.max(1000, Math.ceil(10 * slowest));
}

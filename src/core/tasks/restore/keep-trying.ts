import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { errorText } from "../../../system/linux/libc.js";

/** In ms: how long the pause after the first failure is; each is twice the one before. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 30_000;

/**
 * Does something that has to be done, and repeats it until it does not throw: the cause (no descriptors, a full disk, a file that can't be
 * opened) may pass. Logs the first failure and the success after it. Never rejects.
 * @param fields of the log's lines
 * @param what it is, for the log
 */
export async function keepTrying(
  log: Logger,
  fields: { id: string; pid?: string },
  what: string,
  attempt: () => Promise<void>,
): Promise<void> {
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    try {
      await attempt();
      if (pause > FIRST_PAUSE) log.info(fields, `${what}: done at last`);
      return;
    } catch (error) {
      if (pause === FIRST_PAUSE) log.error({ ...fields, error: errorText(error) }, `${what}; trying again`);
    }
    await delay(pause, undefined, { ref: false });
  }
}

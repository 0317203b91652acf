import { bootTime } from "../../../system/linux/clock.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { atBootTime } from "../../tasks/lifetime.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { checkTimeToLive, type TimeToLive, timeToLive } from "../time-to-live.js";
import { keep } from "./keeping.js";
import { removeNow, requireThere } from "./remove.js";

/** In ms: how soon a removal that has failed is tried again. */
const RETRY_INTERVAL = 10_000;

/** Has a container killed and removed when its time to live is over; `undefined` is never. */
export function watchTimeToLive(engine: Engine, container: EngineContainer, ttl: TimeToLive | undefined): void {
  container.stopClock();
  container.expiresAt = ttl?.endsAt;
  container.stopClock = ttl === undefined ? () => {} : atBootTime(ttl.endsAt, () => expire(engine, container));
}

function expire(engine: Engine, container: EngineContainer): void {
  const { id } = container;
  container.isExpired = true;
  engine.log.info({ id }, "containerd: a container is removed: its time to live is over");
  removeNow(engine, container, true).catch((error) => {
    if (error instanceof Failure && error.kind === "not-found") return;
    engine.log.error({ id, error: logText(error) }, "containerd: remove a container whose time to live is over");
    container.stopClock = atBootTime(bootTime() + RETRY_INTERVAL, () => expire(engine, container));
  });
}

/**
 * Gives a container another time to live, which the next daemon knows, too.
 * @param ms from now; 0 is none any more
 * @throws Failure: invalid-argument; not-found, also when it was over meanwhile
 */
export async function changeTimeToLive(engine: Engine, container: EngineContainer, ms: number): Promise<void> {
  checkTimeToLive(ms);
  await engine.inTurn(container, async () => {
    requireThere(container);
    const ttl = timeToLive(ms);
    const kept = keptOf(await engine.containers.getBrief(container.namespace, container.id))!;
    await keep(engine, container, { ...kept, ttl });
    // It may have been over while that was written.
    requireThere(container);
    watchTimeToLive(engine, container, ttl);
  });
}

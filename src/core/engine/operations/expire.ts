import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bootTime } from "../../../system/linux/clock.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { writeAtomically } from "../../files/write-atomically.js";
import { atBootTime } from "../../tasks/lifetime.js";
import { bundleIn } from "../../tasks/task.js";
import { checkTime } from "../check-time.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { type TimeToLive, timeToLive } from "../time-to-live.js";
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
  checkTime("ttl", ms);
  await new Promise<void>((resolve, reject) => {
    engine.inTurn(container, () => changeInTurn(engine, container, ms, resolve)).then(resolve, reject);
  });
}

/** @param known is called as soon as the next daemon knows it; the turn lasts until it is in the record, too, which others change */
async function changeInTurn(engine: Engine, container: EngineContainer, ms: number, known: () => void): Promise<void> {
  const { namespace, id } = container;
  requireThere(container);
  const ttl = timeToLive(ms);
  const kept = keptOf(await engine.containers.getBrief(namespace, id))!;
  if (note(engine, container, ttl)) {
    watchTimeToLive(engine, container, ttl);
    known();
    await keep(engine, container, { ...kept, ttl }).catch((error) => {
      engine.log.error({ id, error: logText(error) }, "containerd: write down the time to live of a container");
    });
    return;
  }
  await keep(engine, container, { ...kept, ttl });
  // It may have been over while that was written.
  requireThere(container);
  watchTimeToLive(engine, container, ttl);
}

/**
 * Has the next daemon know the time to live of what belongs to a program without a wait for the disk: by a file in its task's bundle, which
 * outlives a kill of this daemon. It need not outlive a loss of power, as the program does not either, with which the container goes.
 * @returns whether it does; false for what belongs to nobody, or has no task
 */
function note(engine: Engine, container: EngineContainer, ttl: TimeToLive | undefined): boolean {
  if (container.owner === undefined || engine.taskOf(container) === undefined) return false;
  const path = noteOf(engine, container);
  try {
    writeAtomically(path, JSON.stringify(ttl ?? null));
    return true;
  } catch {
    // An earlier one would be taken for the last.
    rmSync(path, { force: true });
    return false;
  }
}

/** What a container's record, or a later {@link note}, says of its time to live. */
export function lastTimeToLive(
  engine: Engine,
  container: EngineContainer,
  recorded: TimeToLive | undefined,
): TimeToLive | undefined {
  if (container.owner === undefined) return recorded;
  try {
    return (JSON.parse(readFileSync(noteOf(engine, container), "utf8")) as TimeToLive | null) ?? undefined;
  } catch {
    return recorded;
  }
}

function noteOf(engine: Engine, container: EngineContainer): string {
  return join(bundleIn(engine.tasks.directoryOf(container)), "time-to-live");
}

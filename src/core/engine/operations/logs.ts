import { now } from "../../../system/linux/clock.js";
import { Failure, refusal } from "../../failure/failure.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { DirectoryWatch } from "../logs/directory-watch.js";
import { type LogChunk, LogReader } from "../logs/log-reader.js";
import { findTail } from "../logs/log-tail.js";
import { TimeFilter } from "../logs/time-filter.js";
import { statusOf } from "./running.js";

export interface LogsRequest {
  /** Goes on until the container has stopped, or has gone. */
  follow: boolean;
  /** Lines that begin then or later: nanoseconds since the epoch. */
  since?: bigint | undefined;
  /** Lines that begin then or earlier. */
  until?: bigint | undefined;
  /** So many of the last lines. */
  tail?: number | undefined;
  /** The lines from there on. */
  position?: number | undefined;
}

const EMPTY = Buffer.alloc(0);
const NS_PER_MS = 1_000_000n;

/**
 * What a container has printed, as it is in its log, a little at a time and no faster than it is taken. The first chunk is empty: where the
 * log is read from is known then.
 * @throws Failure: failed-precondition for a container that has no log, invalid-argument; the signal's reason
 */
export async function* logs(
  engine: Engine,
  container: EngineContainer,
  request: LogsRequest,
  signal: AbortSignal,
): AsyncGenerator<LogChunk> {
  const { follow, since, until, tail, position } = request;
  if (tail !== undefined && position !== undefined) throw refusal("tail: with position all lines from there on come");
  await requireLog(engine, container);
  const directory = engine.logs.of(container);
  const filter = since === undefined && until === undefined ? undefined : new TimeFilter(since, until);
  const end = tail === undefined ? undefined : await findTail(directory, tail, until);
  await using reader = new LogReader(directory, end?.position ?? position ?? 0);
  yield { data: EMPTY, position: reader.position, missed: 0 };
  for (const chunk of end?.beginnings ?? []) yield* wanted(chunk, filter);
  using watch = follow ? watching(engine, container) : undefined;
  using late = watch && until !== undefined ? atTime(until, () => watch.tell()) : undefined;
  void late;
  for (;;) {
    watch?.reset();
    // Looked at before all that there is has been read: what comes in between is read then.
    const isOver = !follow || hasEnded(engine, container) || (until !== undefined && now() > until);
    const stopTelling = container.onceTold(() => watch?.tell());
    try {
      for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
        signal.throwIfAborted();
        yield* wanted(chunk, filter);
      }
      if (isOver) return;
      await watch!.changed(signal);
    } finally {
      stopTelling();
    }
  }
}

function hasEnded(engine: Engine, container: EngineContainer): boolean {
  return container.isGone || statusOf(engine, container) === "stopped";
}

/** @throws Failure (failed-precondition) */
async function requireLog(engine: Engine, container: EngineContainer): Promise<void> {
  const { namespace, id } = container;
  if (container.hasLog) return;
  const refuse = (why: string) => new Failure("failed-precondition", "refused", { why });
  const { config } = keptOf(await engine.containers.getBrief(namespace, id))!;
  if (config.log?.driver === "none")
    throw refuse(`container ${JSON.stringify(id)} has no log: its log driver is "none"`);
  const stdio = engine.taskOf(container)?.init?.stdio;
  if (stdio !== undefined && (stdio.stdout !== "" || stdio.stderr !== ""))
    throw refuse(`container ${JSON.stringify(id)} has no log: it was started with streams of its caller's`);
}

/** A container that was never started has no directory yet. @throws a system error */
function watching(engine: Engine, container: EngineContainer): DirectoryWatch {
  container.hasLog = true;
  engine.logs.make(container);
  return new DirectoryWatch(engine.logs.of(container));
}

function* wanted(chunk: LogChunk, filter: TimeFilter | undefined): Generator<LogChunk> {
  if (filter === undefined) {
    yield chunk;
    return;
  }
  const { data, position } = chunk;
  let { missed } = chunk;
  for (const { start, end } of filter.runs(data)) {
    yield { data: data.subarray(start, end), position: position + start, missed };
    missed = 0;
  }
}

/** The longest that Node's timers take. */
const LONGEST = 2 ** 31 - 1;

function atTime(time: bigint, then: () => void): Disposable {
  const ms = Number((time - now()) / NS_PER_MS) + 1;
  const timer = ms > 0 && ms <= LONGEST ? setTimeout(then, ms) : undefined;
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

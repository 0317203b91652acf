import { OperationError } from "../../core/failure/operation-error.js";
import type { Timestamp } from "../../proto/google/protobuf/timestamp.js";

const NANOSECONDS = 1_000_000_000n;
/** The years 1 and 10000: what the message may hold, by its own definition. */
const MIN_SECONDS = -62_135_596_800n;
const MAX_SECONDS = 253_402_300_800n;

/** @param time nanoseconds since the epoch */
export function timestampMessage(time: bigint): Timestamp {
  return { seconds: time / NANOSECONDS, nanos: Number(time % NANOSECONDS) };
}

/**
 * @returns nanoseconds since the epoch
 * @throws OperationError (invalid-argument) for a message that is no time
 */
export function timestampValue({ seconds, nanos }: Timestamp): bigint {
  const refuse = (why: string) =>
    new OperationError("invalid-argument", `timestamp: seconds:${seconds} nanos:${nanos}: ${why}`);
  if (nanos < 0 || nanos >= Number(NANOSECONDS)) throw refuse("nanos not in range [0, 1e9)");
  if (seconds < MIN_SECONDS) throw refuse("before 0001-01-01");
  if (seconds >= MAX_SECONDS) throw refuse("after 10000-01-01");
  return seconds * NANOSECONDS + BigInt(nanos);
}

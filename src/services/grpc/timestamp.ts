import { nanosecondsOf } from "../../contract/go/rfc3339.js";
import { refusal } from "../../core/failure/failure.js";
import type { Timestamp } from "../../proto/google/protobuf/timestamp.js";

/** The years 1 and 10000: what the message may hold, by its own definition. */
const MIN_SECONDS = -62_135_596_800n;
const MAX_SECONDS = 253_402_300_800n;

/**
 * @returns nanoseconds since the epoch
 * @throws Failure (invalid-argument) for a message that is no time
 */
export function timestampValue({ seconds, nanos }: Timestamp): bigint {
  const refuse = (why: string) => refusal(`timestamp: seconds:${seconds} nanos:${nanos}: ${why}`);
  if (nanos < 0 || nanos >= 1e9) throw refuse("nanos not in range [0, 1e9)");
  if (seconds < MIN_SECONDS) throw refuse("before 0001-01-01");
  if (seconds >= MAX_SECONDS) throw refuse("after 10000-01-01");
  return nanosecondsOf({ seconds, nanos });
}

import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { that } from "../options/option-checks.js";

/** What a process reads from its stdin. A stream is read only as fast as the process reads. */
export type RunInput = string | Uint8Array | AsyncIterable<string | Uint8Array>;

export const inputCheck = that(
  "a text, bytes, or a stream of them",
  (value) =>
    typeof value === "string" ||
    value instanceof Uint8Array ||
    typeof (value as Partial<AsyncIterable<unknown>> | null)?.[Symbol.asyncIterator] === "function",
);

/**
 * Writes all of an input to a stdin, whose errors are the caller's to hear: a process that does not read all of it is no failure.
 * @param onFailure called with what reading the input has failed with
 */
export function feed(input: RunInput, stdin: Writable, onFailure: (error: unknown) => void): void {
  if (typeof input === "string" || input instanceof Uint8Array) stdin.end(input);
  else pipeline(Readable.from(read(input, onFailure)), stdin).catch(() => {});
}

async function* read(
  input: AsyncIterable<string | Uint8Array>,
  onFailure: (error: unknown) => void,
): AsyncGenerator<string | Uint8Array> {
  try {
    yield* input;
  } catch (error) {
    onFailure(error);
    throw error;
  }
}

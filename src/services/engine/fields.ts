import { refusal } from "../../core/failure/failure.js";

/** An integer of a message as a number. @throws Failure (invalid-argument) that names it when it is too large for that */
export function number(name: string, value: bigint): number {
  const result = Number(value);
  if (!Number.isSafeInteger(result)) throw refusal(`${name} ${value}: out of range`);
  return result;
}

/** A text of a message, for an error. */
export const quoted = (text: string) => JSON.stringify(text.slice(0, 200));

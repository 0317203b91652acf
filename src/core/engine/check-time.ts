import { refusal } from "../failure/failure.js";

/** @param name of the field. @throws Failure (invalid-argument) */
export function checkTime(name: string, ms: number): void {
  if (!Number.isSafeInteger(ms) || ms < 0) throw refusal(`${name} ${ms}: not a time in ms`);
}

import { signalNumber as numberOf } from "../../contract/signals.js";
import { refusal } from "../failure/failure.js";

/** Of a name or a number, with or without `SIG`. @throws Failure (invalid-argument) */
export function signalNumber(signal: string): number {
  try {
    return numberOf(signal);
  } catch {
    throw refusal(`no signal ${JSON.stringify(signal.slice(0, 100))}`);
  }
}

export function isSignal(text: string): boolean {
  try {
    return numberOf(text) > 0;
  } catch {
    return false;
  }
}

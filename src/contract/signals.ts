import { constants } from "node:os";

/** A signal: its number, or its name with or without `SIG`. */
export type SignalName = NodeJS.Signals | number | (string & {});

const numbers: Readonly<Record<string, number | undefined>> = constants.signals;

/** Linux's real-time signals, as the C library numbers them for programs. */
const FIRST_REALTIME = 34;
const LAST_SIGNAL = 64;

/**
 * The number of a signal: 9, "9", "KILL", "SIGKILL", "sigkill", "RTMIN+3". 0 probes.
 *
 * @throws TypeError `unknown signal "<name>"`
 */
export function signalNumber(signal: SignalName): number {
  const text = String(signal).trim();
  if (/^\d+$/.test(text) && Number(text) <= LAST_SIGNAL) return Number(text);
  const name = text.toUpperCase().replace(/^SIG/, "");
  const number = Object.hasOwn(numbers, `SIG${name}`) ? numbers[`SIG${name}`] : undefined;
  if (number !== undefined) return number;
  const realtime = /^RT(?:MIN(?:\+(\d+))?|MAX(?:-(\d+))?)$/.exec(name);
  if (realtime) {
    const value = name.startsWith("RTMIN")
      ? FIRST_REALTIME + Number(realtime[1] ?? 0)
      : LAST_SIGNAL - Number(realtime[2] ?? 0);
    if (value >= FIRST_REALTIME && value <= LAST_SIGNAL) return value;
  }
  throw new TypeError(`unknown signal "${signal}"`);
}

/** What a suite has done: a run that did next to nothing shows nothing, however few violations it had. */
import { eventually, PATIENCE } from "../harness/wait.js";

/** How often each kind of thing happened. */
export type Work = Record<string, number>;

/** The kinds of which less was done since `before` than is asked for. */
function missing(now: Work, before: Work, least: Work): string[] {
  return Object.entries(least)
    .filter(([kind, count]) => (now[kind] ?? 0) - (before[kind] ?? 0) < count)
    .map(([kind, count]) => `${(now[kind] ?? 0) - (before[kind] ?? 0)} ${kind} of ${count}`);
}

/**
 * Waits until so much more has been done than before, however slow the machine is.
 * @returns what is still missing when patience is over, or undefined
 */
export async function workDone(
  now: () => Work,
  before: Work,
  least: Work,
  signal?: AbortSignal,
): Promise<string | undefined> {
  try {
    await eventually(() => signal?.aborted || missing(now(), before, least).length === 0, {
      timeout: PATIENCE,
      interval: 2,
    });
    return undefined;
  } catch {
    return `too little was done in ${PATIENCE / 1000} s: ${missing(now(), before, least).join(", ")}`;
  }
}

/** Why a run as a whole has done too little; undefined when it has done enough. */
export function tooLittle(done: Work, least: Work): string | undefined {
  const lines = missing(done, {}, least);
  return lines.length === 0 ? undefined : `the run did too little: ${lines.join(", ")}`;
}

/** "3 starts, 4 execs". */
export function describeWork(done: Work): string {
  return Object.entries(done)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(", ");
}

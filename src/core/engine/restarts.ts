import { bootId } from "../../system/linux/boot-id.js";
import type { RestartPolicy } from "./container-config.js";
import type { ContainerExit } from "./kept-container.js";

/** In ms: the first wait, which doubles up to the longest. */
const FIRST_DELAY = 100;
const LONGEST_DELAY = 60_000;
/** In ms: who has run for that long begins with the first wait again. */
const SETTLED = 10_000;

/** What a container's policy has done since somebody has started it, and what it does next, as its record has it. */
export interface Restarts {
  /** In which boot of the machine the times count. */
  bootId: string;
  /** How often it was started by its policy. */
  count: number;
  /** In ms: how long its policy has waited last; 0: not yet. */
  delay: number;
  /** Since when it runs, or has run last: in ms since the machine has booted. */
  since?: number | undefined;
  /** When its policy starts it again, as above; undefined: it does not. */
  at?: number | undefined;
  /** Somebody has stopped it, in this boot or one before. */
  isStopped?: true | undefined;
}

/** Undefined for what restarts nothing. */
export function policyOf({ restart }: { restart?: RestartPolicy | undefined }): RestartPolicy | undefined {
  return restart === undefined || restart.name === "no" ? undefined : restart;
}

/** Of a container that nothing has happened to. */
export function noRestarts(): Restarts {
  return { bootId: bootId(), count: 0, delay: 0 };
}

/**
 * Of one that has just been started.
 * @param before undefined: by somebody, and not by its policy
 */
export function started(before: Restarts | undefined, since: number): Restarts {
  const { count, delay } = before ?? { count: -1, delay: 0 };
  return { bootId: bootId(), count: count + 1, delay, since };
}

/**
 * Of one that has ended.
 * @param endedAt in ms since the machine has booted
 */
export function ended(
  policy: RestartPolicy | undefined,
  before: Restarts,
  exit: ContainerExit,
  endedAt: number,
): Restarts {
  const { at: _, ...rest } = before;
  if (before.isStopped || policy === undefined || !wantsRestart(policy, before.count, exit)) return rest;
  // Its time was over: who has given it that time wants no more of it.
  if (exit.timedOut) return { ...rest, isStopped: true };
  const since = before.since ?? endedAt;
  const end = Math.max(endedAt, since);
  const isFirst = before.delay === 0 || end - since >= SETTLED;
  const delay = isFirst ? FIRST_DELAY : Math.min(before.delay * 2, LONGEST_DELAY);
  return { ...rest, delay, at: end + delay };
}

/** Of one that could not be started by its policy, which counts as a run that has failed at once. */
export function failedToStart(
  policy: RestartPolicy | undefined,
  before: Restarts,
  exit: ContainerExit,
  at: number,
): Restarts {
  return ended(policy, { ...before, count: before.count + 1, since: at }, exit, at);
}

/** Of one that somebody has stopped. */
export function stopped({ at: _, ...before }: Restarts): Restarts {
  return { ...before, delay: 0, isStopped: true };
}

/**
 * Of one that was there when the machine was started anew: what was stopped by somebody stays so, unless it is always to run.
 * @param wasRunning its end was not seen
 * @param now in ms since the machine has booted
 */
export function afterBoot(
  policy: RestartPolicy | undefined,
  before: Restarts,
  wasRunning: boolean,
  now: number,
): Restarts {
  const isStopped = before.isStopped && policy?.name !== "always";
  if (isStopped) return { ...noRestarts(), isStopped };
  const starts = policy !== undefined && (wasRunning || before.at !== undefined || before.isStopped);
  return { ...noRestarts(), ...(starts && { at: now }) };
}

function wantsRestart({ name, maxRetries }: RestartPolicy, count: number, { status, error }: ContainerExit): boolean {
  if (name !== "on-failure") return true;
  return (status !== 0 || error !== "") && (maxRetries === 0 || count < maxRetries);
}

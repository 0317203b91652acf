import type { ResolvedCheck } from "./health-check.js";

/** How many results are kept. */
const KEPT_RESULTS = 5;

export interface HealthResult {
  /** Nanoseconds since the epoch. */
  startedAt: bigint;
  endedAt: bigint;
  /** -1 of one that took longer than its timeout, or could not be run. */
  status: number;
  output: Buffer;
}

/** Of one run of a container. */
export interface Health {
  status: "starting" | "healthy" | "unhealthy";
  failingStreak: number;
  /** The last ones. */
  results: readonly HealthResult[];
  /** In ms since the machine has booted: when its start period began. */
  began: number;
}

export function newHealth(began: number): Health {
  return { status: "starting", failingStreak: 0, results: [], began };
}

/** @param now in ms since the machine has booted: when the check began */
export function withResult(health: Health, check: ResolvedCheck, result: HealthResult, now: number): Health {
  const results = [...health.results, result].slice(-KEPT_RESULTS);
  if (result.status === 0) return { ...health, status: "healthy", failingStreak: 0, results };
  if (isStarting(health, check, now)) return { ...health, results };
  const failingStreak = health.failingStreak + 1;
  const status = failingStreak >= check.retries ? "unhealthy" : health.status;
  return { ...health, status, failingStreak, results };
}

/** In ms: how long after the last check the next one is due. */
export function nextInterval(health: Health, check: ResolvedCheck, now: number): number {
  return isStarting(health, check, now) ? check.startInterval : check.interval;
}

function isStarting({ status, began }: Health, { startPeriod }: ResolvedCheck, now: number): boolean {
  return status === "starting" && now - began < startPeriod;
}

/** As a daemon leaves it to the next one. */
export function healthText({ results, ...health }: Health): string {
  const texts = results.map(({ startedAt, endedAt, status, output }) => {
    return { startedAt: String(startedAt), endedAt: String(endedAt), status, output: output.toString("base64") };
  });
  return JSON.stringify({ ...health, results: texts });
}

/** Undefined for what is nothing of ours. */
export function parseHealth(text: string): Health | undefined {
  try {
    const { results, ...health } = JSON.parse(text);
    const read = (results as { startedAt: string; endedAt: string; status: number; output: string }[]).map((one) => ({
      startedAt: BigInt(one.startedAt),
      endedAt: BigInt(one.endedAt),
      status: one.status,
      output: Buffer.from(one.output, "base64"),
    }));
    return { ...health, results: read };
  } catch {
    return undefined;
  }
}

/** What results of checks make of a container's health. */
import { expect, test } from "vitest";
import {
  type Health,
  type HealthResult,
  healthText,
  newHealth,
  nextInterval,
  parseHealth,
  withResult,
} from "./health.js";
import type { ResolvedCheck } from "./health-check.js";

const CHECK: ResolvedCheck = {
  ...{ args: ["true"], interval: 30_000, timeout: 1_000, startPeriod: 0, startInterval: 5_000, retries: 3 },
};
const IN_START_PERIOD = { ...CHECK, startPeriod: 60_000 };

const resultOf = (status: number, n = 0): HealthResult => ({
  ...{ startedAt: BigInt(n), endedAt: BigInt(n) + 1n, status, output: Buffer.from(`${n}`) },
});

/** @param began when the checks did, in ms after the container's start */
function after(statuses: readonly number[], check = CHECK, began = 0, before: Health = newHealth(1_000)): Health {
  return statuses.reduce((health, status, n) => withResult(health, check, resultOf(status, n), 1_000 + began), before);
}

test("healthy with the first success, unhealthy after so many failures in a row", () => {
  expect(after([])).toEqual({ status: "starting", failingStreak: 0, results: [], began: 1_000 });
  expect(after([1, 1])).toMatchObject({ status: "starting", failingStreak: 2 });
  expect(after([1, 1, 1])).toMatchObject({ status: "unhealthy", failingStreak: 3 });
  expect(after([1, 1, 0, 1, 1])).toMatchObject({ status: "healthy", failingStreak: 2 });
  expect(after([0, -1, 2, 127])).toMatchObject({ status: "unhealthy", failingStreak: 3 });
  expect(after([1, 1, 1, 1, 0])).toMatchObject({ status: "healthy", failingStreak: 0 });
});

test("failures in the start period do not count, the first success ends it", () => {
  expect(after([1, 1, 1, 1], IN_START_PERIOD, 59_999)).toMatchObject({ status: "starting", failingStreak: 0 });
  expect(after([1, 1, 1], IN_START_PERIOD, 60_000)).toMatchObject({ status: "unhealthy" });
  expect(after([0, 1, 1, 1], IN_START_PERIOD)).toMatchObject({ status: "unhealthy", failingStreak: 3 });
});

test("when the next one is due", () => {
  expect(nextInterval(after([]), CHECK, 1_000)).toBe(30_000);
  expect(nextInterval(after([1], IN_START_PERIOD), IN_START_PERIOD, 1_000)).toBe(5_000);
  expect(nextInterval(after([1], IN_START_PERIOD), IN_START_PERIOD, 61_000)).toBe(30_000);
  expect(nextInterval(after([0], IN_START_PERIOD), IN_START_PERIOD, 1_000)).toBe(30_000);
});

test("the last five results are kept", () => {
  const { results } = after(Array.from({ length: 100 }, () => 1));
  expect(results.map(({ output }) => `${output}`)).toEqual(["95", "96", "97", "98", "99"]);
});

test("the next daemon reads what this one has written, and nothing else", () => {
  const health = after([1, 0, -1]);
  expect(parseHealth(healthText(health))).toEqual(health);
  for (const text of ["", "{", "null", "[]", "{}", '{"results":1}', '{"results":[{"startedAt":"x"}]}'])
    expect(parseHealth(text)).toBeUndefined();
});

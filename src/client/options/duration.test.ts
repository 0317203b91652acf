import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { deadlineAfter, pause, startTimer } from "./duration.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const DAY = 86_400_000;

test.each([0, 1, 1.5, 5000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 400 * DAY])("%d ms, neither earlier nor later", (ms) => {
  let called = 0;
  startTimer(ms, () => called++);
  vi.advanceTimersByTime(Math.max(0, Math.floor(ms) - 1));
  if (ms > 1) expect(called).toBe(0);
  vi.advanceTimersByTime(2);
  expect(called).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});

test("Infinity is no timer at all; called off in its second part", () => {
  const never = () => {
    throw new Error("too early");
  };
  startTimer(Number.POSITIVE_INFINITY, never);
  expect(vi.getTimerCount()).toBe(0);
  const stop = startTimer(60 * DAY, never);
  vi.advanceTimersByTime(30 * DAY);
  stop();
  vi.advanceTimersByTime(100 * DAY);
  expect(vi.getTimerCount()).toBe(0);
});

test("a pause ends with its signal, and leaves nothing", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const paused = pause(2 ** 53 - 1, controller.signal);
  controller.abort(reason);
  await expect(paused).rejects.toBe(reason);
  await expect(pause(1, controller.signal)).rejects.toBe(reason);
  expect(vi.getTimerCount()).toBe(0);
});

test("a deadline that no timer reaches is none", () => {
  expect(deadlineAfter(undefined)).toEqual({});
  expect(deadlineAfter(1000)).toEqual({ deadline: Date.now() + 1000 });
  for (const ms of [2 ** 31, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) expect(deadlineAfter(ms)).toEqual({});
});

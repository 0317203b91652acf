import fc from "fast-check";
import { expect, test } from "vitest";
import { Timer } from "./timer.js";

test("nothing seen yet: zeros", () => {
  const { percentile, ...figures } = new Timer().summary();
  expect(figures).toEqual({ count: 0, sum: 0, min: 0, max: 0, mean: 0, standardDeviation: 0 });
  expect(percentile(0.99)).toBe(0);
});

test("count and sum of all, the rest of the last 1024", () => {
  const timer = new Timer();
  for (let duration = 1; duration <= 2048; duration++) timer.observe(duration);
  const summary = timer.summary();
  expect(summary).toMatchObject({ count: 2048, sum: 2098176, min: 1025, max: 2048, mean: 1536.5 });
  expect(summary.percentile(0.5)).toBe(1536);
  expect(summary.percentile(1)).toBe(2048);
});

test("percentiles are durations that were seen, in order, and that part of them is not longer", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 }),
      (durations) => {
        const timer = new Timer();
        for (const duration of durations) timer.observe(duration);
        const summary = timer.summary();
        for (const part of [0.5, 0.75, 0.99, 0.999]) {
          const value = summary.percentile(part);
          expect(durations).toContain(value);
          expect(durations.filter((duration) => duration <= value).length / durations.length).toBeGreaterThanOrEqual(
            part,
          );
        }
        expect(summary.min).toBe(Math.min(...durations));
        expect(summary.max).toBe(Math.max(...durations));
      },
    ),
  );
});

test("a listener is told each duration", () => {
  const timer = new Timer();
  const heard: number[] = [];
  timer.observe(1);
  timer.listen((duration) => heard.push(duration));
  timer.observe(2);
  const began = performance.now() - 3;
  timer.since(began);
  expect(heard).toEqual([2, expect.any(Number)]);
  expect(heard[1]).toBeGreaterThanOrEqual(3);
  expect(heard[1]).toBeLessThanOrEqual(performance.now() - began);
});

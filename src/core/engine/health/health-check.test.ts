/** Which check a container has, of what its image and its caller say. */
import { expect, test } from "vitest";
import type { HealthCheck } from "../container-config.js";
import type { ImageConfig } from "../spec/image-config.js";
import { checkHealth, resolveCheck } from "./health-check.js";

const SECOND = 1e9;
const USUAL = { interval: 30_000, timeout: 30_000, startPeriod: 0, startInterval: 5_000, retries: 3 };

function wishOf(wish: Partial<HealthCheck>): HealthCheck {
  return { test: [], interval: 0, timeout: 0, startPeriod: 0, startInterval: 0, retries: 0, ...wish };
}

function imageOf(healthcheck: unknown, more: object = {}): ImageConfig {
  return { healthcheck, ...more } as unknown as ImageConfig;
}

test("the image's check, with what is usual for what it does not say", () => {
  const image = imageOf({ Test: ["CMD", "probe", "-x"], Interval: 2 * SECOND, Retries: 5 });
  expect(resolveCheck(undefined, image)).toEqual({ ...USUAL, args: ["probe", "-x"], interval: 2_000, retries: 5 });
  expect(resolveCheck(undefined, undefined)).toBeUndefined();
  expect(resolveCheck(undefined, imageOf(undefined))).toBeUndefined();
  expect(resolveCheck(wishOf({ interval: 1_000 }), undefined)).toBeUndefined();
});

test("what the caller says goes before what the image says, one by one", () => {
  const times = { Interval: SECOND, Timeout: 2 * SECOND, StartPeriod: 3 * SECOND, StartInterval: 4 * SECOND };
  const image = imageOf({ Test: ["CMD", "probe"], ...times, Retries: 7 });
  const all = { interval: 1_000, timeout: 2_000, startPeriod: 3_000, startInterval: 4_000, retries: 7 };
  expect(resolveCheck(wishOf({}), image)).toEqual({ ...all, args: ["probe"] });
  expect(resolveCheck(wishOf({ timeout: 50 }), image)).toEqual({ ...all, args: ["probe"], timeout: 50 });
  expect(resolveCheck(wishOf({ test: ["CMD", "other"] }), image)).toEqual({ ...all, args: ["other"] });
  expect(resolveCheck(wishOf({ test: ["NONE"] }), image)).toBeUndefined();
  expect(resolveCheck(wishOf({ test: ["CMD", "other"] }), imageOf({ Test: ["NONE"] }))?.args).toEqual(["other"]);
});

test("a text goes to the shell of the image", () => {
  const wish = wishOf({ test: ["CMD-SHELL", "a | b"] });
  expect(resolveCheck(wish, undefined)?.args).toEqual(["/bin/sh", "-c", "a | b"]);
  const image = imageOf({ Test: ["CMD-SHELL", "a && b"] }, { shell: ["/bin/bash", "-ec"] });
  expect(resolveCheck(undefined, image)?.args).toEqual(["/bin/bash", "-ec", "a && b"]);
  expect(resolveCheck(wish, image)?.args).toEqual(["/bin/bash", "-ec", "a | b"]);
});

test("what makes no sense in an image counts as not there", () => {
  const odd = [-1, Number.NaN, "5s", null, {}];
  for (const value of odd) {
    const times = { Interval: value, Timeout: value, StartPeriod: value, StartInterval: value, Retries: value };
    expect(resolveCheck(undefined, imageOf({ Test: ["CMD", "probe"], ...times }))).toEqual({
      ...USUAL,
      args: ["probe"],
    });
  }
  const tests = ["probe", { 0: "CMD" }, [], ["CMD"], ["probe"], ["CMD", 1], ["CMD", "a\0b"], [null]];
  for (const Test of tests) expect(resolveCheck(undefined, imageOf({ Test }))).toBeUndefined();
  const check = resolveCheck(undefined, imageOf({ Test: ["CMD", "probe"], Interval: 1e300, Retries: 2.9 }));
  expect(check).toMatchObject({ interval: Number.MAX_SAFE_INTEGER, retries: 2 });
});

test("what a caller can't mean is refused", () => {
  for (const known of [[], ["NONE"], ["CMD", "a", "b"], ["CMD-SHELL", "a b"]])
    expect(() => checkHealth(wishOf({ test: known }))).not.toThrow();
  for (const unknown of [["a"], ["NONE", "a"], ["CMD"], ["CMD-SHELL"], ["CMD-SHELL", "a", "b"], ["cmd", "a"]])
    expect(() => checkHealth(wishOf({ test: unknown }))).toThrow(`health check ${JSON.stringify(unknown)}`);
  for (const name of ["interval", "timeout", "startPeriod", "startInterval"])
    expect(() => checkHealth(wishOf({ [name]: -1 }))).toThrow(`${name} of the health check -1`);
});

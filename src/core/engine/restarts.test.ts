/** What restart policies do, without a container. */
import { expect, test } from "vitest";
import { bootId } from "../../system/linux/boot-id.js";
import type { RestartPolicy } from "./container-config.js";
import type { ContainerExit } from "./kept-container.js";
import { afterBoot, ended, failedToStart, noRestarts, policyOf, type Restarts, started, stopped } from "./restarts.js";

const ALWAYS: RestartPolicy = { name: "always", maxRetries: 0 };
const UNLESS_STOPPED: RestartPolicy = { name: "unless-stopped", maxRetries: 0 };
const onFailure = (maxRetries: number): RestartPolicy => ({ name: "on-failure", maxRetries });

function exitWith(status: number, more: Partial<ContainerExit> = {}): ContainerExit {
  return { status, at: 0n, oomKilled: false, timedOut: false, error: "", ...more };
}

/** Runs of so many ms each, one after the other. @returns what its policy waits after each */
function waits(lives: readonly number[], policy = ALWAYS): number[] {
  let now = 1_000;
  let restarts = started(undefined, now);
  return lives.map((life) => {
    now += life;
    restarts = ended(policy, restarts, exitWith(1), now);
    const wait = restarts.at! - now;
    now = restarts.at!;
    restarts = started(restarts, now);
    return wait;
  });
}

test("each wait is twice as long as the one before, up to a minute", () => {
  const short = Array.from({ length: 12 }, () => 5);
  expect(waits(short)).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
});

test("who has run for 10 s begins with the first wait again", () => {
  expect(waits([5, 5, 9_999, 10_000, 5])).toEqual([100, 200, 400, 100, 200]);
});

test("a time of the end that lies before the start is that of the start: a clock was set", () => {
  const before = { ...started(undefined, 5_000), delay: 400 };
  expect(ended(ALWAYS, before, exitWith(0), 1_000)).toMatchObject({ delay: 800, at: 5_800 });
});

test("its policy's starts are counted until somebody starts it", () => {
  let restarts = started(undefined, 0);
  expect(restarts).toEqual({ bootId: bootId(), count: 0, delay: 0, since: 0 });
  for (const count of [1, 2, 3]) {
    restarts = started(ended(ALWAYS, restarts, exitWith(0), 1), 2);
    expect(restarts.count).toBe(count);
    expect(restarts.at).toBeUndefined();
  }
  expect(started(undefined, 3)).toMatchObject({ count: 0, delay: 0 });
});

test("on-failure: only after a failure, so many times in a row", () => {
  const first = started(undefined, 0);
  const isTried = (policy: RestartPolicy, exit: ContainerExit, before = first) =>
    ended(policy, before, exit, 1).at !== undefined;
  expect(isTried(onFailure(0), exitWith(0))).toBe(false);
  expect(isTried(onFailure(0), exitWith(1))).toBe(true);
  expect(isTried(onFailure(0), exitWith(0, { error: "it could not be started" }))).toBe(true);
  expect(isTried(onFailure(2), exitWith(1), { ...first, count: 1 })).toBe(true);
  expect(isTried(onFailure(2), exitWith(1), { ...first, count: 2 })).toBe(false);
});

test("no policy, a stop by somebody, and a lifetime that is over end it", () => {
  const first = started(undefined, 0);
  expect(policyOf({ restart: { name: "no", maxRetries: 0 } })).toBeUndefined();
  expect(ended(undefined, first, exitWith(1), 1).at).toBeUndefined();
  expect(ended(ALWAYS, stopped(first), exitWith(1), 1)).toMatchObject({ isStopped: true });
  expect(ended(ALWAYS, stopped(first), exitWith(1), 1).at).toBeUndefined();
  const over = ended(ALWAYS, first, exitWith(137, { timedOut: true }), 1);
  expect(over.at).toBeUndefined();
  expect(over.isStopped).toBe(true);
  // A start by somebody has it go on.
  expect(started(undefined, 2).isStopped).toBeUndefined();
});

test("a stop while it waits ends the wait", () => {
  const waiting = ended(ALWAYS, started(undefined, 0), exitWith(1), 1);
  expect(waiting.at).toBe(101);
  expect(stopped(waiting)).toEqual({ bootId: bootId(), count: 0, delay: 0, since: 0, isStopped: true });
});

test("what could not be started counts as a run that has failed at once", () => {
  const failed = exitWith(128, { error: "no such network" });
  let restarts: Restarts = ended(onFailure(2), started(undefined, 0), exitWith(1), 20_000);
  expect(restarts).toMatchObject({ count: 0, delay: 100 });
  restarts = failedToStart(onFailure(2), restarts, failed, 30_000);
  expect(restarts).toMatchObject({ count: 1, delay: 200, at: 30_200 });
  restarts = failedToStart(onFailure(2), restarts, failed, 31_000);
  expect(restarts.count).toBe(2);
  expect(restarts.at).toBeUndefined();
});

test("after a new start of the machine", () => {
  const ran = { ...started(undefined, 90_000), bootId: "another" };
  const waits = { ...ran, count: 7, delay: 60_000, at: 99_000 };
  const isStopped = { ...stopped(ran), bootId: "another" };
  const starts = (policy: RestartPolicy | undefined, before: Restarts, wasRunning: boolean) =>
    afterBoot(policy, before, wasRunning, 50).at;
  for (const policy of [ALWAYS, UNLESS_STOPPED, onFailure(3)]) {
    expect(starts(policy, ran, true)).toBe(50);
    expect(starts(policy, waits, false)).toBe(50);
    // Ended for good, and not by anybody.
    expect(starts(policy, ran, false)).toBeUndefined();
  }
  expect(starts(undefined, ran, true)).toBeUndefined();
  expect(starts(ALWAYS, isStopped, false)).toBe(50);
  expect(starts(UNLESS_STOPPED, isStopped, false)).toBeUndefined();
  // Until somebody has started it.
  expect(afterBoot(UNLESS_STOPPED, isStopped, false, 50).isStopped).toBe(true);
  expect(afterBoot(ALWAYS, waits, false, 50)).toEqual({ ...noRestarts(), at: 50 });
});

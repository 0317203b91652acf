import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Turns } from "./turns.js";

test("shared operations overlap, exclusive ones run alone and in order", async () => {
  const turns = new Turns();
  const log: string[] = [];
  const operation = (name: string, ms: number) => async () => {
    log.push(`${name} begins`);
    await delay(ms);
    log.push(`${name} ends`);
  };
  await Promise.all([
    turns.shared([], operation("exec 1", 20)),
    turns.shared([], operation("exec 2", 10)),
    turns.exclusive(operation("pause", 5)),
    turns.exclusive(operation("resume", 1)),
    turns.shared([], operation("exec 3", 1)),
  ]);
  expect(log).toEqual([
    "exec 1 begins",
    "exec 2 begins",
    "exec 2 ends",
    "exec 1 ends",
    "pause begins",
    "pause ends",
    "resume begins",
    "resume ends",
    "exec 3 begins",
    "exec 3 ends",
  ]);
});

test("a failure is its caller's alone", async () => {
  const turns = new Turns();
  const failing = turns.exclusive(() => Promise.reject(new Error("no")));
  const next = turns.shared([], async () => "yes");
  await expect(failing).rejects.toThrow("no");
  expect(await next).toBe("yes");
  await turns.idle();
});

test("a shared one that is not waited for any more leaves at once and never runs; the order of the others stays", async () => {
  const turns = new Turns();
  const log: string[] = [];
  let end = () => {};
  const pause = turns.exclusive(() => new Promise<void>((resolve) => (end = resolve)));
  const controller = new AbortController();
  const left = turns.shared([controller.signal], async () => log.push("left"));
  const resume = turns.exclusive(async () => log.push("resume"));
  controller.abort(new Error("nobody waits"));
  await expect(left).rejects.toThrow("nobody waits");
  await delay(1);
  expect(log).toEqual([]);
  end();
  await Promise.all([pause, resume]);
  expect(log).toEqual(["resume"]);
});

import { expect, test } from "vitest";
import type { Event } from "./event.js";
import { Subscribers, Subscription } from "./subscribers.js";

const event = (n: number, object = "c"): Event => ({
  namespace: "",
  topic: "/tasks/oom",
  object,
  payload: {},
  time: BigInt(n),
});
const ALL = { namespace: "", object: "" };
const nothing = () => {};

test("replay comes before live events, in order, without a gap", () => {
  const seen: bigint[] = [];
  const replay = Array.from({ length: 5000 }, (_, n) => event(n));
  const subscription = new Subscription<Event>(ALL, replay, (e) => seen.push(e.time) > 0, nothing, nothing);
  subscription.resume();
  subscription.push(event(5000));
  expect(seen).toEqual(Array.from({ length: 5001 }, (_, n) => BigInt(n)));
});

test("only the container asked for", () => {
  const seen: string[] = [];
  const sink = (e: Event) => seen.push(e.object) > 0;
  const subscription = new Subscription<Event>(
    { namespace: "", object: "a" },
    [event(1, "a"), event(2, "b")],
    sink,
    nothing,
    nothing,
  );
  subscription.resume();
  subscription.push(event(3, "b"));
  subscription.push(event(4, "a"));
  expect(seen).toEqual(["a", "a"]);
});

test("a sink that is full gets the rest when it has drained", () => {
  const seen: bigint[] = [];
  const subscription = new Subscription<Event>(ALL, [], (e) => seen.push(e.time) % 2 !== 0, nothing, nothing);
  for (let n = 0; n < 4; n++) subscription.push(event(n));
  expect(seen).toEqual([0n, 1n]);
  expect(subscription.empty).toBe(false);
  subscription.resume(true);
  expect(seen).toEqual([0n, 1n, 2n, 3n]);
  expect(subscription.empty).toBe(true);
});

test("one that never reads has to go, and the others notice nothing", () => {
  const subscribers = new Subscribers();
  let overflown = 0;
  let seen = 0;
  subscribers.add(
    new Subscription<Event>(
      ALL,
      [],
      () => false,
      () => overflown++,
      nothing,
    ),
  );
  subscribers.add(new Subscription<Event>(ALL, [], () => ++seen > 0, nothing, nothing));
  for (let n = 0; n < 5000; n++) subscribers.publish(event(n));
  expect([overflown, seen, subscribers.size]).toEqual([1, 5000, 1]);
});

test("one that comes while the daemon stops is ended, as those were that had come before", () => {
  const subscribers = new Subscribers();
  const ended: string[] = [];
  const subscribe = (name: string) =>
    subscribers.add(
      new Subscription<Event>(
        ALL,
        [],
        () => true,
        nothing,
        () => {
          ended.push(name);
        },
      ),
    );
  subscribe("before");
  subscribers.close();
  expect(ended).toEqual(["before"]);
  subscribe("after");
  expect(ended).toEqual(["before", "after"]);
  expect(subscribers.size).toBe(0);
});

test("one whose connection throws is let go of, and the others get the event", () => {
  const subscribers = new Subscribers();
  const got: Event[] = [];
  const broken = () => {
    throw new Error("write after end");
  };
  subscribers.add(new Subscription<Event>(ALL, [], broken, nothing, nothing));
  subscribers.add(new Subscription<Event>(ALL, [], (e) => got.push(e) > 0, nothing, nothing));
  subscribers.publish(event(1));
  expect(got).toEqual([event(1)]);
  expect(subscribers.size).toBe(1);
});

import { expect, test } from "vitest";
import type { Event } from "./event.js";
import { EventBus } from "./event-bus.js";
import { Subscription, type SubscriptionOptions } from "./subscription.js";

const event = (n: number, object = "c"): Event => ({
  namespace: "",
  topic: "/tasks/oom",
  object,
  payload: {},
  time: BigInt(n),
});

const never = new AbortController().signal;

const options = (given: Partial<SubscriptionOptions<Event>> = {}): SubscriptionOptions<Event> => ({
  about: {},
  wants: (_event: Event): _event is Event => true,
  onOverflow: () => {},
  ...given,
});

const of =
  (object: string) =>
  (event: Event): event is Event =>
    event.object === object;

async function all(subscription: Subscription<Event>): Promise<bigint[]> {
  const times: bigint[] = [];
  for await (const { time } of subscription) times.push(time);
  return times;
}

test("replay comes before live events, in order, without a gap, however much it is", async () => {
  const bus = new EventBus();
  const subscription = bus.follow(options({ replay: Array.from({ length: 5000 }, (_, n) => event(n)) }), never);
  bus.send(event(5000));
  bus.close();
  expect(await all(subscription)).toEqual(Array.from({ length: 5001 }, (_, n) => BigInt(n)));
});

test("stored events alone", async () => {
  expect(await all(Subscription.ofStored(options({ replay: [event(1), event(2)] })))).toEqual([1n, 2n]);
});

test("only what is wanted, of what was stored and of what comes", async () => {
  const bus = new EventBus();
  const subscription = bus.follow(options({ wants: of("a"), replay: [event(1, "a"), event(2, "b")] }), never);
  bus.send(event(3, "b"));
  bus.send(event(4, "a"));
  bus.close();
  expect(await all(subscription)).toEqual([1n, 4n]);
});

test("who waits gets an event in the moment when it comes", async () => {
  const bus = new EventBus();
  const subscription = bus.follow(options(), never);
  const first = subscription.next();
  bus.send(event(1));
  bus.send(event(2));
  expect([await first, await subscription.next()]).toEqual([
    { done: false, value: event(1) },
    { done: false, value: event(2) },
  ]);
  expect(subscription.unread).toBe(0);
});

test("2048 events may wait, and one more is too many; the others notice nothing", async () => {
  const bus = new EventBus();
  let overflown = 0;
  const slow = bus.follow(options({ onOverflow: () => overflown++ }), never);
  const reader = bus.follow(options(), never);
  const read = all(reader);
  for (let n = 0; n < 2048; n++) {
    bus.send(event(n));
    // Readers get their turn.
    await Promise.resolve();
  }
  expect([overflown, slow.unread, bus.size]).toEqual([0, 2048, 2]);
  bus.send(event(2048));
  expect([overflown, bus.size]).toEqual([1, 1]);
  for (let n = 2049; n < 5000; n++) {
    bus.send(event(n));
    await Promise.resolve();
  }
  bus.close();
  expect(overflown).toBe(1);
  expect(await all(slow)).toEqual([]);
  expect(await read).toEqual(Array.from({ length: 5000 }, (_, n) => BigInt(n)));
});

test("what was taken makes room again, also behind a replay", async () => {
  const bus = new EventBus();
  let overflown = 0;
  const replay = Array.from({ length: 3000 }, (_, n) => event(n));
  const subscription = bus.follow(options({ replay, onOverflow: () => overflown++ }), never);
  for (let n = 3000; n < 3000 + 2048; n++) bus.send(event(n));
  expect([overflown, subscription.unread]).toEqual([0, 5048]);
  for (let n = 0; n < 3001; n++) expect((await subscription.next()).value.time).toBe(BigInt(n));
  bus.send(event(5048));
  expect(overflown).toBe(0);
  bus.send(event(5049));
  expect(overflown).toBe(1);
});

test("one that comes while the daemon stops is ended, as those were that had come before", async () => {
  const bus = new EventBus();
  const before = all(bus.follow(options(), never));
  bus.close();
  expect(await before).toEqual([]);
  expect(await all(bus.follow(options(), never))).toEqual([]);
  expect(bus.size).toBe(0);
});

test("who leaves gets nothing more", async () => {
  const bus = new EventBus();
  const leaving = new AbortController();
  const read = all(bus.follow(options(), leaving.signal));
  leaving.abort();
  bus.send(event(1));
  expect(await read).toEqual([]);
  expect(await all(bus.follow(options(), leaving.signal))).toEqual([]);
  expect(bus.size).toBe(0);
});

test("one whose wishes throw is let go of, and the others get the event", async () => {
  const bus = new EventBus();
  const broken = (_event: Event): _event is Event => {
    throw new Error("no such field");
  };
  const failing = all(bus.follow(options({ wants: broken }), never));
  const got = bus.follow(options(), never);
  bus.send(event(1));
  expect((await got.next()).value).toEqual(event(1));
  expect(bus.size).toBe(1);
  expect(await failing).toEqual([]);
});

test("what happens is told with the time at which it does", async () => {
  const bus = new EventBus();
  const subscription = bus.follow(options(), never);
  const before = BigInt(Date.now() - 1) * 1_000_000n;
  bus.publish({ namespace: "n", topic: "/containers/delete", object: "c", payload: {} });
  const { value } = await subscription.next();
  expect(value).toMatchObject({ namespace: "n", topic: "/containers/delete", object: "c", payload: {} });
  expect(value.time).toBeGreaterThan(before);
});

/** Clients that reset more streams than nghttp2 takes on one connection, 1,000 at once and 33 more each second. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import {
  ACK,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  greeting,
  HEADERS,
  message,
  PING,
  RST_STREAM,
  requestBlock,
  WireClient,
} from "./authority/wire-client.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
});

test("are told in time to connect anew, and what they have under way comes to its end", async () => {
  using client = new WireClient(join(daemon.dir, "s"));
  const headers = (stream: number, method: string) => frame(HEADERS, END_HEADERS, stream, requestBlock("unix", method));
  const request = (stream: number) => frame(DATA, END_STREAM, stream, message());
  const goaways = () => client.frames.filter(({ type }) => type === GOAWAY);
  const cancel = (stream: number) => frame(RST_STREAM, 0, stream, Buffer.from([0, 0, 0, 8]));
  const [underWay, first] = [1, 3];
  client.send(greeting, headers(underWay, "/types.API/State"));
  let next = first;
  // As a client does that waits for its answers: some at a time.
  for (let turn = 1; goaways().length === 0 && turn <= 40; turn++) {
    const streams = Array.from({ length: 25 }, (_, index) => next + 2 * index);
    next += 50;
    for (const stream of streams) client.send(headers(stream, "/types.API/State"));
    for (const stream of streams) client.send(cancel(stream));
    const mark = Buffer.alloc(8, turn);
    client.send(frame(PING, 0, 0, mark));
    await client.waitFor("the answer to PING", ({ type, flags, payload }) => {
      return type === PING && flags === ACK && payload.equals(mark);
    });
  }
  const told = await client.waitFor("GOAWAY", ({ type }) => type === GOAWAY);
  // No stream's number yet: it is not decided which are served.
  expect([told.payload.readUInt32BE(0), told.payload.readUInt32BE(4)]).toEqual([2 ** 31 - 1, 0]);
  client.send(headers(next, "/types.API/GetServerVersion"), request(next));
  const { payload } = await client.waitFor("PING", ({ type, flags }) => type === PING && flags === 0);
  client.send(frame(PING, ACK, 0, payload));
  const last = await client.waitFor("the second GOAWAY", (seen) => seen.type === GOAWAY && seen !== told);
  // The one before it: the client knows that it may begin the last one again.
  expect([last.payload.readUInt32BE(0), last.payload.readUInt32BE(4)]).toEqual([next - 2, 0]);
  client.send(request(underWay));
  await client.answer(underWay);
  expect(client.frames.some(({ streamId }) => streamId === next)).toBe(false);
});

test("get all of their answers", async () => {
  const api = daemon.v1();
  using events = await api.subscribe();
  let left = times(5_000, 700);
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      // A client may reset such a stream when it has all of it.
      for (; left > 0; left--) await api.listContainers().ended;
    }),
  );
  // On the first connection, which has been told that it is over.
  await api.namespaces.create({ namespace: { name: "later", labels: {} } });
  await events.waitFor("/namespaces/create", { name: "later" });
});

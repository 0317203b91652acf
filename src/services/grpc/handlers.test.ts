import { setTimeout as delay } from "node:timers/promises";
import {
  Client,
  type ClientWritableStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import pino from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Failure } from "../../core/failure/failure.js";
import type { Call, StreamingCall } from "./call.js";
import { bidirectional, clientStream, type Front, serverStream, unary } from "./handlers.js";

const front: Front = { words: (error) => `in its words: ${(error as Error).message}`, log: pino({ enabled: false }) };
const refused = new Failure("failed-precondition", "refused", { why: "no" });

/** A service with one method of each kind, on a real server. */
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  ...{ path: `/test/${path}`, requestStream, responseStream },
  requestSerialize: Buffer.from,
  requestDeserialize: String,
  responseSerialize: Buffer.from,
  responseDeserialize: String,
});
const definition = {
  unary: method("unary", false, false),
  stream: method("stream", false, true),
  bidirectional: method("bidirectional", true, true),
  incoming: method("incoming", true, false),
};

/** What the handlers do; each test has its own. */
let onUnary: (call: Call<string>) => string | Promise<string>;
let onStream: (call: StreamingCall<string>) => AsyncIterable<string>;
let onBidirectional: (call: StreamingCall<AsyncIterable<string>>) => AsyncIterable<string>;
let onIncoming: (call: Call<AsyncIterable<string>>) => Promise<string>;

const server = new Server();
let client: Client;

beforeAll(async () => {
  server.addService(definition, {
    unary: unary(front, (call: Call<string>) => onUnary(call)),
    stream: serverStream(front, (call: StreamingCall<string>) => onStream(call)),
    bidirectional: bidirectional(front, (call: StreamingCall<AsyncIterable<string>>) => onBidirectional(call)),
    incoming: clientStream(front, (call: Call<AsyncIterable<string>>) => onIncoming(call)),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
});

afterAll(() => {
  client.close();
  server.forceShutdown();
});

function callUnary(request: string, metadata = new Metadata()): Promise<string> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest("/test/unary", Buffer.from, String, request, metadata, (error, answer) =>
      error === null ? resolve(answer!) : reject(error),
    );
  });
}

const callStream = (request: string) => client.makeServerStreamRequest("/test/stream", Buffer.from, String, request);

const callBidirectional = () =>
  client.makeBidiStreamRequest<string, string>("/test/bidirectional", Buffer.from, String);

/** All messages, and the error at their end. */
async function messagesOf(call: AsyncIterable<string>): Promise<{ messages: string[]; error?: ServiceError }> {
  const messages: string[] = [];
  try {
    for await (const message of call) messages.push(message);
    return { messages };
  } catch (error) {
    return { messages, error: error as ServiceError };
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await delay(5);
  }
}

test("a handler gets the request, the namespace and the lease; what it returns is the answer", async () => {
  onUnary = ({ request, metadata }) => `${request} ${metadata.namespace} ${metadata.lease}`;
  const metadata = new Metadata();
  metadata.set("containerd-namespace", "moby");
  metadata.set("containerd-lease", "l1");
  await expect(callUnary("a", metadata)).resolves.toBe("a moby l1");
  await expect(callUnary("b")).resolves.toBe("b undefined undefined");
});

test.each([
  ["throws", () => Promise.reject(refused)],
  [
    "throws at once",
    () => {
      throw refused;
    },
  ],
])("one that %s: the status has the kind's code and the front's words", async (_how, handle) => {
  onUnary = handle;
  await expect(callUnary("x")).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    details: "in its words: no",
  });
});

test("the signal tells that the caller has left, and nothing once there was an answer", async () => {
  const signals: AbortSignal[] = [];
  onUnary = ({ request, signal }) => {
    signals.push(signal);
    if (request === "answer") return "done";
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const call = client.makeUnaryRequest("/test/unary", Buffer.from, String, "wait", () => {});
  await until("the call", () => signals.length === 1);
  call.cancel();
  await until("the cancellation", () => signals[0]!.aborted);
  expect(signals[0]!.reason).toMatchObject({ kind: "cancelled", what: "call-cancelled" });

  await callUnary("answer");
  // By then the first is over for the server too.
  await callUnary("answer");
  expect(signals[1]!.aborted).toBe(false);
});

test("a signal that is first looked at when the caller has left is aborted; when there was an answer, it is not", async () => {
  const calls: Call<string>[] = [];
  const left = new Promise<void>((resolve) => {
    onUnary = async (call) => {
      calls.push(call);
      if (call.request === "answer") return "done";
      await resumed;
      resolve();
      return call.signal.aborted ? "left" : "there";
    };
  });
  let resume = () => {};
  const resumed = new Promise<void>((resolve) => {
    resume = resolve;
  });
  const call = client.makeUnaryRequest("/test/unary", Buffer.from, String, "wait", () => {});
  await until("the call", () => calls.length === 1);
  call.cancel();
  // By then the first is over for the server too.
  await callUnary("answer");
  await callUnary("answer");
  resume();
  await left;
  expect(calls[0]!.signal.reason).toMatchObject({ kind: "cancelled", what: "call-cancelled" });
  expect(calls[1]!.signal.aborted).toBe(false);
});

test("a stream: headers, messages, an end", async () => {
  onStream = async function* ({ request, sendHeaders }) {
    sendHeaders({ "x-first": "yes" });
    for (let n = 0; n < 100; n++) yield `${request}${n}`;
  };
  const call = callStream("m");
  const headers = new Promise<Metadata>((resolve) => call.once("metadata", resolve));
  expect(await messagesOf(call)).toEqual({ messages: Array.from({ length: 100 }, (_, n) => `m${n}`) });
  expect((await headers).get("x-first")).toEqual(["yes"]);
});

test("a stream's error comes after its messages", async () => {
  onStream = async function* () {
    yield "one";
    throw refused;
  };
  const { messages, error } = await messagesOf(callStream("x"));
  expect(messages).toEqual(["one"]);
  expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, details: "in its words: no" });
});

test("a caller that leaves ends the generator, whether it waits or yields", async () => {
  for (const waits of [true, false]) {
    let letGo = false;
    onStream = async function* ({ signal }) {
      try {
        yield "first";
        if (waits) await new Promise((resolve) => signal.addEventListener("abort", resolve));
        for (;;) yield "more".repeat(1000);
      } finally {
        letGo = true;
      }
    };
    const call = callStream("x");
    call.on("error", () => {});
    await new Promise((resolve) => call.once("data", resolve));
    call.pause();
    call.cancel();
    await until("the generator's end", () => letGo);
  }
});

test("a caller that does not read holds the generator up; `fail` ends the call all the same", async () => {
  let yielded = 0;
  let letGo = false;
  let fail: (error: Error) => void = () => {};
  onStream = async function* (call) {
    fail = call.fail;
    try {
      for (; yielded < 10_000; yielded++) yield "x".repeat(10_000);
    } finally {
      letGo = true;
    }
  };
  const call = callStream("x");
  // A client of grpc-js holds nothing back until it has been read from.
  await new Promise((resolve) => call.once("data", resolve));
  call.pause();
  await until(
    "standstill",
    standstill(() => yielded),
  );
  expect(yielded).toBeLessThan(10_000);
  fail(refused);
  await until("the generator's end", () => letGo);
  const { messages, error } = await messagesOf(call);
  expect(messages.length).toBeGreaterThan(0);
  expect(messages.length).toBeLessThan(10_000);
  expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, details: "in its words: no" });
});

/** True once a count that has begun has been the same for many looks. */
function standstill(count: () => number): () => boolean {
  let last = 0;
  let looks = 0;
  return () => {
    looks = count() === last && last > 0 ? looks + 1 : 0;
    last = count();
    return looks > 50;
  };
}

test("both ways: answers come while requests do, and the requests end", async () => {
  onBidirectional = async function* ({ request }) {
    for await (const message of request) yield `re: ${message}`;
    yield "end";
  };
  const call = callBidirectional();
  const answers: string[] = [];
  call.on("data", (answer: string) => answers.push(answer));
  for (const message of ["a", "b"]) {
    call.write(message);
    await until(message, () => answers.at(-1) === `re: ${message}`);
  }
  call.end();
  await new Promise((resolve) => call.once("end", resolve));
  expect(answers).toEqual(["re: a", "re: b", "end"]);
});

test("both ways: a handler that reads no further still answers, and an error is the status", async () => {
  onBidirectional = async function* ({ request }) {
    for await (const message of request) {
      yield `first: ${message}`;
      break;
    }
    yield "enough";
    throw refused;
  };
  const call = callBidirectional();
  call.write("a");
  const { messages, error } = await messagesOf(call);
  expect(messages).toEqual(["first: a", "enough"]);
  expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, details: "in its words: no" });
});

test("a stream of requests is read to its end, or until its caller goes away", async () => {
  const begin = () => {
    let call: ClientWritableStream<string>;
    const answer = new Promise<string>((resolve, reject) => {
      call = client.makeClientStreamRequest<string, string>(
        "/test/incoming",
        Buffer.from,
        String,
        new Metadata(),
        (error, value) => (error === null ? resolve(value!) : reject(error)),
      );
    });
    return { call: call!, answer };
  };
  onIncoming = async ({ request }) => {
    let all = "";
    for await (const text of request) all += text;
    return all;
  };
  const whole = begin();
  for (const text of ["a", "b", "c"]) whole.call.write(text);
  whole.call.end();
  expect(await whole.answer).toBe("abc");

  onIncoming = async ({ request }) => {
    for await (const _ of request) throw refused;
    return "";
  };
  const early = begin();
  early.call.write("a");
  await expect(early.answer).rejects.toMatchObject({ code: status.FAILED_PRECONDITION, details: "in its words: no" });

  const ended = new Promise<string>((resolve) => {
    onIncoming = async ({ request, signal }) => {
      try {
        for await (const _ of request) gone.call.cancel();
        resolve("as if that were all");
      } catch (error) {
        resolve(`${(error as Error).message}, ${signal.aborted}`);
      }
      return "";
    };
  });
  const gone = begin();
  gone.answer.catch(() => {});
  gone.call.write("a");
  expect(await ended).toBe("the caller has cancelled the call, true");
});

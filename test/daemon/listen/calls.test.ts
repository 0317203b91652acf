/** gRPC as old and careless clients use it: statuses, deadlines, cancellation, sizes, connections that vanish. */
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2, constants, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CreateContainerRequest, EventsRequest, StateRequest } from "../../../src/proto/containerd.js";
import { ACK, frame, greeting, HEADERS, PING, SETTINGS, WireClient } from "../../grpc/authority/wire-client.js";
import { Api } from "../../harness/api.js";
import { startContainer } from "../../harness/container.js";
import { startDaemon, type TestDaemon } from "../../harness/daemon.js";
import { full } from "../../harness/extent.js";
import { kill, openDescriptors } from "../../harness/processes.js";
import { wrapRuntime } from "../../harness/runtime-wrapper.js";
import { eventually, sleep } from "../../harness/wait.js";

/** In MB: a message that is too large may wait in a client. */
const LARGE = 64;

let daemon: TestDaemon;
let socketPath: string;
beforeAll(async () => {
  daemon = await startDaemon();
  socketPath = join(daemon.dir, "s");
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

function open(): ClientHttp2Session {
  const session = connectHttp2("http://localhost", {
    createConnection: () => connect(socketPath),
    maxSessionMemory: LARGE,
  });
  session.on("error", () => {});
  return session;
}

function framed(message: Uint8Array, compressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed ? 1 : 0;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

interface Answer {
  /** Headers and trailers. */
  headers: IncomingHttpHeaders;
  data: Buffer;
}

/** One call, with nothing between us and the wire but HTTP/2. */
function call(
  session: ClientHttp2Session,
  method: string,
  body: Buffer,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": method.startsWith("/") ? method : `/types.API/${method}`,
      te: "trailers",
      "content-type": "application/grpc",
      ...headers,
    });
    const answer: Answer = { headers: {}, data: Buffer.alloc(0) };
    stream.on("response", (received) => Object.assign(answer.headers, received));
    stream.on("trailers", (received) => Object.assign(answer.headers, received));
    stream.on("data", (chunk) => {
      answer.data = Buffer.concat([answer.data, chunk]);
    });
    stream.on("error", reject);
    stream.on("close", () => resolve(answer));
    stream.end(body);
  });
}

const state = (id: string) => framed(StateRequest.encode({ id }).finish());

/** What the daemon says about itself on SIGUSR1. */
async function subscribers(): Promise<number> {
  const before = daemon.log.length;
  kill(daemon.pid, "SIGUSR1");
  return await eventually(() => {
    const found = /subscribers=(\d+)/.exec(daemon.log.slice(before))?.[1];
    return found === undefined ? undefined : Number(found) + 1;
  }).then((count) => count - 1);
}

describe("grpc-message", () => {
  test("spaces are spaces, in answers with and without data", async () => {
    const session = open();
    const unknown = await call(session, "State", state("nope"));
    expect(unknown.headers).toMatchObject({ "grpc-status": "5", "grpc-message": "containerd: container not found" });
    const stored = await call(
      session,
      "Events",
      framed(EventsRequest.encode(EventsRequest.fromPartial({ storedOnly: true })).finish()),
    );
    expect(stored.headers["grpc-message"]).toBe(
      "invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp",
    );
    session.close();
  });

  test("only % and what is not printable ASCII is encoded", async () => {
    const session = open();
    const bundlePath = join(daemon.dir, "50% größer\n");
    const body = framed(
      CreateContainerRequest.encode(CreateContainerRequest.fromPartial({ id: daemon.id("m"), bundlePath })).finish(),
    );
    const { headers } = await call(session, "CreateContainer", body);
    expect(headers["grpc-message"]).toBe(
      `open ${daemon.dir}/50%25 gr%C3%B6%C3%9Fer%0A/config.json: no such file or directory`,
    );
    session.close();
  });

  test("grpc-js' own statuses too", async () => {
    const session = open();
    const { headers } = await call(session, "State", Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]));
    expect(headers["grpc-message"]).toMatch(/^Received message larger than max/);
    session.close();
  });

  test("a client with a grpc library reads the same words", async () => {
    await expect(daemon.api.state({ id: "nope" })).rejects.toMatchObject({
      details: "containerd: container not found",
    });
  });
});

describe("deadlines and cancellation", () => {
  test.each(["deadline", "cancellation", "end of the connection"])(
    "a start ends with its caller's %s and leaves nothing",
    async (how) => {
      const name = how.slice(0, 3);
      const wrapper = wrapRuntime(daemon.dir, `hang-${name}`, "create", { kind: "hang" });
      wrapper.on();
      await daemon.api.getServerVersion();
      const before = daemon.snapshot();
      const session = open();
      const bundlePath = daemon.bundle(name, { args: ["true"] });
      const request = CreateContainerRequest.fromPartial({ id: daemon.id(name), bundlePath, runtime: wrapper.path });
      const stream = session.request({
        ":method": "POST",
        ":path": "/types.API/CreateContainer",
        te: "trailers",
        "content-type": "application/grpc",
        ...(how === "deadline" && { "grpc-timeout": "700m" }),
      });
      let answer: IncomingHttpHeaders = {};
      stream.on("response", (headers) => {
        answer = headers;
      });
      stream.on("error", () => {});
      stream.resume();
      stream.end(framed(CreateContainerRequest.encode(request).finish()));
      await eventually(() => existsSync(`${wrapper.path}.calls`));
      if (how === "cancellation") stream.close(constants.NGHTTP2_CANCEL);
      if (how === "end of the connection") session.destroy();
      if (!stream.closed) await once(stream, "close");
      if (how === "deadline") expect(answer).toMatchObject({ "grpc-status": "4", "grpc-message": "Deadline exceeded" });
      session.destroy();
      await daemon.expectNothingLeft({ before });
      expect((await daemon.api.state()).containers).toEqual([]);
    },
  );

  test("a deadline that is no time is refused", async () => {
    const session = open();
    const { headers } = await call(session, "State", state(""), { "grpc-timeout": "soon" });
    expect(headers["grpc-status"]).toBe("13");
    session.close();
  });
});

describe("sizes", () => {
  test("a request of more than 16 MiB is refused, and the connection goes on", async () => {
    const session = open();
    const { headers } = await call(session, "State", framed(Buffer.alloc(17 << 20)));
    expect(headers["grpc-status"]).toBe("8");
    expect((await call(session, "State", state(""))).headers["grpc-status"]).toBe("0");
    session.close();
  });

  test("one that only becomes so large when it is unpacked, too", async () => {
    const session = open();
    const { headers } = await call(session, "State", framed(gzipSync(Buffer.alloc(200 << 20)), true), {
      "grpc-encoding": "gzip",
    });
    expect(headers["grpc-status"]).toBe("8");
    expect((await call(session, "State", state(""))).headers["grpc-status"]).toBe("0");
    session.close();
  });

  test("a packed request is understood", async () => {
    const session = open();
    const body = framed(gzipSync(StateRequest.encode({ id: "nope" }).finish()), true);
    expect((await call(session, "State", body, { "grpc-encoding": "gzip" })).headers["grpc-status"]).toBe("5");
    session.close();
  });

  test.each([
    ["bytes that are no message", framed(Buffer.alloc(100, 0xff)), "13"],
    ["no message at all", Buffer.alloc(0), "12"],
    ["two messages", Buffer.concat([state("a"), state("b")]), "12"],
    ["packed bytes that are not", framed(Buffer.from("not gzip"), true), "13"],
  ])("%s: an error, and nothing else", async (_, body, status) => {
    const session = open();
    expect((await call(session, "State", body, { "grpc-encoding": "gzip" })).headers["grpc-status"]).toBe(status);
    expect((await call(session, "State", state(""))).headers["grpc-status"]).toBe("0");
    session.close();
  });

  test("a method that there is not", async () => {
    const session = open();
    expect((await call(session, "Nothing", framed(Buffer.alloc(0)))).headers["grpc-status"]).toBe("12");
    session.close();
  });
});

describe("connections", () => {
  test("a client that opens 1000 streams of events and vanishes leaves no subscriber and no descriptor", async () => {
    await daemon.api.getServerVersion();
    const before = await subscribers();
    const descriptors = openDescriptors(daemon.pid).size;
    for (let round = 0; round < 3; round++) {
      const session = open();
      const body = framed(EventsRequest.encode(EventsRequest.fromPartial({})).finish());
      for (let index = 0; index < 1000; index++)
        session
          .request({
            ":method": "POST",
            ":path": "/types.API/Events",
            te: "trailers",
            "content-type": "application/grpc",
          })
          .on("error", () => {})
          .end(body);
      await eventually(async () => (await subscribers()) >= before + 1000, { interval: 100 });
      session.destroy();
      await eventually(async () => (await subscribers()) === before, { interval: 100 });
    }
    await eventually(() => openDescriptors(daemon.pid).size <= descriptors);
  });

  test("500 connections at once, and none is left of them", async () => {
    const descriptors = openDescriptors(daemon.pid).size;
    const sessions = Array.from({ length: 500 }, open);
    const answers = await Promise.all(
      sessions.map((session) => call(session, "GetServerVersion", framed(Buffer.alloc(0)))),
    );
    expect(answers.every(({ headers }) => headers["grpc-status"] === "0")).toBe(true);
    for (const session of sessions) session.destroy();
    await eventually(() => openDescriptors(daemon.pid).size <= descriptors);
  });

  test("500 connections that never say a word keep nobody out", async () => {
    const silent = Array.from({ length: 500 }, () => connect(socketPath).on("error", () => {}));
    const session = open();
    expect((await call(session, "GetServerVersion", framed(Buffer.alloc(0)))).headers["grpc-status"]).toBe("0");
    session.destroy();
    for (const socket of silent) socket.destroy();
  });

  test("a client's keepalive is answered, as often as it likes, with and without calls", async () => {
    const api = new Api(`unix:${socketPath}`, {
      "grpc.keepalive_time_ms": 50,
      "grpc.keepalive_timeout_ms": 1000,
      "grpc.keepalive_permit_without_calls": 1,
    });
    using stream = api.subscribe();
    const ended = stream.ended.catch((error) => error).then(() => "ended");
    expect(await Promise.race([ended, sleep(1500)])).toBeUndefined();
    api.close();
  });
});

/** How long, in ms, a daemon that ends waits for calls that do not end. What it does not wait for takes less. */
const GRACE = 10_000;

describe("the end of the daemon", () => {
  test("running calls are finished first; idle connections are not waited for", async () => {
    await using stopping = await startDaemon();
    const wrapper = wrapRuntime(stopping.dir, "slow", "create", { kind: "hold" });
    wrapper.on();
    using idle = new WireClient(join(stopping.dir, "s"));
    idle.send(greeting);
    const starting = startContainer(stopping, {
      name: "slow",
      args: ["sleep", "1000"],
      request: { runtime: wrapper.path },
    });
    await wrapper.called("create");
    const began = performance.now();
    const stopped = stopping.stop();
    await eventually(() => stopping.log.includes("stopping containerd"));
    wrapper.off();
    const container = await starting;
    expect(container.response.container?.processes[0]?.systemPid).toBeGreaterThan(0);
    expect((await stopped).code).toBe(0);
    expect(performance.now() - began).toBeLessThan(GRACE);
    await stopping.start();
    await container.kill();
    await container.exit();
  });

  test.skipIf(!full)("a call that does not end is waited for 10 s", async () => {
    await using stopping = await startDaemon();
    const wrapper = wrapRuntime(stopping.dir, "hang", "create", { kind: "hang" });
    wrapper.on();
    const starting = startContainer(stopping, { name: "hang", args: ["true"], request: { runtime: wrapper.path } });
    starting.catch(() => {});
    await wrapper.called("create");
    const began = performance.now();
    expect((await stopping.stop()).code).toBe(0);
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(0.9 * GRACE);
    await expect(starting).rejects.toThrow();
  });

  test("a client that ignores GOAWAY and never closes its side is hung up on at once, patched or native", async () => {
    for (const authority of ["/run/x.sock", "localhost"]) {
      await using stopping = await startDaemon();
      using client = new WireClient(join(stopping.dir, "s"));
      const { requestBlock, message, DATA, END_HEADERS, END_STREAM } = await import(
        "../../grpc/authority/wire-client.js"
      );
      client.send(
        greeting,
        frame(HEADERS, END_HEADERS, 1, requestBlock(authority, "/types.API/GetServerVersion")),
        frame(DATA, END_STREAM, 1, message()),
      );
      await client.answer(1);
      // And one that streams events, and would go on pinging.
      client.send(
        frame(HEADERS, END_HEADERS, 3, requestBlock(authority, "/types.API/Events")),
        frame(DATA, END_STREAM, 3, message()),
        frame(PING, 0, 0, Buffer.alloc(8)),
      );
      await client.waitFor("the answer to PING", ({ type, flags }) => type === PING && flags === ACK);
      const began = performance.now();
      expect((await stopping.stop()).code).toBe(0);
      expect(performance.now() - began).toBeLessThan(GRACE);
      expect(client.closed).toBe(true);
      await client.answer(3);
      const goaway = client.frames.find(({ type }) => type === 7);
      // grpc-go since 1.0 rejects an even one that is not 0.
      expect(goaway && goaway.payload.readUInt32BE(0) & 0x7fffffff).toBe(3);
    }
  });

  test("clients that have not made a call are hung up on", async () => {
    await using stopping = await startDaemon();
    using silent = new WireClient(join(stopping.dir, "s"));
    using polite = new WireClient(join(stopping.dir, "s"));
    polite.send(greeting);
    await polite.waitFor("SETTINGS", ({ type }) => type === SETTINGS);
    const began = performance.now();
    expect((await stopping.stop()).code).toBe(0);
    expect(performance.now() - began).toBeLessThan(GRACE);
    await eventually(() => silent.closed && polite.closed, { what: "the end of the connections" });
  });
});

test("its memory does not grow with calls", async () => {
  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))?.[1]);
  const session = open();
  const many = async (count: number) => {
    for (let done = 0; done < count; done += 100)
      await Promise.all(Array.from({ length: 100 }, () => call(session, "State", state("nope"))));
  };
  await many(3000);
  const before = resident();
  await many(6000);
  expect(resident() - before).toBeLessThan(40_000);
  session.close();
});

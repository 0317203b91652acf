/** Clients with a socket path as `:authority`, and all others, on a real daemon. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventsRequest, GetServerVersionResponse, StateRequest, StateResponse } from "../../../src/proto/containerd.js";
import { openConnection } from "../../../src/services/grpc/authority/connection.js";
import { PatchedSocket } from "../../../src/services/grpc/authority/patched-socket.js";
import { Api } from "../../harness/api.js";
import { startContainer } from "../../harness/container.js";
import { startDaemon, type TestDaemon } from "../../harness/daemon.js";
import { openDescriptors } from "../../harness/processes.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { eventually, sleep, within } from "../../harness/wait.js";
import { AUTHORITY, FIRST_DYNAMIC, indexed, literal, METHOD_POST, PATH, SCHEME_HTTP } from "./hpack.js";
import {
  ACK,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  greeting,
  HEADERS,
  message,
  PADDED,
  PING,
  PRIORITY,
  preface,
  RST_STREAM,
  requestBlock,
  SETTINGS,
  WINDOW_UPDATE,
  WireClient,
} from "./wire-client.js";

const DOCKER = "/var/run/docker/libcontainerd/docker-containerd.sock";
const VERSION = "/types.API/GetServerVersion";

let daemon: TestDaemon;
let socketPath: string;
beforeAll(async () => {
  daemon = await startDaemon({ flags: ["--debug"] });
  socketPath = join(daemon.dir, "s");
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const version = (answer: Buffer) => GetServerVersionResponse.decode(answer.subarray(5));

/** 100 times the same setting. */
const manySettings = frame(
  SETTINGS,
  0,
  0,
  Buffer.from([0, 1, 0, 0, 16, 0].concat(...Array(99).fill([0, 1, 0, 0, 16, 0]))),
);

/** grpc-js with another authority than its own. */
async function call(authority: string): Promise<GetServerVersionResponse> {
  const api = new Api(`unix:${socketPath}`, { "grpc.default_authority": authority });
  try {
    return await api.getServerVersion();
  } finally {
    api.close();
  }
}

describe("authorities", () => {
  test.each([
    ["a path (Docker)", DOCKER],
    ["a path without its first slash", "run/containerd/containerd.sock"],
    ["a scheme and a path", "unix:///run/containerd/containerd.sock"],
    ["what ctr sends", "unix"],
    ["grpc-js' own", "localhost"],
    ["a host and port", "127.0.0.1:2375"],
  ])("%s: %s", async (_, authority) => {
    expect(await call(authority)).toMatchObject({ major: 0, minor: 2 });
  });
});

describe("frames no library would send", () => {
  test("everything byte by byte", async () => {
    // An acknowledgement would come in the middle of a frame.
    using client = new WireClient(socketPath, { acknowledge: false });
    const bytes = Buffer.concat([
      greeting,
      frame(HEADERS, END_HEADERS, 1, requestBlock(DOCKER, VERSION)),
      frame(DATA, END_STREAM, 1, message()),
    ]);
    for (const byte of bytes) {
      client.send(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    expect(version(await client.answer(1))).toMatchObject({ minor: 2 });
  });

  test("padding, priority, and the authority torn apart by CONTINUATION", async () => {
    using client = new WireClient(socketPath);
    const block = requestBlock(DOCKER, VERSION);
    const at = block.indexOf(literal(AUTHORITY, DOCKER)) + 10;
    const first = Buffer.concat([
      Buffer.from([3]),
      Buffer.from([0, 0, 0, 0, 15]),
      block.subarray(0, at),
      Buffer.alloc(3),
    ]);
    client.send(
      greeting,
      frame(HEADERS, PADDED | PRIORITY, 1, first),
      frame(CONTINUATION, 0, 1, block.subarray(at, at + 1)),
      frame(CONTINUATION, 0, 1),
      frame(CONTINUATION, END_HEADERS, 1, block.subarray(at + 1)),
      frame(DATA, END_STREAM, 1, message()),
    );
    expect(version(await client.answer(1))).toMatchObject({ minor: 2 });
  });

  test("a plain path; later requests take it from the dynamic table", async () => {
    using client = new WireClient(socketPath);
    const first = Buffer.concat([
      indexed(METHOD_POST),
      indexed(SCHEME_HTTP),
      literal(PATH, VERSION),
      literal(AUTHORITY, DOCKER, { coded: false }),
      literal("content-type", "application/grpc"),
      literal("te", "trailers"),
    ]);
    const later = Buffer.concat(
      [METHOD_POST, SCHEME_HTTP, FIRST_DYNAMIC + 3, FIRST_DYNAMIC + 2, FIRST_DYNAMIC + 1, FIRST_DYNAMIC].map(indexed),
    );
    client.send(greeting);
    await client.waitFor("SETTINGS", ({ type }) => type === SETTINGS);
    for (let id = 1; id < 200; id += 2)
      client.send(frame(HEADERS, END_HEADERS, id, id === 1 ? first : later), frame(DATA, END_STREAM, id, message()));
    for (let id = 1; id < 200; id += 2) expect(version(await client.answer(id))).toMatchObject({ minor: 2 });
  });

  test("a client that waits for SETTINGS gets them, and its PING is answered, before any request", async () => {
    using client = new WireClient(socketPath);
    client.send(greeting);
    await client.waitFor("SETTINGS", ({ type, flags }) => type === SETTINGS && !(flags & ACK));
    client.send(frame(PING, 0, 0, Buffer.from("12345678")));
    await client.waitFor("the answer to PING", ({ type, flags }) => type === PING && flags === ACK);
    client.send(frame(HEADERS, END_HEADERS, 1, requestBlock(DOCKER, VERSION)), frame(DATA, END_STREAM, 1, message()));
    expect(version(await client.answer(1))).toMatchObject({ minor: 2 });
  });

  test("a request that crosses our SETTINGS, their acknowledgement behind it", async () => {
    for (const authority of [DOCKER, "unix"]) {
      using client = new WireClient(socketPath, { acknowledge: false });
      client.send(greeting);
      await client.waitFor("SETTINGS", ({ type, flags }) => type === SETTINGS && !(flags & ACK));
      client.send(frame(HEADERS, END_HEADERS, 1, requestBlock(authority, VERSION)));
      await sleep(20);
      client.send(frame(SETTINGS, ACK, 0), frame(DATA, END_STREAM, 1, message()));
      expect(version(await client.answer(1))).toMatchObject({ minor: 2 });
      client.send(frame(SETTINGS, ACK, 0), frame(PING, 0, 0, Buffer.alloc(8)));
      await client.waitFor("the answer to PING", ({ type, flags }) => type === PING && flags === ACK);
      expect(client.frames.some(({ type }) => type === GOAWAY)).toBe(false);
    }
  });

  test("what is no HTTP/2 is refused, and the daemon goes on", async () => {
    for (const [index, bytes] of [
      Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
      Buffer.alloc(100_000, 0xff),
      Buffer.concat([greeting, Buffer.alloc(100_000, 0xff)]),
      Buffer.concat([greeting, frame(HEADERS, END_HEADERS, 1, Buffer.alloc(200, 0xff))]),
      Buffer.concat([greeting, frame(HEADERS, 0, 1, Buffer.alloc(10)), frame(DATA, 0, 1)]),
      Buffer.concat([greeting, frame(HEADERS, END_HEADERS | PADDED, 1, Buffer.from([200, 1, 2]))]),
    ].entries()) {
      using client = new WireClient(socketPath);
      client.send(bytes);
      // After a frame that is too large, Node says so and leaves hanging up to the client.
      await eventually(() => client.closed || client.frames.some(({ type }) => type === GOAWAY), {
        what: `the end of connection ${index}`,
      });
    }
    expect(await call(DOCKER)).toMatchObject({ minor: 2 });
  });
});

describe("after frames for which it is told GOAWAY, a connection that its client has left is closed", () => {
  /** Each is wrong for the whole connection. */
  const wrong: [string, Buffer][] = [
    ["SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, Buffer.alloc(5))],
    ["more SETTINGS than are kept", Buffer.concat(Array.from({ length: 200 }, () => manySettings))],
    ["WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3))],
    ["an empty WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(4))],
    ["PING of 7 bytes", frame(PING, 0, 0, Buffer.alloc(7))],
    ["PING in a stream", frame(PING, 0, 1, Buffer.alloc(8))],
    ["GOAWAY of 2 bytes", frame(GOAWAY, 0, 0, Buffer.alloc(2))],
    ["DATA without a stream", frame(DATA, 0, 0, Buffer.from("x"))],
    ["DATA in a stream that is not open", frame(DATA, 0, 9, Buffer.from("x"))],
    ["DATA that is all padding", frame(DATA, PADDED, 1, Buffer.from([200, 1]))],
    ["a frame that is too large", frame(DATA, 0, 1, Buffer.alloc(20_000))],
    ["CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1)],
    ["RST_STREAM of 3 bytes", frame(RST_STREAM, 0, 1, Buffer.alloc(3))],
    ["headers that can't be unpacked", frame(HEADERS, END_HEADERS, 3, Buffer.alloc(6, 0xff))],
  ];

  test.each([
    ["patched", DOCKER],
    ["plain", "localhost"],
  ])("%s", async (_, authority) => {
    await daemon.api.getServerVersion();
    const descriptors = openDescriptors(daemon.pid).size;
    const clients = wrong.map(([what, bytes]) => {
      const client = new WireClient(socketPath);
      client.send(
        greeting,
        frame(HEADERS, END_HEADERS, 1, requestBlock(authority, "/types.API/Events")),
        frame(DATA, 0, 1, message()),
      );
      return { what, bytes, client };
    });
    try {
      for (const { what, bytes, client } of clients) {
        await client.waitFor("SETTINGS", ({ type }) => type === SETTINGS);
        client.send(bytes);
        const isOver = () => client.closed || client.frames.some(({ type }) => type === GOAWAY);
        await eventually(isOver, { what: `the end after ${what}` });
      }
    } finally {
      for (const { client } of clients) client[Symbol.dispose]();
    }
    await eventually(() => openDescriptors(daemon.pid).size <= descriptors, { what: "the end of all connections" });
  });
});

test("a large request and a large answer pass through a patched connection", async () => {
  using container = await startContainer(daemon, {
    name: "large",
    args: ["sleep", "1000"],
    request: { labels: Array.from({ length: 20_000 }, (_, index) => `/label/${index}/${"x".repeat(80)}`) },
  });
  using client = new WireClient(socketPath);
  client.send(
    greeting,
    // A window for the stream that the whole answer fits in.
    frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff])),
    frame(8, 0, 0, Buffer.from([0x3f, 0xff, 0xff, 0xff])),
    frame(HEADERS, END_HEADERS, 1, requestBlock(DOCKER, "/types.API/State")),
    frame(DATA, END_STREAM, 1, message(StateRequest.encode(StateRequest.fromPartial({})).finish())),
  );
  const answer = await client.answer(1);
  const { containers } = StateResponse.decode(answer.subarray(5));
  expect(containers[0]?.labels).toHaveLength(20_000);
  await container.kill();
  await container.exit();
});

test("events flow for as long as the client wants, after an empty DATA frame has closed its side", async () => {
  using client = new WireClient(socketPath);
  client.send(
    greeting,
    frame(HEADERS, END_HEADERS, 1, requestBlock(DOCKER, "/types.API/Events")),
    frame(DATA, 0, 1, message(EventsRequest.encode(EventsRequest.fromPartial({})).finish())),
  );
  await sleep(50);
  client.send(frame(DATA, END_STREAM, 1));
  await client.waitFor("response headers", ({ type, streamId }) => type === HEADERS && streamId === 1);
  using container = await startContainer(daemon, { name: "events", args: ["true"] });
  await container.exit();
  await client.waitFor("an event", ({ type, payload }) => type === DATA && payload.includes(container.id));
  await eventually(() => client.frames.filter(({ type }) => type === DATA).length >= 2);
  expect(client.frames.some(({ type, flags }) => type === HEADERS && flags & END_STREAM)).toBe(false);
});

test("200 connections at once, half of them with a path, and none is left of them", async () => {
  await daemon.api.getServerVersion();
  const before = openDescriptors(daemon.pid).size;
  const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => call(index % 2 ? DOCKER : "localhost")));
  expect(answers).toHaveLength(200);
  await eventually(() => openDescriptors(daemon.pid).size <= before, { what: "the end of all connections" });
});

test("a patched connection that vanishes with a stream of events open leaves nothing", async () => {
  await daemon.api.getServerVersion();
  const before = openDescriptors(daemon.pid).size;
  for (const end of ["destroy", "end"] as const) {
    using client = new WireClient(socketPath);
    client.send(
      greeting,
      frame(HEADERS, END_HEADERS, 1, requestBlock(DOCKER, "/types.API/Events")),
      frame(DATA, END_STREAM, 1, message()),
    );
    await client.waitFor("response headers", ({ type, streamId }) => type === HEADERS && streamId === 1);
    client.socket[end]();
    await eventually(() => openDescriptors(daemon.pid).size <= before, { what: `the end after ${end}` });
  }
});

describe("how a connection is served", () => {
  let directory: string;
  let server: Server;
  beforeAll(() => {
    directory = mkdtempSync(directoryPrefix());
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function served(authority: string): Promise<{ socket: Socket; connection: Duplex }> {
    const path = join(directory, "served");
    const accepted = new Promise<{ socket: Socket; connection: Duplex }>((resolve) => {
      server = createServer((socket) =>
        openConnection(socket, (connection) => resolve({ socket, connection }), { patch: true }),
      );
    });
    server.listen(path);
    using client = new WireClient(path);
    client.send(greeting);
    await client.waitFor("SETTINGS", ({ type }) => type === SETTINGS);
    client.send(frame(HEADERS, END_HEADERS, 1, requestBlock(authority, VERSION)));
    const result = await within(accepted, "the connection");
    server.close();
    result.socket.destroy();
    return result;
  }

  test("not at all when it stays silent, or stops in the middle of the preface; one that has begun may take its time", async () => {
    const path = join(directory, "silent");
    server = createServer((socket) => openConnection(socket, () => {}, { patch: true, timeout: 200 })).listen(path);
    using silent = new WireClient(path);
    using stuck = new WireClient(path);
    using begun = new WireClient(path);
    stuck.send(preface.subarray(0, 10));
    begun.send(greeting);
    await eventually(() => silent.closed && stuck.closed);
    await sleep(300);
    expect(begun.closed).toBe(false);
    server.close();
  });

  test("by the socket itself when its authority is legal", async () => {
    const { socket, connection } = await served("localhost");
    expect(connection).toBe(socket);
    expect(socket.listenerCount("data")).toBe(0);
  });

  test("through the patch when it is a path", async () => {
    expect((await served(DOCKER)).connection).toBeInstanceOf(PatchedSocket);
  });
});

/** Clients that do not read their events: they cost bounded memory, hold up nobody, and can resume. */
import { readFileSync, writeFileSync } from "node:fs";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventsRequest } from "../../src/proto/containerd.js";
import { Api, type Partially, status, type wire } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { findProgram } from "../harness/paths.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon({ flags: ["--retain-count", "20000"] });
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const EPOCH = { seconds: 0n, nanos: 0 };
const nanoseconds = ({ timestamp }: wire.Event) => timestamp!.seconds * 1_000_000_000n + BigInt(timestamp!.nanos);

/** In MiB. */
function memory(): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))![1]) / 1024;
}

/** Containers whose runtime has nothing to do at pause and resume, so that events come as fast as the daemon can make them. */
async function eventSources(count: number): Promise<TestContainer[]> {
  const path = join(daemon.dir, "quick-runtime");
  writeFileSync(
    path,
    `#!/bin/sh\ncase " $* " in *" pause "*|*" resume "*) exit 0 ;; esac\nexec ${findProgram("runc")} "$@"\n`,
    { mode: 0o755 },
  );
  return await Promise.all(
    Array.from({ length: count }, (_, n) =>
      startContainer(daemon, { name: `s${n}`, args: ["sleep", "100000"], request: { runtime: path } }),
    ),
  );
}

async function makeEvents(sources: TestContainer[], count: number): Promise<void> {
  const rounds = Math.ceil(count / sources.length / 2);
  await Promise.all(
    sources.map(async ({ id }) => {
      for (let round = 0; round < rounds; round++) {
        await daemon.api.updateContainer({ id, status: "paused" });
        await daemon.api.updateContainer({ id, status: "running" });
      }
    }),
  );
}

/** A subscription on a connection of its own that reads nothing, not even as much as HTTP/2 would buffer for it. */
class Sleeper {
  readonly #session: ClientHttp2Session;
  readonly #stream: ClientHttp2Stream;
  readonly chunks: Buffer[] = [];
  trailers: Record<string, unknown> | undefined;
  closed = false;

  constructor(socketPath: string, request: Partially<wire.EventsRequest> = {}) {
    this.#session = connectHttp2("http://localhost", {
      createConnection: () => connect(socketPath),
      settings: { initialWindowSize: 1024 },
    });
    this.#session.on("error", () => {});
    this.#stream = this.#session.request({
      ":method": "POST",
      ":path": "/types.API/Events",
      "content-type": "application/grpc",
      te: "trailers",
    });
    this.#stream.on("error", () => {});
    this.#stream.on("trailers", (trailers) => {
      this.trailers = trailers;
    });
    this.#stream.on("close", () => {
      this.closed = true;
    });
    const message = Buffer.from(EventsRequest.encode(EventsRequest.fromPartial(request as never)).finish());
    const header = Buffer.alloc(5);
    header.writeUInt32BE(message.length, 1);
    this.#stream.end(Buffer.concat([header, message]));
  }

  /** Resolves when the daemon has taken the subscription. */
  async subscribed(): Promise<void> {
    await new Promise<void>((resolve) => this.#stream.once("response", () => resolve()));
  }

  /** Reads all that there is, to the end. */
  wake(): void {
    this.#stream.on("data", (chunk: Buffer) => this.chunks.push(chunk));
  }

  close(): void {
    this.#session.destroy();
  }
}

/** Between a client and the daemon; stops reading from the daemon when told to, so that its socket fills up. */
class PausingProxy {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets: Socket[] = [];
  #upstream: Socket | undefined;

  constructor(name: string, target: string) {
    this.path = join(daemon.dir, name);
    this.#server = createServer((client) => {
      const upstream = connect(target);
      this.#upstream = upstream;
      this.#sockets.push(client, upstream);
      for (const socket of [client, upstream]) socket.on("error", () => {});
      client.pipe(upstream);
      upstream.on("data", (data) => client.write(data));
      upstream.on("close", () => client.end());
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
  }

  pause(): void {
    this.#upstream?.pause();
  }

  resume(): void {
    this.#upstream?.resume();
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

const socketPath = () => daemon.listen.slice("unix://".length);

describe("thousands of live events", () => {
  test("clients that never read are let go; memory is bounded, the others get everything, and who was let go can resume", async () => {
    const sources = await eventSources(10);
    const sleepers = Array.from({ length: 20 }, () => new Sleeper(socketPath()));
    await Promise.all(sleepers.map((sleeper) => sleeper.subscribed()));
    const proxy = new PausingProxy("p", socketPath());
    await proxy.listen();
    const api = new Api(`unix:${proxy.path}`);
    const stalled = api.subscribe({ timestamp: EPOCH });
    await eventually(() => stalled.events.length >= 10);
    proxy.pause();
    try {
      const reader = daemon.events;
      await eventually(() => reader.events.length >= 10);
      const before = memory();
      const count = 9000;
      let slowest = 0;
      let done = false;
      const probing = (async () => {
        while (!done) {
          const begin = performance.now();
          await daemon.api.getServerVersion();
          slowest = Math.max(slowest, performance.now() - begin);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      })();
      const begin = performance.now();
      await makeEvents(sources, count);
      const took = performance.now() - begin;
      done = true;
      await probing;
      const all = 10 + Math.ceil(count / 20) * 20;
      await eventually(() => reader.events.length === all, { what: `${all} events` });
      const growth = memory() - before;
      console.log(
        `${count} events in ${Math.round(took)} ms with 21 clients that do not read: ` +
          `the daemon grew by ${Math.round(growth)} MiB, its slowest answer took ${Math.round(slowest)} ms`,
      );
      expect(growth).toBeLessThan(80);
      // Nothing stands still for the time that the events take.
      expect(slowest).toBeLessThan(took / 2);
      // Everything, in order, each once.
      const times = reader.events.map(nanoseconds);
      expect(times.every((time, n) => n === 0 || time > times[n - 1]!)).toBe(true);

      // A client that reads again finds what was sent before it was let go, and why.
      proxy.resume();
      await expect(stalled.ended).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
      const seen = stalled.events.length;
      expect(seen).toBeLessThan(all);
      expect(stalled.events).toEqual(reader.events.slice(0, seen));
      const resumed = daemon.api.subscribe({ timestamp: stalled.events.at(-1)!.timestamp!, storedOnly: true });
      await resumed.ended;
      expect([...stalled.events, ...resumed.events].map(nanoseconds)).toEqual(times);
      for (const sleeper of sleepers) sleeper.wake();
      await eventually(() => sleepers.every((sleeper) => sleeper.trailers !== undefined || sleeper.closed));
      for (const { trailers } of sleepers) expect(trailers?.["grpc-status"]).toBe(String(status.RESOURCE_EXHAUSTED));
    } finally {
      api.close();
      proxy.close();
      for (const sleeper of sleepers) sleeper.close();
    }
    for (const { id } of sources) await daemon.api.signal({ id, pid: "init", signal: 9 });
    for (const source of sources) expect(await source.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });
});

test("a replay of many stored events to clients that do not read them", async () => {
  await daemon.stop();
  const count = 20_000;
  const start = 1_700_000_000_000;
  const lines = Array.from({ length: count }, (_, n) => {
    const timestamp = new Date(start + n).toISOString();
    return `${JSON.stringify({ id: `stored-${n}`, type: "exit", timestamp, pid: "init", status: n % 256 })}\n`;
  });
  writeFileSync(join(daemon.stateDir, "events.log"), lines.join(""));
  await daemon.start();
  const before = memory();
  const sleepers = Array.from({ length: 30 }, () => new Sleeper(socketPath(), { timestamp: EPOCH }));
  try {
    await Promise.all(sleepers.map((sleeper) => sleeper.subscribed()));
    const reader = daemon.api.subscribe({ timestamp: EPOCH, storedOnly: true });
    await reader.ended;
    expect(reader.events).toHaveLength(count);
    const id = daemon.id("c");
    const live = daemon.api.subscribe({ id, timestamp: EPOCH });
    await daemon.api.createContainer({ id, bundlePath: daemon.bundle("c", { args: ["true"] }) });
    expect((await live.waitFor({ type: "exit" })).status).toBe(0);
    const growth = memory() - before;
    console.log(
      `30 clients that do not read a replay of ${count} events: the daemon grew by ${Math.round(growth)} MiB`,
    );
    expect(growth).toBeLessThan(150);
    // One of them wakes up: it gets all of it and what has happened since.
    const late = sleepers[0]!;
    late.wake();
    const last = Buffer.from(id);
    await eventually(() => Buffer.concat(late.chunks.slice(-20)).includes(last));
    expect(
      Buffer.concat(late.chunks)
        .toString("latin1")
        .match(/stored-\d+/g),
    ).toHaveLength(count);
  } finally {
    for (const sleeper of sleepers) sleeper.close();
  }
  await daemon.expectNothingLeft();
});

test("subscribers that come and go leave nothing in the daemon", async () => {
  const before = daemon.snapshot();
  for (let round = 0; round < 5; round++) {
    const sleepers = Array.from({ length: 40 }, () => new Sleeper(socketPath(), { timestamp: EPOCH }));
    await Promise.all(sleepers.map((sleeper) => sleeper.subscribed()));
    for (const sleeper of sleepers) sleeper.close();
  }
  await daemon.expectNothingLeft({ before });
});

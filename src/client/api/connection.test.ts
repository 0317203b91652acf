import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { afterAll, afterEach, expect, test } from "vitest";
import { FakeDaemon } from "../../../test/doubles/fake-daemon.js";
import { connect } from "../connect.js";

const dir = mkdtempSync(join(tmpdir(), "connection-"));
afterEach(() => {
  rmSync(join(dir, "s"), { force: true });
});

afterAll(() => rmSync(dir, { recursive: true }));

async function failure(promise: Promise<unknown>) {
  try {
    await promise;
  } catch (error) {
    return error as Error & { code?: string; containerId?: string; isNotFound?: boolean };
  }
  throw new Error("did not fail");
}

test("a missing daemon is named in one line, at once", async () => {
  const started = performance.now();
  for (const [path, reason] of [
    [join(dir, "missing"), "no such file or directory"],
    [dir, "connection refused"],
    [join(dir, "x".repeat(120)), "the path is longer than 107 bytes"],
  ]) {
    await using client = connect(path, { connectTimeout: 60_000 });
    const error = await failure(client.version());
    expect(error.message).toBe(`cannot reach containerd at unix://${path}: ${reason}`);
    expect(error.code).toBe("UNAVAILABLE");
  }
  writeFileSync(join(dir, "s"), "");
  await using client = connect(join(dir, "s"), { connectTimeout: 60_000 });
  expect((await failure(client.version())).message).toContain("connection refused");
  await using tcp = connect("tcp://127.0.0.1:1", { connectTimeout: 60_000 });
  expect((await failure(tcp.version())).message).toBe(
    "cannot reach containerd at tcp://127.0.0.1:1: connection refused",
  );
  expect(performance.now() - started).toBeLessThan(60_000);
});

test("one that accepts and says nothing is given up after connectTimeout", async () => {
  const silent = createServer().listen(join(dir, "s"));
  await using client = connect(join(dir, "s"), { connectTimeout: 100 });
  const error = await failure(client.version());
  expect(error.message).toBe(`cannot reach containerd at unix://${join(dir, "s")}: no answer within 100 ms`);
  silent.close();
});

test("the daemon's words, code and container id", async () => {
  await using daemon = await new FakeDaemon({
    signal: (_call, callback) => callback({ code: status.UNKNOWN, details: "containerd: container not found" }),
    createContainer: (_call, callback) =>
      callback({ code: status.ALREADY_EXISTS, details: "mkdir /run/x: file exists, 100% sure" }),
  }).start();
  await using client = connect(daemon.address);
  const notFound = await failure(client.v0.api.signal({ id: "web", signal: 9 }));
  expect(notFound).toMatchObject({ message: "containerd: container not found", code: "UNKNOWN", containerId: "web" });
  expect(notFound.isNotFound).toBe(true);
  expect(await failure(client.v0.containers.start({ id: "web", bundle: "/b" }))).toMatchObject({
    message:
      'the id "web" is taken by a container that is there: choose another, or end that one first (mkdir /run/x: file exists, 100% sure)',
    kind: "id-in-use",
    code: "ALREADY_EXISTS",
    isNotFound: false,
  });
});

test("a timeout and an abort end a call, on the daemon's side too", async () => {
  let came = 0;
  let cancelled = 0;
  await using daemon = await new FakeDaemon({
    stats: (call) => {
      came++;
      call.on("cancelled", () => cancelled++);
    },
  }).start();
  await using client = connect(daemon.address);
  await client.v0.containers.list();
  const late = await failure(client.v0.api.stats({ id: "web" }, { timeout: 200 }));
  expect(late).toMatchObject({ code: "DEADLINE_EXCEEDED", message: "no answer from containerd within 200 ms" });
  const reason = new Error("no longer wanted");
  const controller = new AbortController();
  const aborted = failure(client.v0.api.stats({ id: "web" }, { signal: controller.signal }));
  await expect.poll(() => came).toBe(2);
  controller.abort(reason);
  expect(await aborted).toBe(reason);
  expect(await failure(client.v0.api.stats({ id: "web" }, { signal: controller.signal }))).toBe(reason);
  await expect.poll(() => cancelled).toBe(2);
});

test("a restarted daemon is found again by the next call", async () => {
  await using daemon = await new FakeDaemon().start();
  await using client = connect(daemon.address);
  await client.v0.containers.list();
  for (let round = 0; round < 3; round++) {
    await daemon.stop();
    expect((await failure(client.v0.containers.list())).message).toContain("no such file or directory");
    await daemon.start();
    expect(await client.v0.containers.list()).toEqual([]);
  }
});

test("close ends what is under way, and further calls", async () => {
  await using daemon = await new FakeDaemon({ stats: () => {} }).start();
  const client = connect(daemon.address);
  const events = client.v0.events();
  const [hanging, reading] = [failure(client.v0.api.stats({ id: "web" })), failure(events.next())];
  await expect.poll(() => daemon.subscribers.size).toBe(1);
  client.close();
  for (const error of [await hanging, await reading, await failure(client.version())])
    expect(error).toMatchObject({ message: "the client is closed" });
  await expect.poll(() => daemon.subscribers.size).toBe(0);
});

test("a bad address is refused at once", () => {
  expect(() => connect("nonsense")).toThrow('bad address "nonsense"');
});

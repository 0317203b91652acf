/** Pushes to registries that break off, send elsewhere, or take nothing. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseReference } from "../../../src/core/registry/reference.js";
import { Registry, type Repository } from "../../../src/core/registry/registry.js";
import { digestOf } from "../../harness/registry.js";
import { eventually } from "../../harness/wait.js";
import { makeImage } from "./image.js";
import { LyingRegistry } from "./lying-registry.js";

const image = makeImage(4_000_000);
const whole = image.blobs.get(image.layer.digest)!;
const PLACE = "/v2/a/b/blobs/uploads/1";
const signal = new AbortController().signal;

let registry: LyingRegistry;
let client: Registry;
let repository: Repository;
/** What the registry has taken. */
let taken: Buffer;
/** Its answers to requests of an upload, in this order; `undefined` is what it should do. */
let lies: (((request: IncomingMessage, response: ServerResponse) => void) | undefined)[];

beforeEach(async () => {
  taken = Buffer.alloc(0);
  lies = [];
  registry = await new LyingRegistry(image).start();
  registry.lies.blobs = (request, response) => {
    if (request.method === "HEAD") return void response.writeHead(404).end();
    const lie = lies.shift();
    if (lie !== undefined) return lie(request, response);
    // Of one that breaks off there is nothing to answer.
    return void take(request, response).catch(() => {});
  };
  client = new Registry({ environment: {}, retryDelay: 1 });
  repository = await open();
});
const open = () =>
  client.repository(parseReference(`${registry.host}/a/b:v1`), {
    plainHttp: true,
    credentials: async () => ({ kind: "password", username: "somebody", password: "pass-word-of-a-test" }),
  });
afterEach(async () => {
  await client.close();
  await registry[Symbol.asyncDispose]();
});

async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = "" } = request;
  if (method === "POST") return void response.writeHead(202, { location: PLACE }).end();
  if (method === "GET")
    return void response.writeHead(204, { location: PLACE, range: `0-${Math.max(taken.length - 1, 0)}` }).end();
  const parts = [taken];
  for await (const part of request) parts.push(part);
  taken = Buffer.concat(parts);
  if (method === "PATCH") return void response.writeHead(202, { location: PLACE }).end();
  const digest = new URL(url, registry.url).searchParams.get("digest");
  response.writeHead(digest === digestOf(taken) ? 201 : 400).end();
}

/** Takes so many bytes, and then does `end`. */
const takeSome = (size: number, end: (response: ServerResponse) => void) => {
  return (request: IncomingMessage, response: ServerResponse) => {
    const more = (part: Buffer) => {
      taken = Buffer.concat([taken, part]).subarray(0, size);
      if (taken.length < size) return;
      request.off("data", more);
      request.pause();
      end(response);
    };
    request.on("data", more);
  };
};

async function* pieces(offset: number): AsyncIterable<Buffer> {
  for (let at = offset; at < whole.length; at += 65_536) yield whole.subarray(at, at + 65_536);
}
const upload = async (source = pieces) => {
  await repository.upload(image.layer, source, { signal });
  expect(taken.equals(whole)).toBe(true);
};
const steps = () => registry.seen.map(({ method }) => method).filter((method) => method !== "HEAD");

test("in one go", async () => {
  await upload();
  expect(steps()).toEqual(["POST", "PUT"]);
});

test.each([
  ["breaks", (response: ServerResponse) => void response.destroy()],
  ["stalls", () => {}],
])("one that %s in the middle goes on there", async (_, end) => {
  await client.close();
  client = new Registry({ environment: {}, retryDelay: 1, stallTimeout: 500 });
  repository = await open();
  lies = [undefined, takeSome(1_000_000, end)];
  const offsets: number[] = [];
  await upload((offset) => {
    offsets.push(offset);
    return pieces(offset);
  });
  expect(offsets).toEqual([0, 1_000_000]);
  expect(steps()).toEqual(["POST", "PUT", "GET", "PATCH", "PUT"]);
  expect(registry.seen.find(({ method }) => method === "PATCH")!.headers["content-range"]).toBe("1000000-3999999");
});

test.each([
  ["does not know any more", (_: IncomingMessage, response: ServerResponse) => void response.writeHead(404).end()],
  [
    "says nonsense",
    (_: IncomingMessage, response: ServerResponse) => void response.writeHead(204, { range: "0-99999999" }).end(),
  ],
])("a registry that %s how far it was: anew", async (_, state) => {
  lies = [
    undefined,
    takeSome(1_000_000, (response) => response.destroy()),
    (request, response) => {
      taken = Buffer.alloc(0);
      state(request, response);
    },
  ];
  await upload();
  expect(steps()).toEqual(["POST", "PUT", "GET", "POST", "PUT"]);
});

test("a token that is over in the middle: with another one", async () => {
  let isOver = false;
  lies = [
    undefined,
    (request, response) => {
      isOver = true;
      request.resume().on("end", () => response.writeHead(401, { "www-authenticate": "Basic realm=x" }).end());
    },
  ];
  await upload();
  expect(isOver).toBe(true);
  expect(registry.seen.at(-1)!.headers.authorization).toMatch(/^Basic /);
});

test("elsewhere: what shows who we are stays", async () => {
  await using store = await new LyingRegistry(image).start();
  store.lies.blobs = (request, response) => void take(request, response).catch(() => {});
  registry.lies.all = ({ headers }, response) =>
    headers.authorization === undefined
      ? void response.writeHead(401, { "www-authenticate": "Basic realm=x" }).end()
      : false;
  lies = [(_, response) => void response.writeHead(202, { location: `${store.url}${PLACE}?a=b` }).end()];
  await upload();
  expect(store.seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
    `PUT ${PLACE}?a=b&digest=${encodeURIComponent(image.layer.digest)}`,
  ]);
  expect(store.seen[0]!.headers.authorization).toBeUndefined();
});

test("five times refused are the end; what it says is told", async () => {
  const refusal = (request: IncomingMessage, response: ServerResponse) => {
    request.resume().on("end", () => response.writeHead(503).end('{"errors":[{"code":"BUSY","message":"later"}]}'));
  };
  registry.lies.blobs = ({ method }, response) => void response.writeHead(method === "HEAD" ? 404 : 503).end();
  await expect(repository.upload(image.layer, pieces, { signal })).rejects.toMatchObject({ kind: "unavailable" });
  expect(steps()).toHaveLength(5);
  registry.lies.manifests = refusal;
  await expect(repository.putManifest(image.manifest, image.manifestBytes, { signal })).rejects.toThrow("BUSY: later");
});

test("without a place to go to, with one that is no URL", async () => {
  for (const headers of [{}, { location: "ftp://x/y" }]) {
    lies = [(_, response) => void response.writeHead(202, headers).end()];
    await expect(repository.upload(image.layer, pieces, { signal })).rejects.toMatchObject({
      kind: "permission-denied",
    });
  }
});

test("what cannot be read is not the registry's fault, and no connection is left", async () => {
  const broken = async function* () {
    yield whole.subarray(0, 1000);
    throw new Error("no such blob");
  };
  await expect(repository.upload(image.layer, broken, { signal })).rejects.toThrow("no such blob");
  expect(steps().filter((method) => method === "POST")).toHaveLength(1);
  await eventually(() => registry.sockets.size === 0);
});

test("a push that is called off ends at once", async () => {
  const controller = new AbortController();
  lies = [undefined, takeSome(1_000_000, () => controller.abort(new Error("called off")))];
  await expect(repository.upload(image.layer, pieces, { signal: controller.signal })).rejects.toThrow("called off");
});

test("the registry reads slowly: no more is read from the store than it takes", async () => {
  let read = 0;
  let last = -1;
  const source = async function* (offset: number) {
    for await (const part of pieces(offset)) {
      read += part.length;
      yield part;
    }
  };
  const controller = new AbortController();
  let isStill = false;
  lies = [undefined, () => {}];
  const big = { ...image.layer, size: 400_000_000 };
  const endless = async function* () {
    for (;;) yield* source(0);
  };
  const done = repository.upload(big, endless, { signal: controller.signal });
  await eventually(
    () => {
      isStill = read > 0 && read === last;
      last = read;
      return isStill;
    },
    { interval: 300 },
  );
  expect(read).toBeLessThan(40_000_000);
  controller.abort(new Error("called off"));
  await expect(done).rejects.toThrow("called off");
});

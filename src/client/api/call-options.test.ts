/** Every call of the library takes a signal and a timeout, and no option that it does not know. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAddress } from "../../contract/address.js";
import { Client } from "../client.js";
import { Container } from "../containers/container.js";
import { ContainerProcess } from "../containers/container-process.js";
import { Containers } from "../containers/containers.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { Images } from "../images/images.js";
import { Networks } from "../networks/networks.js";
import { Publish } from "../networks/publish.js";
import { Sandboxes } from "../sandboxes/sandboxes.js";
import { createStdio, type Stdio } from "../streams/stdio.js";
import type { CallOptions } from "./call-options.js";
import { Connection } from "./connection.js";
import { EngineApi } from "./engine.js";

/** Arguments that a method wants before its options; `options`: what it can't do without in them. */
interface Way {
  before?: unknown[];
  options?: object;
}

const image = { image: "alpine" };
const METHODS: { type: { prototype: object }; of: () => object; ways: Record<string, Way> }[] = [
  { type: Client, of: () => client, ways: { version: {}, run: { options: image }, events: {} } },
  {
    type: Containers,
    of: () => client.containers,
    ways: { create: { options: image }, start: { options: image }, get: { before: ["web"] }, list: {}, prune: {} },
  },
  {
    type: Container,
    of: () => container,
    ways: {
      ...{ start: {}, restart: {}, exec: { before: [["true"]] }, spawn: { before: [["true"]] }, wait: {}, stop: {} },
      ...{ kill: { before: ["SIGTERM"] }, pause: {}, resume: {}, update: {}, rename: { before: ["web"] }, stats: {} },
      ...{ attach: {}, logs: {}, checkpoint: { before: ["one"] } },
      ...{ watchStats: {}, state: {}, inspect: {}, diff: {}, fork: {}, remove: {} },
      putFiles: { before: ["/srv", { file: "" }] },
      writeFile: { before: ["/srv/file", ""] },
      ...{ getFiles: { before: ["/srv"] }, readFile: { before: ["/srv/file"] }, stat: { before: ["/srv"] } },
      commit: { before: ["team/app:1"] },
      ...{ port: { before: [80] }, waitFor: { before: [{ log: "ready" }] }, egress: {} },
    },
  },
  {
    type: Networks,
    of: () => client.networks,
    ways: {
      ...{ create: { options: { name: "shop" } }, get: { before: ["shop"] }, list: {}, remove: { before: ["shop"] } },
      ...{ prune: {}, connect: { before: ["shop", "web"] }, disconnect: { before: ["shop", "web"] }, repair: {} },
    },
  },
  { type: Publish, of: () => client.publish, ways: { move: { before: ["web-1", "web-2"] } } },
  {
    type: ContainerProcess,
    of: () => attached,
    ways: { wait: {}, kill: { before: ["SIGTERM"] }, resize: { before: [80, 24] } },
  },
  {
    type: Sandboxes,
    of: () => client.sandboxes,
    ways: { create: { options: image }, pool: { options: { ...image, size: 1 } } },
  },
  {
    type: Images,
    of: () => client.images,
    ways: {
      ...{ pull: { before: ["alpine"] }, push: { before: ["alpine"] }, import: { before: [Buffer.from("tar")] } },
      ...{ export: { before: ["alpine"] }, list: {}, get: { before: ["alpine"] }, inspect: { before: ["alpine"] } },
      ...{ tag: { before: ["alpine", "other"] }, remove: { before: ["alpine"] }, prune: {}, usage: {} },
      platforms: { before: [{ name: "alpine", digest: "sha256:0", mediaType: "" }] },
    },
  },
];

/** What is done at once, by this program alone. */
const WITHOUT_OPTIONS = ["constructor", "close", "in", "detach", "toJSON", "startWith"];

const dir = mkdtempSync(join(tmpdir(), "call-options-"));
const address = join(dir, "s");
const sockets = new Set<Socket>();
let silent: Server;
let client: Client;
let connection: Connection;
let container: Container;
let attached: ContainerProcess;
let stdio: Stdio;
beforeAll(() => {
  // Takes connections, and says nothing.
  silent = createServer((socket) => sockets.add(socket.on("error", () => {}))).listen(address);
  client = new Client(address, { connectTimeout: Number.POSITIVE_INFINITY, patience: 20 });
  connection = new Connection(parseAddress(address), { connectTimeout: Number.POSITIVE_INFINITY });
  const api = new EngineApi(connection, "default", 20);
  container = new Container(api, "web");
  stdio = createStdio();
  attached = new ContainerProcess(api, { containerId: "web", execId: "", pid: 0 }, stdio);
});
afterAll(() => {
  stdio.close();
  client.close();
  connection.close();
  silent.close();
  for (const socket of sockets) socket.destroy();
  rmSync(dir, { recursive: true });
});

const methods = METHODS.flatMap(({ type, of, ways }) =>
  Object.entries(ways).map(([name, way]) => ({
    name: `${(type as { name?: string }).name}.${name}`,
    of,
    way,
    key: name,
  })),
);

/** Calls it, and begins to read what is read piece by piece. */
async function call({ of, way, key }: (typeof methods)[number], options: object): Promise<unknown> {
  const object = of() as Record<string, (...args: unknown[]) => unknown>;
  const answer = object[key]!(...(way.before ?? []), { ...way.options, ...options });
  if (typeof answer === "object" && answer !== null && Symbol.asyncIterator in answer)
    for await (const _ of answer as AsyncIterable<unknown>) break;
  return await answer;
}

async function failure(answer: Promise<unknown>): Promise<unknown> {
  try {
    await answer;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

test.each(METHODS)("every method of a class is here: $type.name", ({ type, ways }) => {
  const names = Object.entries(Object.getOwnPropertyDescriptors(type.prototype)).flatMap(([name, { value }]) =>
    typeof value === "function" && !WITHOUT_OPTIONS.includes(name) ? [name] : [],
  );
  expect(names.sort()).toEqual(Object.keys(ways).sort());
});

describe.each(methods)("$name", (method) => {
  test("refuses an option that it does not know, by its name", async () => {
    const error = await failure(call(method, { tiemout: 5 }));
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toContain("tiemout");
  });

  test("refuses a signal and a timeout that are none", async () => {
    expect(String(await failure(call(method, { signal: 5 })))).toMatch(/^TypeError: signal must be an AbortSignal/);
    expect(String(await failure(call(method, { timeout: -5 })))).toMatch(/^RangeError: timeout must be/);
  });

  test("ends with its signal, and with its timeout", async () => {
    const reason = new Error("no longer wanted");
    const controller = new AbortController();
    const aborted = failure(call(method, { signal: controller.signal }));
    controller.abort(reason);
    expect(await aborted).toBe(reason);
    const late = await failure(call(method, { timeout: 20 }));
    expect(late).toBeInstanceOf(ContainerdError);
    expect((late as ContainerdError).kind).toBe("timeout");
  });
});

/** The names of methods that wait for something, and whose last argument is no CallOptions. */
type Lacking<T> = {
  [Name in keyof T & string]: T[Name] extends (...args: infer Arguments) => Promise<unknown> | AsyncIterable<unknown>
    ? Required<Arguments> extends [...unknown[], infer Last]
      ? [keyof CallOptions] extends [keyof NonNullable<Last>]
        ? never
        : Name
      : Name
    : never;
}[keyof T & string];

test("so do their types say", () => {
  // It does not compile when one is missing.
  const lacking: Record<
    Exclude<
      | Lacking<Client>
      | Lacking<Sandboxes>
      | Lacking<Containers>
      | Lacking<Container>
      | Lacking<Networks>
      | Lacking<Publish>
      | Lacking<ContainerProcess>
      | Lacking<Images>,
      "startWith" | "close"
    >,
    true
  > = {};
  expect(lacking).toEqual({});
});

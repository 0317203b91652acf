/** Calls of the engine whose caller goes away in the middle: nothing half is left, and the same call, made again, does what it says. */
import { beforeAll, describe, expect, test } from "vitest";
import { Connection } from "../../src/client/api/connection.js";
import { EngineApi } from "../../src/client/api/engine.js";
import { ContainerdError } from "../../src/client/errors/containerd-error.js";
import { CreateRequest, Resources } from "../../src/proto/containerdts/engine/v1/engine.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { endingConnections } from "../harness/ending-connections.js";
import { type Config, importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { eventually, sleep } from "../harness/wait.js";
import { archive, FILE } from "../images/layers/archive.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

type Calls = EngineApi["calls"];
interface Options {
  signal?: AbortSignal;
}

beforeAll(async () => {
  if (!full) return;
  daemon = fixture.daemon;
  await importImage(daemon);
});

function apiAt(path: string): { calls: Calls; close(): void } {
  const connection = new Connection({ kind: "unix", path, text: `unix://${path}` });
  return { calls: new EngineApi(connection, "default", 0).calls, close: () => connection.close() };
}

const SLEEP = { args: texts("sleep", "1000"), writable: true };
const wanted = (id: string, config: Config = SLEEP) => requestFor({ id, config });
const other = (id: string) => `${id}-2`;
const exec = (id: string) => ({ id, execId: "e", args: ["sleep", "1000"], stdio: NO_STDIO });
const FILES = archive([{ type: FILE, name: "file", data: Buffer.alloc(3 << 20, "x") }], "posix");

async function created(calls: Calls, id: string, config?: Config) {
  await calls.create(wanted(id, config));
}
async function running(calls: Calls, id: string, config?: Config) {
  await calls.run({ create: wanted(id, config), stdio: NO_STDIO });
}
async function drained(stream: Promise<AsyncIterable<unknown>>) {
  let count = 0;
  for await (const _ of await stream) count++;
  return count;
}

interface Case {
  /** What there is before. */
  before?: (calls: Calls, id: string) => Promise<unknown>;
  call: (calls: Calls, id: string, options: Options) => Promise<unknown>;
  /** What the same call may answer, when the first one has done all; as a rule it goes well. */
  done?: string;
  /** What holds once the call was made again. */
  after?: (calls: Calls, id: string) => Promise<unknown>;
}

const status = (expected: string) => async (calls: Calls, id: string) =>
  expect((await calls.get({ id })).status).toBe(expected);

const CASES: Record<keyof Calls, Case> = {
  create: { call: (calls, id, options) => calls.create(wanted(id), options), after: status("created") },
  run: {
    call: (calls, id, options) => calls.run({ create: wanted(id), stdio: NO_STDIO }, options),
    after: status("running"),
  },
  start: {
    before: created,
    call: (calls, id, options) => calls.start({ id, stdio: NO_STDIO, startId: "s" }, options),
    after: status("running"),
  },
  wait: {
    before: (calls, id) => running(calls, id, { args: texts("sleep", "0.3") }),
    call: (calls, id, options) => calls.wait({ id }, options),
    after: status("stopped"),
  },
  get: { before: running, call: (calls, id, options) => calls.get({ id }, options) },
  list: { before: running, call: (calls, _, options) => calls.list({}, options) },
  stop: {
    before: (calls, id) => running(calls, id, { args: texts("sh", "-c", "trap '' TERM; sleep 1000 & wait; wait") }),
    call: (calls, id, options) => calls.stop({ id, grace: 50n }, options),
    after: status("stopped"),
  },
  restart: {
    before: running,
    call: (calls, id, options) => calls.restart({ id, grace: 0n, stdio: NO_STDIO, startId: "s" }, options),
    after: status("running"),
  },
  kill: {
    before: running,
    call: (calls, id, options) => calls.kill({ id }, options),
    done: "FAILED_PRECONDITION",
    after: async (calls, id) => expect((await calls.wait({ id })).status).toBe(137),
  },
  pause: { before: running, call: (calls, id, options) => calls.pause({ id }, options), after: status("paused") },
  resume: {
    before: async (calls, id) => {
      await running(calls, id);
      await calls.pause({ id });
    },
    call: (calls, id, options) => calls.resume({ id }, options),
    after: status("running"),
  },
  update: {
    before: running,
    call: (calls, id, options) =>
      calls.update({ id, resources: Resources.fromPartial({ memory: 64n << 20n, pids: 99n }) }, options),
    after: async (calls, id) =>
      expect(await calls.stats({ id })).toMatchObject({ memoryLimit: 64n << 20n, pidsLimit: 99n }),
  },
  rename: {
    before: created,
    call: (calls, id, options) => calls.rename({ id, name: `name-${id}` }, options),
    after: async (calls, id) => expect((await calls.get({ id: `name-${id}` })).id).toBe(id),
  },
  remove: {
    before: running,
    call: (calls, id, options) => calls.remove({ id, force: true }, options),
    done: "NOT_FOUND",
    after: async (calls, id) => expect(await codeOf(calls.get({ id }))).toBe("NOT_FOUND"),
  },
  prune: {
    before: created,
    call: (calls, _, options) => calls.prune({}, options),
    after: async (calls, id) => expect(await codeOf(calls.get({ id }))).toBe("NOT_FOUND"),
  },
  stats: { before: running, call: (calls, id, options) => calls.stats({ id }, options) },
  top: { before: running, call: (calls, id, options) => calls.top({ id }, options) },
  exec: {
    before: running,
    call: (calls, id, options) => calls.exec(exec(id), options),
    after: async (calls, id) => {
      expect((await calls.get({ id })).execIds).toEqual(["e"]);
      expect((await calls.top({ id })).pids).toHaveLength(2);
    },
  },
  deleteExec: {
    before: async (calls, id) => {
      await running(calls, id);
      await calls.exec(exec(id));
      await calls.kill({ id, execId: "e" });
      await calls.wait({ id, execId: "e" });
    },
    call: (calls, id, options) => calls.deleteExec({ id, execId: "e" }, options),
    done: "NOT_FOUND",
    after: async (calls, id) => expect((await calls.get({ id })).execIds).toEqual([]),
  },
  resizeTerminal: {
    before: (calls, id) => running(calls, id, { ...SLEEP, tty: true }),
    call: (calls, id, options) => calls.resizeTerminal({ id, width: 80, height: 25 }, options),
  },
  closeStdin: { before: running, call: (calls, id, options) => calls.closeStdin({ id }, options) },
  putFiles: {
    before: created,
    call: async (calls, id, options) => {
      const stream = await calls.putFiles(options);
      await stream.send({ id, path: "/put", keepKinds: false, keepOwners: true, data: Buffer.alloc(0) });
      for (let at = 0; at < FILES.length; at += 1 << 18)
        await stream.send({
          id: "",
          path: "",
          keepKinds: false,
          keepOwners: false,
          data: FILES.subarray(at, at + (1 << 18)),
        });
      stream.end();
      for await (const _ of stream);
    },
    after: async (calls, id) => expect((await calls.statFile({ id, path: "/put/file" })).size).toBe(BigInt(3 << 20)),
  },
  getFiles: {
    before: created,
    call: (calls, id, options) => drained(calls.getFiles({ id, path: "/bin" }, options)),
  },
  events: {
    call: async (calls, _, options) => {
      // It has no end by itself.
      for await (const { type } of await calls.events({}, options)) return type;
      return undefined;
    },
  },
  logs: { before: running, call: (calls, id, options) => drained(calls.logs({ id }, options)) },
  writeStdin: {
    before: (calls, id) => running(calls, id, { ...SLEEP, openStdin: true }),
    call: async (calls, id, options) => {
      const stream = await calls.writeStdin(options);
      await stream.send({ id, data: Buffer.from("text") });
      stream.end();
      for await (const _ of stream);
    },
    after: status("running"),
  },
  statFile: { before: created, call: (calls, id, options) => calls.statFile({ id, path: "/bin" }, options) },
  diff: { before: running, call: (calls, id, options) => drained(calls.diff({ id }, options)) },
  commit: {
    before: (calls, id) =>
      running(calls, id, { args: texts("sh", "-c", "echo x > /file; exec sleep 1000"), writable: true }),
    call: (calls, id, options) => calls.commit({ id, ref: `docker.io/library/${id.toLowerCase()}:1` }, options),
    // It was paused meanwhile.
    after: status("running"),
  },
  fork: {
    before: running,
    call: (calls, id, options) => calls.fork({ id, create: forked(id) }, options),
    after: async (calls, id) => {
      expect((await calls.get({ id: other(id) })).status).toBe("created");
      await status("running")(calls, id);
    },
  },
  checkpoint: {
    before: running,
    call: (calls, id, options) => calls.checkpoint({ id, ref: "c", leaveRunning: true }, options),
    done: "ALREADY_EXISTS",
    after: async (calls, id) => {
      await status("running")(calls, id);
      await calls.stop({ id, grace: 0n });
      await calls.start({ id, stdio: NO_STDIO, checkpoint: "c" });
    },
  },
};

function forked(id: string) {
  return CreateRequest.fromPartial({ id: other(id) });
}

/** "" when it goes well. */
async function codeOf(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
    return "";
  } catch (error) {
    if (error instanceof ContainerdError) return error.code;
    throw error;
  }
}

describe.skipIf(!full).each(["is called off", "has no connection any more"])("a call that %s", (how) => {
  test.each(Object.entries(CASES))("%s", async (_, { before, call, done, after }) => {
    await using connections = await endingConnections(daemon);
    const { calls, close } = apiAt(daemon.listen.slice("unix://".length));
    try {
      // Soon after it was sent, and later; one of these is in the middle.
      for (const delay of [0, 5, 30]) {
        const id = newId(daemon);
        await before?.(calls, id);
        const leaving = apiAt(connections.path);
        await leaving.calls.list({});
        const caller = new AbortController();
        const answer = call(leaving.calls, id, { signal: caller.signal }).catch(() => {});
        await sleep(delay);
        if (how === "is called off") caller.abort(new Error("called off"));
        else connections.end();
        await answer;
        leaving.close();
        const code = await codeOf(call(calls, id, {}));
        if (code !== "") expect(code).toBe(done);
        await after?.(calls, id);
        for (const one of [id, other(id)]) await calls.remove({ id: one, force: true }).catch(() => {});
      }
    } finally {
      for (const { id } of (await calls.list({})).containers) await calls.remove({ id, force: true });
      close();
    }
    const { tasks, containers } = daemon.v1();
    await eventually(async () => {
      expect((await tasks.list()).tasks).toEqual([]);
      expect((await containers.list()).containers).toEqual([]);
      expect(await daemon.v1().listSnapshots("overlayfs", "kind==active")).toEqual([]);
      return true;
    });
  });
});

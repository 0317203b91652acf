/** What clients of containerd 1.x's API should not send: an error with the code that containerd gives, and nothing left. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ContainerUpdate } from "../../src/proto/containerd/events/container.js";
import { Info } from "../../src/proto/containerd/services/snapshots/v1/snapshots.js";
import type { CreateTaskRequest } from "../../src/proto/containerd/services/tasks/v1/tasks.js";
import type { Any } from "../../src/proto/google/protobuf/any.js";
import type { Spec } from "../harness/bundle.js";
import { specification } from "../harness/bundle.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { imageOf, labelBlob, putBlob } from "../harness/content-blobs.js";
import { sha256 } from "../harness/content-writer.js";
import {
  type ContainerOptions,
  containerRecord,
  createContainer,
  json,
  removeContainer,
  startTask,
} from "../harness/task.js";
import { type ApiV1, refusal } from "../harness/v1.js";

const fixture = useContainerd1();

/** What is refused for want of a better word: containerd 1.6's shim has no other code than UNKNOWN. */
const BAD = isDebians ? "UNKNOWN" : /^(INVALID_ARGUMENT|NOT_FOUND|FAILED_PRECONDITION|UNKNOWN): /;

const RULE =
  /must match \^\[A-Za-z0-9\]\+\(\?:\[\._-\]\(\?:\[A-Za-z0-9\]\+\)\)\*\$|greater than maximum length \(76 characters\)/;
const BAD_NAMES = [
  "../x",
  "a/b",
  "..",
  ".x",
  "-x",
  "x..y",
  "x-",
  "with space",
  "x\ny",
  "ümlaut",
  "\u202etxt",
  "x".repeat(77),
  "*",
];

describe("a call without a namespace", () => {
  const needing: Record<string, (api: ApiV1) => Promise<unknown>> = {
    "Containers.Get": (api) => api.containers.get(),
    "Containers.List": (api) => api.containers.list(),
    "Containers.Create": (api) => api.containers.create({ container: containerRecord(fixture.daemon, one()) }),
    "Containers.Update": (api) => api.containers.update({ container: containerRecord(fixture.daemon, one()) }),
    "Containers.Delete": (api) => api.containers.delete({ id: "x" }),
    "Leases.Create": (api) => api.leases.create(),
    "Leases.Delete": (api) => api.leases.delete({ id: "x" }),
    "Leases.List": (api) => api.leases.list(),
    "Leases.ListResources": (api) => api.leases.listResources({ id: "x" }),
    "Events.Publish": (api) => api.events.publish({ topic: "/x", event: { typeUrl: "x", value: Buffer.alloc(0) } }),
  };
  for (const name of ["create", "start", "delete", "deleteProcess", "get", "list", "kill", "exec"] as const)
    needing[`Tasks.${name}`] = (api) => task(api, name);
  for (const name of ["resizePty", "closeIo", "pause", "resume", "listPids", "checkpoint", "update", "wait"] as const)
    needing[`Tasks.${name}`] = (api) => task(api, name);
  const one = (): ContainerOptions => ({ name: "no-namespace", args: ["true"] });
  const task = (api: ApiV1, name: keyof ApiV1["tasks"]) =>
    (api.tasks[name] as (request: object) => Promise<unknown>)({
      containerId: "x",
      execId: name === "exec" ? "e" : "",
    });

  test.each(Object.entries(needing))("%s", async (_, call) => {
    expect(await refusal(call(fixture.daemon.v1("")))).toMatch(
      /^FAILED_PRECONDITION: (failed publishing event: )?namespace is required: failed precondition$/,
    );
  });

  test("Tasks.Metrics: also with containerd's own code", async () => {
    // containerd 1.6 says UNKNOWN, for this call alone.
    const code = isDebians ? "UNKNOWN" : "FAILED_PRECONDITION";
    expect(await refusal(fixture.daemon.v1("").tasks.metrics())).toBe(
      `${code}: namespace is required: failed precondition`,
    );
  });

  test("what is about no namespace is answered", async () => {
    const api = fixture.daemon.v1("");
    await api.version.version();
    await api.introspection.plugins();
    await api.introspection.server();
    await api.namespaces.list();
    await api.health.check();
  });
});

describe("names", () => {
  // A header of another alphabet can't be sent.
  test.each(BAD_NAMES.filter((name) => /^[ -~]*$/.test(name)))("the namespace %j", async (namespace) => {
    const api = fixture.daemon.v1(namespace);
    const container = containerRecord(fixture.daemon, { name: "x", args: ["true"] });
    for (const call of [api.tasks.list, api.containers.list, () => api.containers.create({ container })]) {
      const text = await refusal(call());
      expect(text).toMatch(/^INVALID_ARGUMENT: .*identifier .*: invalid argument$/);
      expect(text).toMatch(RULE);
      expect(text).toContain(JSON.stringify(namespace));
    }
  });

  test.each(["", ...BAD_NAMES])("a namespace or a container with the name %j", async (name) => {
    const { daemon, api } = fixture;
    const record = { ...containerRecord(daemon, { name: "x", args: ["true"] }), id: name };
    const calls = [
      () => api.namespaces.create({ namespace: { name, labels: {} } }),
      () => api.containers.create({ container: record }),
    ];
    for (const call of calls) {
      const text = await refusal(call());
      expect(text).toMatch(/^INVALID_ARGUMENT: /);
      expect(text).toMatch(name === "" ? /must not be empty/ : RULE);
    }
    // One that can't be is not there, and that is all that is said of it.
    const absent = /^NOT_FOUND: container .* in namespace "test": not found$/;
    expect(await refusal(api.containers.get({ id: name }))).toMatch(absent);
    for (const call of [api.tasks.create, api.tasks.get, api.tasks.kill, api.tasks.delete, api.tasks.wait])
      expect(await refusal(call({ containerId: name }))).toMatch(absent);
    expect((await api.containers.list()).containers).toEqual([]);
  });
});

describe("a key __proto__, which is no ordinary one in JavaScript", () => {
  /** The map that a request or an answer has. */
  const withKey = <T>(value: T): Record<string, T> =>
    Object.fromEntries([
      ["a", value],
      ["__proto__", value],
    ] as const);
  const any = { typeUrl: "x", value: Buffer.from("x") };
  const id = () => fixture.daemon.id("proto");
  const digest = sha256(Buffer.from("proto"));
  const snapshotter = "overlayfs";
  const labelsOfSnapshot = async () => (await fixture.api.snapshots.stat({ snapshotter, key: id() })).info!.labels;
  const record = (fields: ContainerOptions["record"]) =>
    containerRecord(fixture.daemon, { name: "proto", args: ["true"], record: fields! });
  const create = async (fields: ContainerOptions["record"]) =>
    (await fixture.api.containers.create({ container: record(fields) })).container!;
  const update = async (fields: ContainerOptions["record"], ...updateMask: string[]) =>
    (await fixture.api.containers.update({ container: record(fields), updateMask })).container!;

  test.each<[string, () => Promise<object>]>([
    ["labels of a container", async () => (await create({ labels: withKey("1") })).labels],
    ["extensions of a container", async () => (await create({ extensions: withKey(any) })).extensions],
    [
      "changed labels",
      async () =>
        create({})
          .then(() => update({ labels: withKey("1") }))
          .then(({ labels }) => labels),
    ],
    [
      "one changed label",
      async () => {
        await create({ labels: { a: "1" } });
        return (await update({ labels: withKey("1") }, "labels.__proto__")).labels;
      },
    ],
    [
      "changed extensions",
      async () =>
        create({})
          .then(() => update({ extensions: withKey(any) }))
          .then(({ extensions }) => extensions),
    ],
    [
      "labels of a lease",
      async () => (await fixture.api.leases.create({ id: id(), labels: withKey("1") })).lease!.labels,
    ],
    [
      "labels of a namespace",
      async () =>
        (await fixture.api.namespaces.create({ namespace: { name: id(), labels: withKey("1") } })).namespace!.labels,
    ],
    [
      "changed labels of a namespace",
      async () => {
        await fixture.api.namespaces.create({ namespace: { name: id(), labels: {} } });
        await fixture.api.namespaces.update({ namespace: { name: id(), labels: withKey("1") }, updateMask: [] });
        return (await fixture.api.namespaces.get({ name: id() })).namespace!.labels;
      },
    ],
    [
      "labels of content",
      async () => {
        const digest = await putBlob(fixture.api, "proto", { labels: withKey("1") });
        return (await fixture.api.content.info({ digest })).info!.labels;
      },
    ],
    [
      "changed labels of content",
      async () => {
        const digest = await putBlob(fixture.api, "proto");
        await labelBlob(fixture.api, digest, withKey("1"));
        return (await fixture.api.content.info({ digest })).info!.labels;
      },
    ],
    [
      "labels of an image",
      async () => (await fixture.api.images.create({ image: imageOf(id(), digest, withKey("1")) })).image!.labels,
    ],
    [
      "annotations of what an image is",
      async () => {
        const image = imageOf(id(), digest);
        image.target!.annotations = withKey("1");
        return (await fixture.api.images.create({ image })).image!.target!.annotations;
      },
    ],
    [
      "changed labels of an image",
      async () => {
        await fixture.api.images.create({ image: imageOf(id(), digest) });
        const updateMask = ["labels.a", "labels.__proto__"];
        const image = imageOf(id(), digest, withKey("1"));
        return (await fixture.api.images.update({ image, updateMask })).image!.labels;
      },
    ],
    [
      "labels of a snapshot",
      async () => {
        await fixture.api.snapshots.prepare({ snapshotter, key: id(), labels: withKey("1") });
        return await labelsOfSnapshot();
      },
    ],
    [
      "labels of a view",
      async () => {
        await fixture.api.snapshots.view({ snapshotter, key: id(), labels: withKey("1") });
        return await labelsOfSnapshot();
      },
    ],
    [
      "labels of a snapshot that is committed",
      async () => {
        await fixture.api.snapshots.prepare({ snapshotter, key: `${id()}-active` });
        await fixture.api.snapshots.commit({
          ...{ snapshotter, key: `${id()}-active`, name: id() },
          labels: withKey("1"),
        });
        return await labelsOfSnapshot();
      },
    ],
    [
      "changed labels of a snapshot",
      async () => {
        await fixture.api.snapshots.prepare({ snapshotter, key: id() });
        const info = { ...Info.fromPartial({ name: id() }), labels: withKey("1") };
        const updateMask = ["labels.a", "labels.__proto__"];
        return (await fixture.api.snapshots.update({ snapshotter, info, updateMask })).info!.labels;
      },
    ],
  ])("%s", async (_, made) => {
    const { api } = fixture;
    try {
      // Nobody asked for it to be left out; ours says that it can't be kept.
      if (isDebians) expect(Object.keys(await made()).sort()).toEqual(["__proto__", "a"]);
      else expect(await refusal(made())).toMatch(/^INVALID_ARGUMENT: .*the key "__proto__" can't be kept/);
    } finally {
      await api.containers.delete({ id: id() }).catch(() => {});
      await api.leases.delete({ id: id() }).catch(() => {});
      await api.namespaces.delete({ name: id() }).catch(() => {});
      await api.images.delete({ name: id() }).catch(() => {});
      await api.content.delete({ digest }).catch(() => {});
      for (const key of [id(), `${id()}-active`]) await api.snapshots.remove({ snapshotter, key }).catch(() => {});
    }
  });

  test("of an event: filters find it, and it arrives", async () => {
    const { api } = fixture;
    const message = { id: "x", image: "", labels: withKey("1"), snapshotKey: "" };
    const event = {
      typeUrl: "containerd.events.ContainerUpdate",
      value: Buffer.from(ContainerUpdate.encode(message).finish()),
    };
    using found = await api.subscribe("event.labels.__proto__==1");
    using other = await api.subscribe("event.labels.__proto__==2");
    await api.events.publish({ topic: "/containers/update", event });
    const { event: told } = await found.waitFor("/containers/update", { id: "x" });
    expect(Object.entries(told.labels)).toEqual(Object.entries(withKey("1")));
    expect(other.events).toEqual([]);
  });
});

/** What becomes of a task whose container, or whose Create, is like this. */
interface Bad {
  container?: Partial<ContainerOptions>;
  request?: (dir: string) => Partial<CreateTaskRequest>;
  words: RegExp;
  /** When containerd 1.6's differ. */
  debians?: RegExp;
}

const bytes = (text: string): Any => ({ ...json("Spec", {}), value: Buffer.from(text) });
const mount = (type: string, source: string, ...options: string[]) => ({ type, source, target: "", options });
const nameless = { typeUrl: "unknown.Thing", value: Buffer.from("{}") };

const BAD_TASKS: Record<string, Bad> = {
  "a specification that is no JSON": {
    container: { record: { spec: bytes("{nope") } },
    words: /config\.json:1:2: |invalid character/,
  },
  "a specification that is a list": { container: { record: { spec: bytes("[1]") } }, words: /./ },
  "a specification that is null": { container: { record: { spec: bytes("null") } }, words: /./ },
  "an empty specification": { container: { record: { spec: bytes("") } }, words: /./ },
  "a specification without a process": { container: { record: { spec: bytes("{}") } }, words: /process|root/ },
  "a specification of an unknown type": {
    container: { record: { spec: nameless } },
    words: /process|root|unknown\.Thing/,
  },
  "a specification for Windows": {
    container: {
      spec: (spec: Spec) => {
        delete (spec as Partial<Spec>).linux;
        spec.windows = { layerFolders: ["C:\\layers"] };
      },
    },
    words: /UTS|linux|platform|windows/i,
  },
  "a mount type that does not exist": {
    request: () => ({ rootfs: [mount("nope", "nope")] }),
    words: /mount.*nope.*(no such device|unknown file system type)/s,
  },
  "a mount of what is not there": {
    request: () => ({ rootfs: [mount("bind", "/nope/nope", "rbind")] }),
    words: /mount.*\/nope\/nope.*(no such file or directory|does not exist)/s,
  },
  "a second mount that can't be": {
    request: (dir) => ({ rootfs: [mount("bind", dir, "rbind"), mount("nope", "nope")] }),
    words: /mount.*nope.*(no such device|unknown file system type)/s,
  },
  "a shim that is not there": {
    container: { record: { runtime: { name: "io.containerd.nope.v2", options: undefined } } },
    words: /io\.containerd\.nope\.v2/,
  },
  "a runtime by a path that is not there": {
    container: { record: { runtime: { name: "/nope/nope", options: undefined } } },
    words: /\/nope\/nope/,
  },
  "a runtime with a name that is none": {
    container: { record: { runtime: { name: "garbage", options: undefined } } },
    words: /garbage/,
  },
  "a runtime's options of an unknown type": {
    container: { record: { runtime: { name: "io.containerd.runc.v2", options: nameless } } },
    words: /unknown\.Thing/,
  },
  "options of an unknown type": { request: () => ({ options: nameless }), words: /unknown\.Thing/ },
  "options that are no protobuf": {
    request: () => ({ options: { typeUrl: "containerd.runc.v1.Options", value: Buffer.from("garbage") } }),
    words: /containerd\.runc\.v1\.Options|options|wire ?type/i,
  },
  "options of any runtime, of one that is not here": {
    request: () => ({ options: { typeUrl: "runtimeoptions.v1.Options", value: Buffer.from("\n\x04runX\x12\x02/x") } }),
    words: isDebians ? /./ : /^INVALID_ARGUMENT: .*"runX".*containerd\.runc\.v1\.Options/,
  },
  // containerd 1.6 waits until the client leaves.
  ...(isDebians
    ? {}
    : {
        "stdin is a directory": {
          request: (dir: string) => ({ stdin: dir }),
          words: /is a directory|EISDIR|not a FIFO/i,
        },
        "stdin is missing": {
          request: (dir: string) => ({ stdin: join(dir, "missing") }),
          words: /missing.*no such file or directory/s,
        },
      }),
  "stdout is a directory": { request: (dir) => ({ stdout: dir }), words: /is a directory|EISDIR|not a FIFO/i },
  "stdout is missing": {
    request: (dir) => ({ stdout: join(dir, "missing") }),
    words: /missing.*no such file or directory/s,
  },
  "stdout in a directory that is missing": {
    request: (dir) => ({ stdout: join(dir, "missing/out") }),
    words: /missing\/out.*no such file or directory/s,
  },
  "stderr is a directory": {
    request: (dir) => ({ stdout: "/dev/null", stderr: dir }),
    words: /is a directory|EISDIR|not a FIFO/i,
  },
  "stdout is a URI that nobody knows": { request: () => ({ stdout: "nope:///x" }), words: /nope/ },
  "stdout is a program that is missing": {
    request: () => ({ stdout: "binary:///nope/nope" }),
    words: /\/nope\/nope.*no such file or directory/s,
  },
  "a command that is missing": {
    container: { args: ["/nope"] },
    words: /OCI runtime create failed.*exec: "\/nope": stat \/nope: no such file or directory/,
  },
  "a command that is not on the PATH": {
    container: { args: ["nope"] },
    words: /OCI runtime create failed.*exec: "nope": executable file not found in \$PATH/,
  },
  "a command that can't be executed": {
    container: { args: ["/etc"] },
    words: /OCI runtime create failed.*exec: "\/etc": (permission denied|is a directory)/,
  },
};

describe("a task that can't be created", () => {
  let count = 0;
  afterAll(async () => {
    await fixture.daemon.expectNothingLeft();
  });

  test.each(Object.entries(BAD_TASKS))("%s", async (_, { container, request, words }) => {
    const { daemon, api } = fixture;
    using events = await api.subscribe();
    const name = `bad-${count++}`;
    const id = await createContainer(daemon, api, { name, args: ["sleep", "1000"], ...container });
    const dir = join(daemon.dir, name);
    mkdirSync(dir);
    const create = () => api.tasks.create({ containerId: id, ...request?.(dir) });
    const text = await refusal(create());
    expect(text).toMatch(words);
    expect(text).toMatch(BAD);
    // The same again: nothing of the first try is in the way. (Of containerd 1.6's, some is.)
    if (!isDebians) expect(await refusal(create())).toBe(text);
    expect(await refusal(api.tasks.get({ containerId: id }))).toMatch(/^NOT_FOUND: task .* not found/);
    expect(events.told(id)).toEqual(["/containers/create"]);
    await api.containers.delete({ id });
  });
});

test("a specification of 20 MB: refused, as a message over 16 MiB; one of 10 MB works", async () => {
  const { daemon, api } = fixture;
  const create = (megabytes: number) =>
    createContainer(daemon, api, {
      name: `mb-${megabytes}`,
      args: ["true"],
      env: [`X=${"x".repeat(megabytes << 20)}`],
    });
  expect(await refusal(create(20))).toMatch(/^RESOURCE_EXHAUSTED: .*larger than max/);
  await create(10);
  const id = daemon.id("mb-10");
  expect((await api.containers.get({ id })).container!.spec!.value.length).toBeGreaterThan(10 << 20);
  await api.containers.delete({ id });
});

test("a container without a specification, or a runtime", async () => {
  const { daemon, api } = fixture;
  const create = (record: ContainerOptions["record"]) =>
    createContainer(daemon, api, { name: "bare", args: ["true"], record: record! });
  expect(await refusal(create({ spec: undefined }))).toMatch(/^INVALID_ARGUMENT: .*[Ss]pec must be set/);
  expect(await refusal(create({ runtime: undefined }))).toMatch(/^INVALID_ARGUMENT: .*[Rr]untime.* must be set/);
});

describe("processes of a task that runs", () => {
  let id: string;
  beforeAll(async () => {
    id = (await startTask(fixture.daemon, fixture.api, { name: "running", args: ["sleep", "1000"] })).id;
  });
  afterAll(async () => {
    await removeContainer(fixture.api, id);
    await fixture.daemon.expectNothingLeft();
  });
  const process = (more: Partial<Spec["process"]> = {}) =>
    json("Process", { ...specification({ args: ["sleep", "1000"] }).process, ...more });

  // containerd 1.6's shim dies of these, and its task with it.
  test.skipIf(isDebians).each<[string, Any | undefined]>([
    ["no process", undefined],
    ["a process of an unknown type", nameless],
    ["a process that is no JSON", { ...process(), value: Buffer.from("{nope") }],
    ["a process that is a list", { ...process(), value: Buffer.from("[]") }],
    ["a process without a command", json("Process", { cwd: "/" })],
    ["a process whose command is no list", json("Process", { args: "true", cwd: "/" })],
  ])("%s", async (_, spec) => {
    const { api } = fixture;
    const exec = async () => {
      await api.tasks.exec({ containerId: id, execId: "e", spec });
      await api.tasks.start({ containerId: id, execId: "e" });
    };
    expect(await refusal(exec())).toMatch(/^(INVALID_ARGUMENT|UNKNOWN): /);
    await api.tasks.deleteProcess({ containerId: id, execId: "e" }).catch(() => {});
    expect(await refusal(api.tasks.get({ containerId: id, execId: "e" }))).toMatch(
      "NOT_FOUND: process does not exist e",
    );
    expect((await api.tasks.get({ containerId: id })).process!.pid).toBeGreaterThan(0);
  });

  test.each<[string, Partial<Spec["process"]>, RegExp]>([
    [
      "a command that is missing",
      { args: ["nope"] },
      /OCI runtime exec failed.*exec: "nope": executable file not found in \$PATH/,
    ],
    ["a user that can't be", { user: { uid: -2, gid: 0 } }, /OCI runtime exec failed|user|uid/],
    ["a directory that is missing", { cwd: "/nope" }, /OCI runtime exec failed.*\/nope/],
  ])("%s: the start fails, and its name can be deleted", async (_, more, words) => {
    const { api } = fixture;
    const exec = async () => {
      await api.tasks.exec({ containerId: id, execId: "e", spec: process(more) });
      await api.tasks.start({ containerId: id, execId: "e" });
    };
    expect(await refusal(exec())).toMatch(words);
    await api.tasks.deleteProcess({ containerId: id, execId: "e" }).catch(() => {});
    expect(await refusal(api.tasks.get({ containerId: id, execId: "e" }))).toMatch(
      "NOT_FOUND: process does not exist e",
    );
  });

  // The shim of containerd 1.6 waits for them until its client leaves, and answers nobody any more.
  test.skipIf(isDebians).each<[stream: "stdin" | "stdout", string, (dir: string) => string, RegExp]>([
    ["stdin", "a directory", (dir) => dir, /is a directory|EISDIR|not a FIFO/i],
    ["stdin", "missing", (dir) => join(dir, "missing"), /missing.*no such file or directory/s],
    ["stdin", "a URI that nobody knows", () => "nope:///x", /nope/],
    ["stdout", "a directory", (dir) => dir, /is a directory|EISDIR|not a FIFO/i],
    ["stdout", "missing", (dir) => join(dir, "missing"), /missing.*no such file or directory/s],
    ["stdout", "a URI that nobody knows", () => "nope:///x", /nope/],
  ])("an exec whose %s is %s", async (stream, name, path, words) => {
    const { daemon, api } = fixture;
    const dir = join(daemon.dir, `exec-${stream}-${name.replaceAll(" ", "-")}`);
    mkdirSync(dir);
    const exec = async () => {
      await api.tasks.exec({ containerId: id, execId: "e", spec: process(), [stream]: path(dir) });
      await api.tasks.start({ containerId: id, execId: "e" });
    };
    expect(await refusal(exec())).toMatch(words);
    await api.tasks.deleteProcess({ containerId: id, execId: "e" }).catch(() => {});
    expect(await refusal(api.tasks.get({ containerId: id, execId: "e" }))).toMatch(
      "NOT_FOUND: process does not exist e",
    );
  });

  test.each(["", ...BAD_NAMES])("an exec with the name %j", async (execId) => {
    const text = await refusal(fixture.api.tasks.exec({ containerId: id, execId, spec: process() }));
    expect(text).toMatch(/^INVALID_ARGUMENT: /);
    expect(text).toMatch(execId === "" ? /empty/ : RULE);
  });

  test.each([65, 999, 2 ** 31])("signal %i", async (signal) => {
    expect(await refusal(fixture.api.tasks.kill({ containerId: id, signal }))).toMatch(BAD);
    expect((await fixture.api.tasks.get({ containerId: id })).process!.pid).toBeGreaterThan(0);
  });

  test("resources of an unknown type, or that are no JSON", async () => {
    const { api } = fixture;
    const noJson = { ...json("LinuxResources", {}), value: Buffer.from("{nope") };
    // containerd 1.6 takes every type for the right one.
    for (const resources of isDebians ? [noJson] : [noJson, nameless])
      expect(await refusal(api.tasks.update({ containerId: id, resources }))).toMatch(BAD);
  });
});

/** Files into and out of containers, what they have changed, and images of that, by the library. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ContainerdError, type CreateOptions } from "../../../src/client/index.js";
import { importRootfs, useClient } from "../../harness/client.js";
import { full } from "../../harness/extent.js";
import { archive } from "../../images/layers/archive.js";

const here = useClient();
const image = "files:1";

beforeAll(async () => {
  // The root of a container with ids of its own is nobody on the host, and has to get to its files.
  chmodSync(here.daemon.dir, 0o711);
  await importRootfs(here.client, image);
});
afterAll(async () => {
  expect(await here.client.containers.list()).toEqual([]);
  await here.client.images.prune({ all: true });
});

const start = (options: Partial<CreateOptions> = {}) =>
  here.client.containers.start({ image, pull: "never", writable: true, args: ["sleep", "1000"], ...options });

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("it went well"),
    (error: unknown) => error as ContainerdError,
  );

/** The names in a tar archive, as tar(1) reads them. */
async function namesIn(data: Readable): Promise<string[]> {
  const tar = spawn("tar", ["-t"]);
  data.pipe(tar.stdin);
  const [names] = await Promise.all([buffer(tar.stdout), once(tar, "exit")]);
  return `${names}`.trim().split("\n");
}

test("files of a container with ids of its own: put, read and written inside, got outside", async () => {
  const stdioDir = here.daemon.dir;
  await using container = await start({ userns: "auto", user: "1000:1000", env: { HOME: "/tmp" } });
  await container.putFiles("/srv/job", {
    "main.sh": { data: "#!/bin/sh\ncat /srv/job/data/in >/srv/job/data/out\n", mode: 0o755 },
    "data/in": Buffer.from([0, 1, 2, 255]),
    "dä€/ü": "text",
  });
  expect(await container.stat("/srv/job/main.sh")).toMatchObject({ uid: 1000, gid: 1000, mode: 0o100755, size: 50 });
  await container.exec(["chown", "-R", "1000", "/srv/job"], { user: 0, stdioDir });
  expect(await container.exec(["/srv/job/main.sh"], { stdioDir })).toMatchObject({ status: 0, stderr: "" });
  expect(await container.readFile("/srv/job/data/out", { encoding: "buffer" })).toEqual(Buffer.from([0, 1, 2, 255]));
  expect(await container.readFile("/srv/job/dä€/ü")).toBe("text");
  const inside = await container.exec(["stat", "-c", "%u:%g", "/srv/job/data/out", "/srv/job/dä€/ü"], { stdioDir });
  expect(inside.stdout).toBe("1000:1000\n1000:1000\n");
  expect(await container.stat("/srv/job/data/out")).toMatchObject({ uid: 1000, gid: 1000, name: "out" });
  expect(await namesIn(await container.getFiles("/srv/job/data"))).toEqual(["data/", "data/in", "data/out"]);
  const changes = await container.diff();
  expect(changes).toContainEqual({ path: "/srv/job/data/out", kind: "added" });
  await container.stop({ grace: 0 });
  await container.writeFile("/srv/job/later", "x".repeat(300_000));
  expect((await container.readFile("/srv/job/later")).length).toBe(300_000);
});

test("a tar archive keeps its owners, from bytes and from a stream; an image of what was put", async () => {
  await using container = await start();
  const data = archive([{ name: "a/b", mode: 0o640, uid: 5, data: Buffer.from("content") }]);
  await container.putFiles("/srv", data);
  await container.putFiles("/opt/there", Readable.from([data.subarray(0, 700), data.subarray(700)]));
  expect(await container.stat("/opt/there/a/b")).toMatchObject({ uid: 5, mode: 0o100640 });
  await container.putFiles("/srv", await container.getFiles("/opt/there"));
  expect(await container.readFile("/srv/there/a/b")).toBe("content");
  const digest = await container.commit("made:1", { changes: ['CMD ["cat", "/srv/a/b"]'], message: "files" });
  expect(await here.client.images.get("made:1")).toMatchObject({ digest });
  const options = { image: "made:1", stdioDir: here.daemon.dir, userns: "host" } as const;
  expect(await here.client.run(options)).toMatchObject({ stdout: "content", status: 0 });
  expect((await container.inspect()).status).toBe("running");
});

test("a fork has the same files, with ids of its own, and each goes its own way from then on", async () => {
  const stdioDir = here.daemon.dir;
  await using container = await start({ userns: "auto", user: "1000", labels: { of: "both" }, name: "source" });
  await container.putFiles("/srv", { "state/a": "one", "state/b": { data: "two", mode: 0o600 } });
  await container.exec(["rm", "/bin/vi"], { user: 0, stdioDir });
  await using fork = await container.fork({ name: "fork" });
  expect((await container.inspect()).status).toBe("running");
  expect(await fork.inspect()).toMatchObject({ status: "created", name: "fork", labels: { of: "both" } });
  expect(await fork.readFile("/srv/state/a")).toBe("one");
  await fork.start();
  const { uidMap } = await fork.inspect();
  expect(uidMap).not.toEqual(container.info!.uidMap);
  const seen = await fork.exec(["sh", "-c", "stat -c '%u %a' /srv/state/*; cat /srv/state/b; ls /bin/vi"], {
    stdioDir,
  });
  expect(seen).toMatchObject({ stdout: "1000 644\n1000 600\ntwo", status: 1 });
  await fork.writeFile("/srv/state/a", "three");
  expect(await container.readFile("/srv/state/a")).toBe("one");
  await container.stop({ grace: 0 });
  await using second = await fork.fork({ labels: { of: "second" } });
  await using third = await container.fork();
  expect(second).toMatchObject({ warnings: [] });
  expect((await second.inspect()).labels).toEqual({ of: "second" });
  expect([await second.readFile("/srv/state/a"), await third.readFile("/srv/state/a")]).toEqual(["three", "one"]);
  await using fixed = await start({ readOnly: true, writable: false });
  expect(await failure(fixed.fork())).toMatchObject({ kind: "wrong-state" });
  expect(await failure(container.fork({ name: "fork" }))).toMatchObject({ kind: "id-in-use" });
  expect(await here.client.containers.list()).toHaveLength(5);
  await fork.putFiles("/srv/more", Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`d${n}/f`, "x"])));
  const calledOff = new AbortController();
  const forking = failure(fork.fork({ signal: calledOff.signal }));
  await expect.poll(() => fork.state(), { interval: 1 }).toBe("paused");
  calledOff.abort();
  expect(await forking).toMatchObject({ name: "AbortError" });
  await expect.poll(() => fork.state()).toBe("running");
  await expect.poll(async () => (await here.client.containers.list()).length).toBe(5);
  await expect.poll(halfFilled).toEqual([]);
});

/** What a fork has begun to fill that is no container's yet. */
const halfFilled = () => readdirSync(join(here.daemon.root, "snapshots")).filter((name) => name.startsWith("fill-"));

test.skipIf(!full)(
  "a fork whose daemon is killed meanwhile is made by the next one; nothing else is left",
  async () => {
    await using source = await start();
    await source.putFiles("/srv", Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`d${n}/f`, "x"])));
    const forking = source.fork();
    await expect.poll(() => source.state(), { interval: 1 }).toBe("paused");
    await here.daemon.kill();
    await here.daemon.start();
    await using fork = await forking;
    expect(await fork.readFile("/srv/d999/f")).toBe("x");
    expect(await source.state()).toBe("running");
    await expect.poll(halfFilled).toEqual([]);
  },
);

test("what can't be says so, and nothing is changed", async () => {
  await using container = await start();
  await using fixed = await here.client.containers.create({
    image,
    pull: "never",
    args: ["true"],
    readOnly: true,
    writable: false,
  });
  const kinds = async (...tries: Promise<unknown>[]) =>
    (await Promise.all(tries.map(failure))).map(({ name, message, kind }) => `${kind ?? name}: ${message}`);
  expect(
    await kinds(
      container.putFiles("srv", {}),
      container.putFiles("/srv", { "../x": "" }),
      container.putFiles("/srv", { x: 5 as never }),
      container.putFiles("/srv", { x: { data: "", mode: 0o10000 } }),
      container.putFiles("/srv", "text" as never),
      container.writeFile("/srv/", "x"),
      container.readFile("/bin"),
      container.readFile("/bin/busybox", { maxSize: 10 }),
      container.commit("No Name"),
    ),
  ).toEqual([
    expect.stringMatching(/^TypeError: path must be an absolute path, not "srv"/),
    expect.stringMatching(/^TypeError: a name in files must be .*"\.\.\/x"/),
    expect.stringMatching(/^TypeError: files\["x"\] must be .*5/),
    expect.stringMatching(/^RangeError: files\["x"\].mode must be .*4096/),
    expect.stringMatching(/^TypeError: files must be .*"text"/),
    expect.stringMatching(/^TypeError: path must be the path of a file, not "\/srv\/"/),
    expect.stringMatching(/^TypeError: "\/bin" is no file, but a directory/),
    expect.stringMatching(/^RangeError: "\/bin\/busybox" is of \d+ bytes, more than maxSize, 10/),
    expect.stringMatching(/^TypeError: .*No Name/),
  ]);
  const broken = new Error("no more");
  const source = async function* () {
    yield Buffer.alloc(100);
    throw broken;
  };
  expect(await failure(container.putFiles("/srv/new", source()))).toBe(broken);
  expect(
    await kinds(
      container.getFiles("/nowhere"),
      container.readFile("/nowhere"),
      container.putFiles("/bin/sh/x", { y: "" }),
      container.putFiles("/srv", Buffer.alloc(1000, "x")),
      fixed.putFiles("/srv", { x: "" }),
      fixed.commit("made:2"),
      container.commit("made:2", { changes: ["RUN x"] }),
    ),
  ).toEqual([
    expect.stringMatching(/^not-found: .*\/nowhere/),
    expect.stringMatching(/^not-found: .*\/nowhere/),
    expect.stringMatching(/^refused: .*\/bin\/sh/),
    expect.stringMatching(/^refused: /),
    expect.stringMatching(/^wrong-state: .*writable: true/),
    expect.stringMatching(/^wrong-state: .*writable: true/),
    expect.stringMatching(/^refused: .*RUN x/),
  ]);
  expect(await container.diff()).not.toContainEqual({ path: "/srv/x", kind: "added" });
  const gone = await here.client.containers.get(container.id);
  await container.remove({ force: true });
  expect(await failure(gone.diff())).toBeInstanceOf(ContainerdError);
  expect(await failure(gone.putFiles("/srv", { x: "" }))).toMatchObject({ isNotFound: true });
});

/** Images of the client library, with a real registry and real archives. */
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, type ImageProgress } from "../../src/client/index.js";
import { useClient } from "../harness/client.js";
import { startDaemon } from "../harness/daemon.js";
import { hasRegistry, USER, useRegistry } from "../harness/registry.js";
import { directoryPrefix } from "../harness/run-name.js";
import { makeTestImage, type StandardImage } from "../harness/test-images.js";

const fixture = useClient();

let dir: string;
let archive: string;
let base: StandardImage;
beforeAll(async () => {
  dir = mkdtempSync(directoryPrefix());
  const config = { Cmd: ["echo", "hi"], Env: ["A=b"], User: "web", WorkingDir: "/home", Labels: { l: "1" } };
  base = await makeTestImage(join(dir, "base"), "base", { config });
  archive = join(dir, "base.tar");
  await base.layout.archive(archive);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const digest = () => base.image.manifest.digest;
const NAME = "registry.test/base:latest";

test("an archive is imported from a stream, and told of while it comes", async () => {
  const { images } = fixture.client;
  const told: ImageProgress[] = [];
  const imported = await images.import(createReadStream(archive), { onProgress: (progress) => told.push(progress) });
  expect(imported.map(({ name, digest }) => ({ name, digest }))).toEqual([{ name: NAME, digest: digest() }]);
  expect(told[0]!.event).toBe("Importing");
  expect(told.some(({ event, name }) => event === "saved" && name === NAME)).toBe(true);
  expect(imported[0]!.createdAt.getTime()).toBeGreaterThan(Date.now() - 3_600_000);
  expect(await images.list()).toEqual(imported);
  expect(await images.get("registry.test/base")).toEqual(imported[0]);
});

test("what an image is made of", async () => {
  const details = await fixture.client.images.inspect(NAME);
  const { image } = base;
  expect(details).toMatchObject({
    ...{ name: NAME, platform: "linux/amd64", platforms: ["linux/amd64"], chainId: image.chainIds.at(-1) },
    config: { cmd: ["echo", "hi"], env: ["A=b"], user: "web", workingDir: "/home", labels: { l: "1" } },
    history: [{ createdBy: "layer 0", emptyLayer: false }],
    layers: [
      { ...image.layers[0]!.descriptor, diffId: image.layers[0]!.diffId, createdBy: "layer 0", isPresent: true },
    ],
    size: image.config.size + image.layers[0]!.descriptor.size,
  });
  await expect(fixture.client.images.inspect(NAME, { platform: "linux/s390x" })).rejects.toMatchObject({
    kind: "not-found",
    message: `image ${NAME} has nothing for linux/s390x: it has linux/amd64`,
  });
});

test("another name, by which it is removed again", async () => {
  const { images } = fixture.client;
  expect(await images.tag(NAME, "other")).toMatchObject({ name: "docker.io/library/other:latest", digest: digest() });
  expect((await images.list({ filters: ["name~=other"] })).map(({ name }) => name)).toEqual([
    "docker.io/library/other:latest",
  ]);
  await images.remove("other", { wait: true });
  await expect(images.get("other")).rejects.toMatchObject({ kind: "not-found", code: "NOT_FOUND" });
  await expect(images.remove("other")).rejects.toMatchObject({ kind: "not-found" });
});

test("an archive that was exported is imported by another daemon", async () => {
  const path = join(dir, "exported.tar");
  await pipeline(fixture.client.images.export(NAME), createWriteStream(path));
  await using daemon = await startDaemon();
  await using client = connect(daemon.listen);
  // As bytes, and as another name.
  const [image] = await client.images.import(readFileSync(path), { name: "again:1" });
  expect(image).toMatchObject({ name: "docker.io/library/again:1" });
  expect((await client.images.inspect("again:1")).layers).toEqual((await fixture.client.images.inspect(NAME)).layers);
});

test("leaving an export ends it, an abort ends an import, and both can be done again", async () => {
  const { images } = fixture.client;
  for await (const chunk of images.export(NAME)) {
    expect(chunk.length).toBeGreaterThan(0);
    break;
  }
  const caller = new AbortController();
  const endless = async function* () {
    yield* createReadStream(archive, { end: 100_000 });
    caller.abort(new Error("enough"));
    await new Promise(() => {});
  };
  await expect(images.import(endless(), { name: "endless", signal: caller.signal })).rejects.toThrow("enough");
  await expect(images.get("endless")).rejects.toMatchObject({ kind: "not-found" });
  const broken = async function* () {
    yield Buffer.alloc(10_000);
    throw new Error("the disk is gone");
  };
  await expect(images.import(broken())).rejects.toThrow("the disk is gone");
  const progress = () => {
    throw new Error("no ears");
  };
  await expect(images.import(createReadStream(archive), { onProgress: progress })).rejects.toThrow("no ears");
  expect(await images.import(createReadStream(archive))).toHaveLength(1);
});

test("prune lets go of what nothing needs, and says how much that was", async () => {
  await using daemon = await startDaemon();
  await using client = connect(daemon.listen);
  await client.images.import(createReadStream(archive));
  const { blobs, snapshots } = await client.images.usage();
  expect(blobs.count).toBeGreaterThan(2);
  expect(snapshots.count).toBe(1);
  expect(await client.images.prune()).toEqual({ removed: [], freed: 0 });
  const { removed, freed } = await client.images.prune({ all: true });
  expect(removed).toEqual([NAME]);
  expect(freed).toBe(blobs.bytes + snapshots.bytes);
  expect(await client.images.usage()).toEqual({ blobs: { count: 0, bytes: 0 }, snapshots: { count: 0, bytes: 0 } });
});

test("namespaces have images of their own", async () => {
  await using client = connect(fixture.daemon.listen, { namespace: "other" });
  expect(await client.images.list()).toEqual([]);
  expect(await client.images.in("default").list()).toHaveLength(1);
  expect(client.v1.namespace).toBe("other");
});

test("wrong names and options are told by their names", async () => {
  const { images } = fixture.client;
  await expect(images.pull("UPPER")).rejects.toThrow(/invalid image name "UPPER": the path must be in lower case/);
  await expect(images.get("")).rejects.toThrow('invalid image name "": it is empty');
  await expect(images.pull("a", { platform: "linux" })).rejects.toThrow(/platform must be .*, not "linux"/);
  await expect(images.pull("a", { platfrom: "linux/arm64" } as object)).rejects.toThrow(/unknown option platfrom/);
  await expect(images.import(7 as never)).rejects.toThrow("archive must be bytes or a stream of them, not 7");
  const told = await images
    .pull("a", { auth: { username: "me", password: 7, extra: "s3cret" } as never })
    .catch(String);
  expect(told).toMatch(/auth must be/);
  expect(told).not.toContain("s3cret");
  await expect(images.export([]).next()).rejects.toThrow("images must be a name");
});

test("the services of containerd 1.x", async () => {
  const { v1 } = fixture.client;
  const { image } = await v1.images.get({ name: NAME });
  expect(image!.target!.digest).toBe(digest());
  let bytes = 0;
  for await (const { data } of await v1.content.read({ digest: digest() })) bytes += data.length;
  expect(bytes).toBe(base.image.manifest.size);
  await expect(v1.images.get({ nmae: "x" } as object)).rejects.toThrow('unknown field nmae ("x"), allowed are name');
  const write = await v1.content.write();
  await write.send({
    ...{ action: 2, ref: "k", total: 5n, expected: "", offset: 0n, data: Buffer.from("hello"), labels: {} },
  });
  const { value } = await write.next();
  expect(value).toMatchObject({ offset: 5n });
  write.end();
  expect((await write.next()).done).toBe(true);
  await v1.content.delete({ digest: value!.digest });
});

describe.skipIf(!hasRegistry)("a registry", () => {
  const plain = useRegistry();
  const closed = useRegistry({ htpasswd: true });

  test("what was pushed is pulled", async () => {
    await using daemon = await startDaemon();
    await using client = connect(daemon.listen);
    const name = `${plain.registry.host}/team/base:1`;
    const { images } = fixture.client;
    await images.push(NAME, { as: name, plainHttp: true });
    const told: ImageProgress[] = [];
    const pulled = await client.images.pull(name, { plainHttp: true, onProgress: (progress) => told.push(progress) });
    expect(pulled).toMatchObject({ name, digest: digest() });
    const layer = told.filter(({ name }) => name.startsWith("layer-"));
    expect(layer.at(-1)).toMatchObject({ digest: base.image.layers[0]!.descriptor.digest });
    expect(layer.at(-1)!.progress).toBe(layer.at(-1)!.total);
    await expect(client.images.pull(`${name}nope`, { plainHttp: true })).rejects.toMatchObject({ kind: "not-found" });
  });

  test("credentials: given, asked for, wrong, none", async () => {
    const { images } = fixture.client;
    const name = `${closed.registry.host}/base:1`;
    const pull = { plainHttp: true };
    await images.push(NAME, { as: name, plainHttp: true, auth: USER });
    const asked: string[] = [];
    const auth = async ({ host }: { host: string }) => {
      asked.push(host);
      return USER;
    };
    expect(await images.pull(name, { ...pull, auth })).toMatchObject({ name });
    expect(asked).toEqual([closed.registry.host]);
    for (const auth of [undefined, { username: "tester", password: "wrong" }, () => undefined])
      await expect(images.pull(name, { ...pull, auth })).rejects.toMatchObject({ kind: "denied" });
    const forgetful = () => Promise.reject(new Error("no idea"));
    await expect(images.pull(name, { ...pull, auth: forgetful })).rejects.toThrow("no idea");
    await images.remove(name);
  });
});

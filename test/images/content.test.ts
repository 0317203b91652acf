/** containerd 1.x's content service: blobs by their digests, and those that are being written. */
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { Info } from "../../src/proto/containerd/services/content/v1/content.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { listBlobs, putBlob } from "../harness/content-blobs.js";
import { sha256, type WriteRequest } from "../harness/content-writer.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();

/** Unlike that of any other test. */
function blob(size = 100): { data: Buffer; digest: string } {
  const data = randomBytes(size);
  return { data, digest: sha256(data) };
}

const LEASE = "keeps";
const leased = new Set<string>();

/** A lease: containerd collects very soon what nothing needs. */
async function leaseIn(api: ApiV1): Promise<string> {
  if (!leased.has(api.namespace)) await api.leases.create({ id: LEASE });
  leased.add(api.namespace);
  return LEASE;
}

/** A writer whose content stays. */
async function keeping(api: ApiV1) {
  return api.writeContent({ lease: await leaseIn(api) });
}

async function put(api: ApiV1, data: Buffer, request: WriteRequest = {}): Promise<string> {
  return await putBlob(api, data, { lease: await leaseIn(api), ...request });
}

async function get(api: ApiV1, digest: string, part = {}): Promise<Buffer> {
  using stream = api.readContent(digest, part);
  await stream.ended;
  return Buffer.concat(stream.messages.map(({ data }) => data));
}

const time = ({ seconds, nanos } = { seconds: 0n, nanos: 0 }) => seconds * 1_000_000_000n + BigInt(nanos);

test("is written, told of, read, changed and deleted", async () => {
  const { api } = fixture;
  const before = BigInt(Date.now() - 1) * 1_000_000n;
  const { data, digest } = blob(3_000_000);
  using writer = await keeping(api);
  const first = await writer.stat({ ref: "whole", total: 3_000_000n, expected: digest });
  expect(first).toMatchObject({ action: 0, offset: 0n, total: 3_000_000n, digest: sha256("") });
  expect(time(first.startedAt)).toBeGreaterThan(before);
  const part = data.subarray(0, 2_000_000);
  expect(await writer.write({ ref: "whole", data: part })).toMatchObject({
    action: 1,
    offset: 2_000_000n,
    digest: sha256(part),
  });
  const { status } = await api.content.status({ ref: "whole" });
  expect(status).toMatchObject({ ref: "whole", offset: 2_000_000n, total: 3_000_000n });
  expect(await refusal(api.content.info({ digest }))).toBe(`NOT_FOUND: content digest ${digest}: not found`);
  expect(
    await writer.commit({
      offset: 2_000_000n,
      data: data.subarray(2_000_000),
      labels: { a: "1", "b.c/d": "2", e: "" },
    }),
  ).toMatchObject({ action: 2, offset: 3_000_000n, digest });
  await writer.end();
  expect(await refusal(api.content.status({ ref: "whole" }))).toContain("NOT_FOUND: ");

  const { info } = await api.content.info({ digest });
  expect(info).toMatchObject({ digest, size: 3_000_000n, labels: { a: "1", "b.c/d": "2" } });
  expect(time(info!.createdAt)).toBeGreaterThan(before);
  expect(time(info!.updatedAt)).toBe(time(info!.createdAt));
  expect((await get(api, digest)).equals(data)).toBe(true);

  const { info: changed } = await api.content.update({
    info: { ...info!, labels: { a: "", f: "3" } },
    updateMask: ["labels.a", "labels.f"],
  });
  expect(changed!.labels).toEqual({ "b.c/d": "2", f: "3" });
  expect(time(changed!.updatedAt)).toBeGreaterThan(time(info!.updatedAt));
  await api.content.update({ info: { ...info!, labels: { only: "this" } }, updateMask: undefined });
  expect((await api.content.info({ digest })).info).toMatchObject({ size: 3_000_000n, labels: { only: "this" } });

  await api.content.delete({ digest });
  for (const call of [() => api.content.info({ digest }), () => api.content.delete({ digest }), () => get(api, digest)])
    expect(await refusal(call())).toBe(`NOT_FOUND: content digest ${digest}: not found`);
});

test("a part of it is read", async () => {
  const { api } = fixture;
  const { data, digest } = blob(2_500_000);
  await put(api, data);
  const read = async (offset: number, size: number) => {
    using stream = api.readContent(digest, { offset: BigInt(offset), size: BigInt(size) });
    await stream.ended;
    let next = 0n;
    for (const message of stream.messages) {
      expect(message.data.length).toBeLessThanOrEqual(1 << 20);
      expect(message.offset).toBe(next);
      next += BigInt(message.data.length);
    }
    return Buffer.concat(stream.messages.map((message) => message.data));
  };
  expect((await read(1_000_001, 1_200_000)).equals(data.subarray(1_000_001, 2_200_001))).toBe(true);
  expect((await read(2_499_999, 10)).equals(data.subarray(2_499_999))).toBe(true);
  expect((await read(-5, 3)).equals(data.subarray(0, 3))).toBe(true);
  expect((await read(5, -1)).equals(data.subarray(5))).toBe(true);
  expect(await read(2_500_000, 1)).toHaveLength(0);
  expect(await refusal(get(api, digest, { offset: 2_500_001n }))).toMatch(
    /^OUT_OF_RANGE: read past object length 2500000 bytes/,
  );
});

test("what is there is not written again, in its namespace", async () => {
  const { api } = fixture;
  const { data, digest } = blob();
  await put(api, data, { labels: { mine: "yes" } });
  using first = api.writeContent();
  expect(await refusal(first.stat({ ref: "again", expected: digest }))).toBe(
    `ALREADY_EXISTS: content ${digest}: already exists`,
  );
  // Who says so only later has begun an ingest, which goes.
  using second = api.writeContent();
  await second.write({ ref: "again", data: data.subarray(0, 50) });
  expect(await refusal(second.write({ offset: 50n, expected: digest, data: data.subarray(50) }))).toMatch(
    new RegExp(`^ALREADY_EXISTS: blob with expected digest ${digest} exists`),
  );
  expect(await refusal(api.content.status({ ref: "again" }))).toContain("NOT_FOUND");
  // Nor when nobody says what it is to be.
  using third = api.writeContent();
  expect(await refusal(third.commit({ ref: "again", data }))).toBe(`ALREADY_EXISTS: content ${digest}: already exists`);
  expect((await api.content.info({ digest })).info!.labels).toEqual({ mine: "yes" });
});

test("what another namespace has becomes visible without being written", async () => {
  const { api } = fixture;
  const other = api.in("shared");
  const { data, digest } = blob(1000);
  await put(api, data, { labels: { mine: "yes" } });
  expect(await refusal(other.content.info({ digest }))).toContain("NOT_FOUND");
  expect(await listBlobs(other, `digest==${digest}`)).toEqual([]);
  {
    using writer = await keeping(other);
    expect(await writer.stat({ ref: "s", expected: digest })).toMatchObject({ offset: 1000n, digest });
    expect(await refusal(other.content.info({ digest }))).toContain("NOT_FOUND");
    await writer.commit({ offset: 1000n, expected: digest, total: 1000n, labels: { other: "yes" } });
  }
  expect((await other.content.info({ digest })).info).toMatchObject({ size: 1000n, labels: { other: "yes" } });
  expect((await api.content.info({ digest })).info!.labels).toEqual({ mine: "yes" });
  // It stays with the one when the other deletes it.
  await api.content.delete({ digest });
  expect((await get(other, digest)).equals(data)).toBe(true);
  await other.content.delete({ digest });
  if (isDebians) return; // Where it stays until the next collection.
  using again = api.writeContent();
  expect(await again.stat({ ref: "s", expected: digest })).toMatchObject({ offset: 0n });
});

test("who writes what another namespace has gets a blob of his own", async () => {
  const { api } = fixture;
  const other = api.in("shared");
  const { data, digest } = blob(1000);
  await put(api, data);
  const longer = Buffer.concat([data, Buffer.from("more")]);
  {
    using writer = await keeping(other);
    await writer.stat({ ref: "longer", expected: digest });
    expect(await writer.write({ offset: 1000n, data: Buffer.from("more") })).toMatchObject({
      offset: 1004n,
      digest: sha256(longer),
    });
    await writer.commit({ offset: 1004n, expected: sha256(longer) });
  }
  {
    using writer = await keeping(other);
    await writer.stat({ ref: "different", expected: digest });
    // From the beginning.
    expect(await writer.write({ data: Buffer.from("new") })).toMatchObject({ offset: 3n, digest: sha256("new") });
    await writer.commit({ offset: 3n, expected: sha256("new") });
  }
  expect((await get(other, sha256(longer))).equals(longer)).toBe(true);
  expect((await get(other, sha256("new"))).toString()).toBe("new");
  expect((await get(api, digest)).equals(data)).toBe(true);
});

test("goes on where an earlier writer stopped, also after a kill", async () => {
  const { daemon } = fixture;
  const { data, digest } = blob(3_000_000);
  const begin = async (from: number, to: number) => {
    using writer = await keeping(fixture.api);
    const { offset } = await writer.stat({ ref: "broken", total: 3_000_000n, expected: digest });
    expect(offset).toBe(BigInt(from));
    await writer.write({ offset, data: data.subarray(from, to) });
  };
  await begin(0, 1_000_000);
  await eventually(async () => (await refusalOrOffset("broken")) === 1_000_000n);
  // The one that was cancelled may have the reference for a moment still.
  await eventually(() => begin(1_000_000, 1_500_000).then(() => true));
  await daemon.restart({ kill: true });
  const { statuses } = await fixture.api.content.listStatuses({ filters: ["ref==broken"] });
  expect(statuses).toMatchObject([{ ref: "broken", offset: 1_500_000n, total: 3_000_000n }]);
  using writer = await keeping(fixture.api);
  expect(await writer.stat({ ref: "broken", total: 3_000_000n, expected: digest })).toMatchObject({
    offset: 1_500_000n,
    digest: sha256(data.subarray(0, 1_500_000)),
  });
  await writer.commit({ offset: 1_500_000n, data: data.subarray(1_500_000), total: 3_000_000n, expected: digest });
  expect((await get(fixture.api, digest)).equals(data)).toBe(true);
});

async function refusalOrOffset(ref: string): Promise<bigint | undefined> {
  return (await fixture.api.content.status({ ref })).status?.offset;
}

test("one writer per reference, and another when it has ended", async () => {
  const { api } = fixture;
  using first = api.writeContent();
  await first.write({ ref: "taken", data: Buffer.from("a") });
  using second = api.writeContent();
  expect(await refusal(second.stat({ ref: "taken" }))).toMatch(/^UNAVAILABLE: ref .*taken locked for .*: unavailable$/);
  // Another namespace has references of its own.
  using other = api.in("other").writeContent();
  expect(await other.stat({ ref: "taken" })).toMatchObject({ offset: 0n });
  await first.end();
  using third = api.writeContent();
  expect(await third.stat({ ref: "taken" })).toMatchObject({ offset: 1n });
  await third.end();
  await api.content.abort({ ref: "taken" });
  await other.end();
  await api.in("other").content.abort({ ref: "taken" });
});

test("of many that write the same at once, one succeeds, and it is there once", async () => {
  const { api } = fixture;
  const { data, digest } = blob(200_000);
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, async (_, n) => {
      using writer = await keeping(api);
      try {
        await writer.commit({ ref: `many-${n}`, data, labels: { writer: `${n}` } });
        return `${n}`;
      } catch (error) {
        expect((error as Error).message).toContain("ALREADY_EXISTS");
        return undefined;
      }
    }),
  );
  const winners = outcomes.filter((name) => name !== undefined);
  expect(winners).toHaveLength(1);
  expect((await api.content.info({ digest })).info!.labels).toEqual({ writer: winners[0] });
  for (let n = 0; n < 20; n++) await api.content.abort({ ref: `many-${n}` }).catch(() => {});
});

test("is found by filters, a hundred in a message", async () => {
  const api = fixture.api.in("filters");
  const blobs = Array.from({ length: 103 }, (_, n) => Buffer.from(`blob ${n}`));
  for (const [n, data] of blobs.entries()) await put(api, data, { labels: n === 7 ? { "a.b": "7" } : {} });
  using all = api.listContent();
  await all.ended;
  expect(all.messages.map(({ info }) => info.length)).toEqual([100, 3]);
  expect(all.messages.flatMap(({ info }) => info.map(({ digest }) => digest))).toEqual(blobs.map(sha256).sort());
  expect(await listBlobs(api, 'labels."a.b"==7')).toMatchObject([{ digest: sha256("blob 7"), size: 6n }]);
  expect(await listBlobs(api, `digest==${sha256("blob 9")}`, 'labels."a.b"')).toHaveLength(2);
  expect(await listBlobs(api, "labels.nope")).toEqual([]);
  expect(await refusal(listBlobs(api, "=="))).toMatch(/^[A-Z_]+: .*parse error/);
  // containerd has no sizes yet.
  if (!isDebians) expect(await listBlobs(api, "size==7")).toHaveLength(90);
});

test("what is being written is told of, and given up", async () => {
  const { api } = fixture;
  const refs = ["status-a", "status-b"];
  for (const ref of refs) {
    using writer = await keeping(api);
    await writer.write({ ref, data: Buffer.from(ref) });
    await writer.end();
  }
  const { statuses } = await api.content.listStatuses({ filters: refs.map((ref) => `ref==${ref}`) });
  expect(statuses.map(({ ref, offset }) => [ref, offset]).sort()).toEqual(refs.map((ref) => [ref, 8n]));
  expect((await api.in("other").content.listStatuses()).statuses).toEqual([]);
  for (const ref of refs) await api.content.abort({ ref });
  for (const call of [api.content.abort, api.content.status])
    expect(await refusal(call({ ref: "status-a" }))).toMatch(/^NOT_FOUND: .*reference status-a: not found$/);
  expect(await refusal(api.content.status({ ref: "nope" }))).toBe(
    'NOT_FOUND: could not get status for ref "nope": reference nope: not found',
  );
});

test("the lease of a call has what the call makes", async () => {
  const { api } = fixture;
  await api.leases.create({ id: "writes" });
  const resources = async () => (await api.leases.listResources({ id: "writes" })).resources;
  const { data, digest } = blob();
  {
    using writer = api.writeContent({ lease: "writes" });
    await writer.write({ ref: "leased", data });
    expect(await resources()).toEqual([{ id: "leased", type: "ingests" }]);
    await writer.commit({ offset: 100n, expected: digest });
  }
  expect(await resources()).toEqual([{ id: digest, type: "content" }]);
  // What is there already, too.
  const found = blob();
  await put(api, found.data);
  using again = api.writeContent({ lease: "writes" });
  expect(await refusal(again.stat({ ref: "found", expected: found.digest }))).toContain("ALREADY_EXISTS");
  expect(await resources()).toEqual([digest, found.digest].sort().map((id) => ({ id, type: "content" })));
  await api.leases.delete({ id: "writes" });
  using late = api.writeContent({ lease: "writes" });
  expect(await refusal(late.stat({ ref: "late" }))).toMatch(/^NOT_FOUND: .*lease.*not found$/);
});

test("is verified", async () => {
  const { api } = fixture;
  const { data, digest } = blob();
  const wrong = sha256("something else");
  const commit = async (request: WriteRequest) => {
    using writer = api.writeContent();
    return await refusal(writer.commit({ ref: "bad", data, ...request }));
  };
  expect(await commit({ expected: wrong })).toBe(
    `FAILED_PRECONDITION: unexpected commit digest ${digest}, expected ${wrong}: failed precondition`,
  );
  expect(await commit({ total: 99n })).toMatch(
    /^FAILED_PRECONDITION: ".*bad" failed size validation: 100 != 99: failed precondition$/,
  );
  expect(await refusal(api.content.info({ digest: wrong }))).toContain("NOT_FOUND");
  // What was written can be gone on with.
  using writer = api.writeContent();
  expect(await writer.stat({ ref: "bad" })).toMatchObject({ offset: 100n, digest });
  expect(await refusal(writer.write({ offset: 50n, data }))).toMatch(
    /^OUT_OF_RANGE: write @50 must occur at current offset 100/,
  );
  using last = api.writeContent();
  expect(await last.commit({ ref: "bad", offset: 100n, total: 100n, expected: digest })).toMatchObject({ digest });
});

test("bad input", async () => {
  const { api } = fixture;
  const { digest } = blob();
  const bad = [
    "",
    "sha256:",
    `sha256:${"a".repeat(63)}`,
    `sha256:${"g".repeat(64)}`,
    `md4:${"a".repeat(32)}`,
    "../../x",
  ];
  for (const text of bad) {
    for (const call of [
      () => api.content.info({ digest: text }),
      () => api.content.delete({ digest: text }),
      () => get(api, text),
      () => api.content.update({ info: Info.fromPartial({ digest: text }) }),
    ])
      expect(await refusal(call())).toMatch(/^INVALID_ARGUMENT: /);
  }
  const info = Info.fromPartial({ digest });
  expect(await refusal(api.content.update({ info, updateMask: ["labels"] }))).toContain("NOT_FOUND");
  await put(api, Buffer.from("bad input"));
  const known = Info.fromPartial({ digest: sha256("bad input") });
  expect(await refusal(api.content.update({ info: known, updateMask: ["size"] }))).toBe(
    `INVALID_ARGUMENT: cannot update "size" field on content info "${known.digest}": invalid argument`,
  );
  expect(
    await refusal(
      api.content.update({ info: { ...known, labels: { key: "x".repeat(4096) } }, updateMask: ["labels"] }),
    ),
  ).toMatch(/^INVALID_ARGUMENT: .*label key and value/);
  using noRef = api.writeContent();
  expect(await refusal(noRef.stat({}))).toMatch(/^INVALID_ARGUMENT: first message must have a reference/);
  using noNamespace = fixture.daemon.v1("").writeContent();
  expect(await refusal(noNamespace.stat({ ref: "x" }))).toMatch(/^FAILED_PRECONDITION: namespace is required/);
  expect(await refusal(listBlobs(fixture.daemon.v1("")))).toMatch(/^FAILED_PRECONDITION: namespace is required/);
  if (!isDebians) {
    using expected = api.writeContent();
    expect(await refusal(expected.stat({ ref: "x", expected: "../../x" }))).toMatch(
      /^INVALID_ARGUMENT: .*failed validation/,
    );
    for (const ref of ["x".repeat(1025), "a\nb"]) {
      using writer = api.writeContent();
      expect(await refusal(writer.stat({ ref }))).toMatch(/^INVALID_ARGUMENT: ref ".*it has to be printable/s);
    }
  }
});

test("what happens is told", async () => {
  const { api } = fixture;
  using events = await api.subscribe("topic~=/content/");
  const digest = await put(api, blob(11).data);
  await api.content.delete({ digest });
  expect(await events.waitFor("/content/delete", { digest })).toMatchObject({
    namespace: "test",
    type: "containerd.events.ContentDelete",
  });
  // containerd 1.6 tells of the end alone.
  if (isDebians) return;
  expect(events.events.map(({ topic, event }) => [topic, event])).toEqual([
    ["/content/create", { digest, size: 11n }],
    ["/content/delete", { digest }],
  ]);
});

test("a namespace that has content can't be deleted", async () => {
  const api = fixture.api.in("keeps-content");
  const digest = await put(api, blob().data);
  const { namespaces } = fixture.daemon.v1("");
  expect(await refusal(namespaces.delete({ name: "keeps-content" }))).toMatch(
    /^FAILED_PRECONDITION: namespace "keeps-content" must be empty, but it still has blobs/,
  );
  await api.content.delete({ digest });
  await namespaces.delete({ name: "keeps-content" });
});

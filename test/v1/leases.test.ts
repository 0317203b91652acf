import { describe, expect, test } from "vitest";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { refusal } from "../harness/v1.js";

const fixture = useContainerd1();

const DIGEST = `sha256:${"a".repeat(64)}`;
const EXPIRE = "containerd.io/gc.expire";

async function ids(...filters: string[]): Promise<string[]> {
  return (await fixture.api.leases.list({ filters })).leases.map(({ id }) => id);
}

/** As RFC 3339, so many seconds from now. */
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

test("is created with labels, found by them, and deleted", async () => {
  const { leases } = fixture.api;
  const labels = { [EXPIRE]: inSeconds(3600), owner: "me", empty: "" };
  const { lease } = await leases.create({ id: "one", labels });
  expect(lease).toEqual({ id: "one", createdAt: lease!.createdAt, labels: { [EXPIRE]: labels[EXPIRE], owner: "me" } });
  expect(await refusal(leases.create({ id: "one" }))).toBe('ALREADY_EXISTS: lease "one": already exists');
  expect(await ids("id==one")).toEqual(["one"]);
  expect(await ids(`labels."${EXPIRE}",labels.owner==me`)).toEqual(["one"]);
  expect(await ids("labels.owner==you")).toEqual([]);
  expect((await fixture.daemon.v1("other").leases.list()).leases).toEqual([]);
  await leases.delete({ id: "one", sync: true });
  expect(await ids()).toEqual([]);
  expect(await refusal(leases.delete({ id: "one" }))).toBe('NOT_FOUND: lease "one": not found');
});

test("gets an id when it is given none", async () => {
  const made = await Promise.all(Array.from({ length: 10 }, () => fixture.api.leases.create()));
  const names = made.map(({ lease }) => lease!.id);
  expect(new Set(names).size).toBe(10);
  for (const id of names) await fixture.api.leases.delete({ id });
});

test("has resources", async () => {
  const { leases } = fixture.api;
  await leases.create({ id: "full" });
  const resources = [
    { id: DIGEST, type: "content" },
    { id: "layer-sha256:1", type: "ingests" },
    { id: "extract-1-abc sha256:2", type: "snapshots/overlayfs" },
  ];
  for (const resource of resources) {
    await leases.addResource({ id: "full", resource });
    await leases.addResource({ id: "full", resource });
  }
  expect((await leases.listResources({ id: "full" })).resources).toEqual(resources);
  await leases.deleteResource({ id: "full", resource: resources[1] });
  await leases.deleteResource({ id: "full", resource: resources[1] });
  expect((await leases.listResources({ id: "full" })).resources).toEqual([resources[0], resources[2]]);
  await leases.delete({ id: "full" });
  const gone = [leases.listResources({ id: "full" }), leases.addResource({ id: "full", resource: resources[0] })];
  for (const words of await Promise.all(gone.map(refusal))) expect(words).toBe('NOT_FOUND: lease "full": not found');
  // One of the same name later has none of its resources.
  await leases.create({ id: "full" });
  expect((await leases.listResources({ id: "full" })).resources).toEqual([]);
  await leases.delete({ id: "full" });
});

describe("a resource that is none", () => {
  test.each([
    ["nope", DIGEST, "UNIMPLEMENTED: resource type nope not supported yet: not implemented"],
    ["", "x", "UNIMPLEMENTED: resource type  not supported yet: not implemented"],
    ["snapshots", "x", "INVALID_ARGUMENT: invalid snapshot resource type snapshots: invalid argument"],
    ["snapshots/a/b", "x", "INVALID_ARGUMENT: invalid snapshot resource type snapshots/a/b: invalid argument"],
    ["content/x", "x", "INVALID_ARGUMENT: invalid resource type content/x: invalid argument"],
    ["content", "nodigest", "INVALID_ARGUMENT: invalid content resource id"],
  ])("%j %j", async (type, id, words) => {
    const { leases } = fixture.api;
    await leases.create({ id: "none" });
    expect(await refusal(leases.addResource({ id: "none", resource: { type, id } }))).toContain(words);
    expect((await leases.listResources({ id: "none" })).resources).toEqual([]);
    await leases.delete({ id: "none" });
  });
});

// containerd keeps it until its next collection.
test.skipIf(isDebians)("is gone when its time is over", async () => {
  const { leases } = fixture.api;
  await leases.create({ id: "over", labels: { [EXPIRE]: inSeconds(-1) } });
  await leases.create({ id: "soon", labels: { [EXPIRE]: inSeconds(0.05) } });
  await leases.create({ id: "unreadable", labels: { [EXPIRE]: "soon" } });
  await leases.create({ id: "later", labels: { [EXPIRE]: inSeconds(3600) } });
  await expect.poll(() => ids()).toEqual(["later", "unreadable"]);
  expect(await refusal(leases.listResources({ id: "over" }))).toMatch(/^NOT_FOUND: /);
  expect(await refusal(leases.delete({ id: "soon" }))).toMatch(/^NOT_FOUND: /);
  await leases.create({ id: "over" });
  expect(await ids()).toEqual(["later", "over", "unreadable"]);
  for (const id of await ids()) await leases.delete({ id });
});

test("bad input", async () => {
  const { leases } = fixture.api;
  expect(await refusal(leases.list({ filters: ["=="] }))).toMatch(/^INVALID_ARGUMENT: filters: parse error/);
  expect(await refusal(fixture.daemon.v1("").leases.create({ id: "x" }))).toMatch(
    /^FAILED_PRECONDITION: namespace is required/,
  );
  // containerd answers the empty id as any other only while there is no lease, and takes any id.
  if (!isDebians) {
    expect(await refusal(leases.delete({ id: "" }))).toBe('NOT_FOUND: lease "": not found');
    for (const id of ["x".repeat(256), "a\nb", "\u{10ffff}"])
      expect(await refusal(leases.create({ id }))).toMatch(/^INVALID_ARGUMENT: lease ".*: not of up to 255 bytes/s);
    expect(await refusal(leases.delete({ id: "x".repeat(9000) }))).toMatch(/^NOT_FOUND: /);
  }
  expect(await ids()).toEqual([]);
});

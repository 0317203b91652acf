import { readlinkSync } from "node:fs";
import { expect, test } from "vitest";
import { HealthCheckResponse_ServingStatus as Serving } from "../../src/proto/health.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { refusal } from "../harness/v1.js";

const fixture = useContainerd1({}, "");

async function plugins(...filters: string[]): Promise<string[]> {
  const { plugins } = await fixture.api.introspection.plugins({ filters });
  return plugins.map(({ type, id }) => `${type} ${id}`);
}

test("what clients look for is there", async () => {
  const records = ["containers", "leases", "namespaces", "tasks"];
  const services = [...records, "content", "diff", "events", "images", "introspection", "snapshots"];
  expect(await plugins()).toEqual(
    expect.arrayContaining([
      "io.containerd.runtime.v2 task",
      "io.containerd.event.v1 exchange",
      "io.containerd.content.v1 content",
      "io.containerd.snapshotter.v1 overlayfs",
      "io.containerd.differ.v1 walking",
      "io.containerd.gc.v1 scheduler",
      ...services.map((name) => `io.containerd.grpc.v1 ${name}`),
      ...services.filter((name) => name !== "events").map((name) => `io.containerd.service.v1 ${name}-service`),
      "io.containerd.grpc.v1 healthcheck",
      "io.containerd.grpc.v1 version",
    ]),
  );
});

// Of containerd 1.7 and later.
test.skipIf(isDebians)("transfers and streams are there", async () => {
  expect(await plugins("id==transfer", "id==streaming", "type==io.containerd.transfer.v1")).toEqual([
    "io.containerd.transfer.v1 local",
    "io.containerd.grpc.v1 transfer",
    "io.containerd.grpc.v1 streaming",
  ]);
});

test("filters", async () => {
  expect(await plugins("type==io.containerd.runtime.v2,id==task")).toEqual(["io.containerd.runtime.v2 task"]);
  expect(await plugins("id==tasks", "id==task")).toEqual([
    "io.containerd.runtime.v2 task",
    "io.containerd.grpc.v1 tasks",
  ]);
  expect(await plugins("type==nope")).toEqual([]);
  expect(await refusal(plugins("=="))).toMatch(/^INVALID_ARGUMENT: filters: parse error/);
});

test("the runtime says for which platform it is", async () => {
  const filters = ["type==io.containerd.runtime.v2"];
  const [runtime] = (await fixture.api.introspection.plugins({ filters })).plugins;
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  expect(runtime!.platforms).toMatchObject([{ os: "linux", architecture }]);
});

test("the daemon has a uuid that stays when it is killed", async () => {
  const uuid = async () => (await fixture.api.introspection.server()).uuid;
  const before = await uuid();
  expect(before).toMatch(/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
  expect(await uuid()).toBe(before);
  await fixture.daemon.restart({ kill: true });
  expect(await uuid()).toBe(before);
});

// 1.6 does not tell them yet.
test.skipIf(isDebians)("the daemon's process is told, with the namespace of its pid", async () => {
  const { pid, pidns } = await fixture.api.introspection.server();
  expect(pid).toBe(BigInt(fixture.daemon.pid));
  expect(readlinkSync("/proc/self/ns/pid")).toBe(`pid:[${pidns}]`);
});

test("health", async () => {
  expect(await fixture.api.health.check({ service: "" })).toEqual({ status: Serving.SERVING });
  expect(await refusal(fixture.api.health.check({ service: "nope" }))).toBe("NOT_FOUND: unknown service");
});

import { expect, test } from "vitest";
import type { ContainerRecord } from "../../core/containers/container-record.js";
import {
  type Container,
  GetContainerResponse,
  ListContainersResponse,
} from "../../proto/containerd/services/containers/v1/containers.js";
import { encodedContainer, encodedContainers, messageOf } from "./container-messages.js";

const record = (id: string, rest: Partial<ContainerRecord> = {}): ContainerRecord => ({
  ...{ id, labels: {}, image: "", runtime: { name: "r" }, snapshotter: "", snapshotKey: "" },
  ...{ createdAt: 1n, updatedAt: 2n, extensions: {}, sandbox: "" },
  ...rest,
});

const any = (length: number) => ({ typeUrl: "types.test/größe", value: Buffer.alloc(length, 7) });

const whole = record("whole", {
  labels: { a: "1", "b.c/d": "" },
  image: "docker.io/library/busybox:latest",
  runtime: { name: "io.containerd.runc.v2", options: any(40) },
  spec: any(70_000),
  snapshotter: "overlayfs",
  snapshotKey: "k",
  createdAt: 1_795_859_295_160_149_001n,
  updatedAt: 1_795_859_296_000_000_000n,
  extensions: { x: any(3), y: any(0) },
  sandbox: "s",
});
const some = [whole, record("bare"), ...[0, 1, 127, 128, 16_383, 16_384].map((n) => record(`n${n}`, { spec: any(n) }))];

/** As the messages' own code writes them. */
const written = (containers: Container[]) => Buffer.from(ListContainersResponse.encode({ containers }).finish());

test("containers are what their messages say, in their order", () => {
  const { containers } = ListContainersResponse.decode(encodedContainers(some));
  expect(written(containers).equals(written(some.map(messageOf)))).toBe(true);
  expect(encodedContainers([])).toHaveLength(0);
});

test("an answer about one is made once for each record", () => {
  for (const each of some) {
    const { container } = GetContainerResponse.decode(encodedContainer(each));
    expect(written([container!]).equals(written([messageOf(each)])), each.id).toBe(true);
    expect(encodedContainer(each)).toBe(encodedContainer(each));
  }
  expect(GetContainerResponse.decode(encodedContainer({ ...whole, image: "other" })).container?.image).toBe("other");
});

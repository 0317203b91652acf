import { expect, test } from "vitest";
import { stringifyJson } from "../../core/files/json.js";
import { deviceLimits, kernelLimits } from "../../core/tasks/runtime/resources.js";
import type { UpdateResource } from "../../proto/containerd.js";
import { ociResources } from "./resources.js";

const none: UpdateResource = {
  blkioWeight: 0n,
  blkioLeafWeight: 0n,
  blkioWeightDevice: [],
  blkioThrottleReadBpsDevice: [],
  blkioThrottleWriteBpsDevice: [],
  blkioThrottleReadIopsDevice: [],
  blkioThrottleWriteIopsDevice: [],
  cpuShares: 0n,
  cpuPeriod: 0n,
  cpuQuota: 0n,
  cpusetCpus: "",
  cpusetMems: "",
  memoryLimit: 0n,
  memorySwap: 0n,
  memoryReservation: 0n,
  kernelMemoryLimit: 0n,
  kernelTCPMemoryLimit: 0n,
  pidsLimit: 0n,
};

const json = (resources: Partial<UpdateResource>) => stringifyJson(ociResources({ ...none, ...resources }));

test("nothing asked for is nothing", () => {
  expect(ociResources(none)).toBeUndefined();
});

test("only what was asked for", () => {
  expect(json({ memoryLimit: 64n << 20n })).toBe('{"memory":{"limit":67108864}}');
  expect(json({ cpusetCpus: "0-1", pidsLimit: 5n })).toBe('{"cpu":{"cpus":"0-1"},"pids":{"limit":5}}');
});

test("an unsigned -1 means unlimited", () => {
  expect(json({ memorySwap: 2n ** 64n - 1n })).toBe('{"memory":{"swap":-1}}');
});

test("devices", () => {
  const blkIODevice = { major: 8n, minor: 16n };
  expect(
    json({
      blkioThrottleReadBpsDevice: [{ blkIODevice, rate: 1024n }],
      blkioWeightDevice: [{ blkIODevice, weight: 300, leafWeight: 0 }],
    }),
  ).toBe(
    '{"blockIO":{"weightDevice":[{"major":8,"minor":16,"weight":300}],"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":1024}]}}',
  );
});

test("what runtimes pass over is found again for the cgroup's own files: rates of 0 too, weights of 0 not", () => {
  const blkIODevice = { major: 8n, minor: 16n };
  const resources = ociResources({
    ...none,
    kernelMemoryLimit: 2n ** 64n - 1n,
    blkioLeafWeight: 100n,
    blkioThrottleWriteIopsDevice: [{ blkIODevice, rate: 0n }],
    blkioWeightDevice: [{ blkIODevice, weight: 300, leafWeight: 0 }],
  })!;
  expect(deviceLimits(resources)).toEqual({ writeIops: new Map([["8:16", 0n]]), weight: new Map([["8:16", 300n]]) });
  expect(kernelLimits(resources)).toEqual({ kernelMemory: -1n, leafWeight: 100n });
});

import { expect, test } from "vitest";
import { stringifyJson } from "../../files/json.js";
import { ociResources, type Resources } from "./resources.js";

const none: Resources = {
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

const json = (resources: Partial<Resources>) => stringifyJson(ociResources({ ...none, ...resources }));

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

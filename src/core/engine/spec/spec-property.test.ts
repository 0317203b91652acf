import fc from "fast-check";
import { expect, test } from "vitest";
import { containerConfig, hostFacts, imageConfig, ROOT } from "../../../../test/harness/engine-config.js";
import { wishes } from "../../../../test/harness/engine-wishes.js";
import { problemsOf } from "../../../../test/harness/oci-problems.js";
import { Failure } from "../../failure/failure.js";
import type { ContainerConfig } from "../container-config.js";
import { buildSpec } from "./build-spec.js";
import type { HostFacts } from "./host-facts.js";

const disk = { path: "/dev/sda", type: "b" as const, major: 8, minor: 0, mode: 0o660, uid: 0, gid: 6 };
const fuse = { path: "/dev/fuse", type: "c" as const, major: 10, minor: 229, mode: 0o666, uid: 0, gid: 0 };
const host = hostFacts({
  devices: new Map([
    ["/dev/sda", [disk]],
    ["/dev/fuse", [fuse]],
    ["/dev", [disk, fuse]],
  ]),
});
const wishable = { sources: ["/srv", "/srv/below"], devices: ["/dev/sda", "/dev/fuse"], controllers: true };

function build(config: ContainerConfig, facts: HostFacts = host) {
  const root = { path: "rootfs", readOnly: config.readOnly };
  return buildSpec({ id: "0123456789abcdef".repeat(4), config, image: imageConfig(), user: ROOT, root, host: facts });
}

test("wishes that can be granted become a valid specification", () => {
  fc.assert(
    fc.property(wishes(wishable), (config) => {
      expect(problemsOf(build(config))).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

/** Of the right type, and mostly out of place. */
const odd = {
  text: fc.oneof(
    fc.string(),
    fc.constantFrom("", "/", "..", "/..", "\0", "a=b", "ALL", "host", "/dev", "/dev/sda", "/a/../b"),
  ),
  number: fc.oneof(fc.integer(), fc.double(), fc.constantFrom(-1, 0, 1e21, Number.NaN, Number.POSITIVE_INFINITY)),
};
const texts = fc.array(odd.text, { maxLength: 3 });
const oddWishes = fc.record(
  {
    entrypoint: texts,
    args: texts,
    env: texts,
    workdir: odd.text,
    hostname: odd.text,
    domainname: odd.text,
    shmSize: odd.number,
    oomScoreAdj: odd.number,
    cgroupParent: odd.text,
    capAdd: texts,
    capDrop: texts,
    seccomp: fc.oneof(
      odd.text,
      fc.json(),
      fc.json().map((json) => `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":${json}}`),
    ),
    apparmor: odd.text,
    maskedPaths: texts,
    readonlyPaths: texts,
    sysctls: fc.dictionary(odd.text, odd.text),
    network: fc.record({ mode: fc.constant("path" as const), path: odd.text }),
    userns: fc.record({
      mode: fc.constant("map" as const),
      uids: fc.array(fc.record({ inside: odd.number, outside: odd.number, length: odd.number }), { maxLength: 2 }),
      gids: fc.array(fc.constant({ inside: 0, outside: 0, length: 1 }), { maxLength: 1 }),
    }),
    ulimits: fc.array(fc.record({ name: odd.text, soft: odd.number, hard: odd.number }), { maxLength: 2 }),
    devices: fc.array(fc.record({ source: odd.text, destination: odd.text, permissions: odd.text }), { maxLength: 2 }),
    mounts: fc.array(
      fc.record({
        type: fc.constantFrom("bind" as const, "tmpfs" as const),
        source: odd.text,
        destination: odd.text,
        readOnly: fc.boolean(),
        recursive: fc.boolean(),
        propagation: odd.text,
        createSource: fc.boolean(),
        size: odd.number,
        mode: odd.number,
        uid: odd.number,
        gid: odd.number,
        options: texts,
      }),
      { maxLength: 2 },
    ),
    resources: fc.record(
      {
        memory: odd.number,
        memorySwap: odd.number,
        memoryReservation: odd.number,
        memorySwappiness: odd.number,
        cpus: odd.number,
        cpuShares: odd.number,
        cpuQuota: odd.number,
        cpuPeriod: odd.number,
        cpusetCpus: odd.text,
        pids: odd.number,
        blkioWeight: odd.number,
        blkioDeviceReadBps: fc.array(fc.record({ path: odd.text, rate: odd.number }), { maxLength: 2 }),
        deviceCgroupRules: texts,
        unified: fc.dictionary(odd.text, odd.text),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);

test("wishes of any kind: a valid specification, or an error that says what is wrong", () => {
  const facts = fc.record({ cgroupVersion: fc.constantFrom(1 as const, 2 as const), systemdCgroup: fc.boolean() });
  fc.assert(
    fc.property(oddWishes, facts, (given, { cgroupVersion, systemdCgroup }) => {
      const config = containerConfig({ args: ["sh"], ...given });
      try {
        expect(problemsOf(build(config, { ...host, cgroupVersion, systemdCgroup }))).toEqual([]);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        expect(error.kind).toBe("invalid-argument");
        expect(error.message).toMatch(/^invalid \w/);
      }
    }),
    { numRuns: 500 },
  );
});

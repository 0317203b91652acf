/** What the library's options say arrives, is kept, and is told again: every one of them. */
import fc, { type Arbitrary } from "fast-check";
import { expect, test } from "vitest";
import { configOf as messageOf } from "../../src/client/containers/container-config.js";
import type { ContainerLimits, ContainerOptions } from "../../src/client/containers/container-options.js";
import { keptOf, withKept } from "../../src/core/engine/kept-container.js";
import {
  ContainerConfig,
  CreateRequest,
  Device,
  IdMap,
  Mount,
  Resources,
  Ulimit,
} from "../../src/proto/containerdts/engine/v1/engine.js";
import { configMessage, configOf } from "../../src/services/engine/container-config.js";
import { times } from "../harness/extent.js";

/** An arbitrary for each option, of which the compiler sees to it that none is left out. */
type Each<Options> = { [Name in keyof Required<Options>]: Arbitrary<NonNullable<Options[Name]>> };

const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const path = fc.array(word, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join("/")}`);
const words = fc.array(fc.string(), { maxLength: 3 });
const whole = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const id = fc.integer({ min: 0, max: 0xfffffffe });
const some = <T>(values: Arbitrary<T>) => fc.array(values, { minLength: 1, maxLength: 3 });
const rates = some(fc.record({ path, rate: whole }));
const maps = some(fc.record({ inside: id, outside: id, length: fc.integer({ min: 1, max: 65_536 }) }));
const of = fc.record({ container: word });

const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.constantFrom("10.0.0.2", "fd00::2");
const attachment = fc.oneof(
  word,
  fc.record(
    { name: word, aliases: some(word), address, address6: address, mac: fc.constant("02:42:ac:11:00:02") },
    { requiredKeys: ["name"] },
  ),
);

const LIMITS: Each<ContainerLimits> = {
  memory: whole,
  memorySwap: fc.oneof(whole, fc.constant(-1)),
  memoryReservation: whole,
  memorySwappiness: fc.integer({ min: 0, max: 100 }),
  kernelMemoryTcp: whole,
  oomKillDisable: fc.boolean(),
  cpus: fc.double({ min: 0.01, max: 1000, noNaN: true }),
  cpuShares: whole,
  cpuPeriod: whole,
  cpuQuota: fc.oneof(whole, fc.constant(-1)),
  cpuRealtimePeriod: whole,
  cpuRealtimeRuntime: whole,
  cpusetCpus: fc.constantFrom("0", "0-2,7"),
  cpusetMems: fc.constantFrom("0", "0-1"),
  pids: fc.oneof(whole, fc.constant(-1)),
  blkioWeight: whole,
  blkioWeightDevice: some(fc.record({ path, weight: whole })),
  blkioDeviceReadBps: rates,
  blkioDeviceWriteBps: rates,
  blkioDeviceReadIops: rates,
  blkioDeviceWriteIops: rates,
  deviceCgroupRules: some(fc.constantFrom("c 10:* rwm", "b 8:0 r")),
  unified: fc.dictionary(word, fc.string(), { minKeys: 1, maxKeys: 3 }),
};

/** What is of the fetching of an image does not go to the engine. */
const OPTIONS: Each<Omit<ContainerOptions, "pull" | "onProgress" | "auth">> = {
  image: word,
  rootfs: path,
  writable: fc.boolean(),
  readOnly: fc.boolean(),
  entrypoint: words,
  args: words,
  env: fc.oneof(fc.dictionary(word, fc.oneof(fc.string(), fc.constant(undefined)), { maxKeys: 3 }), words),
  user: fc.oneof(word, id),
  groupAdd: some(fc.oneof(word, id)),
  workdir: path,
  hostname: word,
  domainname: word,
  hosts: fc.dictionary(word, fc.constantFrom("10.0.0.1", "::1"), { maxKeys: 3 }),
  labels: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
  limits: fc.record(LIMITS, { requiredKeys: [] }),
  ulimits: fc.dictionary(word, fc.oneof(whole, fc.record({ soft: whole, hard: fc.constant(-1) })), { maxKeys: 3 }),
  cgroupParent: path,
  oomScoreAdj: fc.integer({ min: -1000, max: 1000 }),
  mounts: some(
    fc.record(
      {
        source: path,
        destination: path,
        readOnly: fc.boolean(),
        recursive: fc.boolean(),
        propagation: fc.constantFrom("private", "rslave", "rshared"),
        createSource: fc.boolean(),
      },
      { requiredKeys: ["source", "destination"] },
    ),
  ),
  tmpfs: fc.oneof(
    some(path),
    fc.dictionary(
      path,
      fc.record(
        { size: whole, mode: fc.integer({ min: 0, max: 0o7777 }), uid: id, gid: id, options: words },
        { requiredKeys: [] },
      ),
      { minKeys: 1, maxKeys: 3 },
    ),
  ),
  volumes: fc.dictionary(
    path,
    fc.oneof(word, fc.record({ name: word, readOnly: fc.boolean(), noCopy: fc.boolean() }, { requiredKeys: [] })),
    { minKeys: 1, maxKeys: 3 },
  ),
  devices: some(
    fc.oneof(path, fc.record({ source: path, destination: path, permissions: fc.constantFrom("r", "rwm") })),
  ),
  shmSize: whole,
  log: fc.record({
    driver: fc.constantFrom("file", "none"),
    maxSize: whole,
    maxFiles: fc.integer({ min: 1, max: 1000 }),
  }),
  privileged: fc.boolean(),
  capabilities: fc.record({ add: words, drop: words }),
  noNewPrivileges: fc.boolean(),
  seccomp: fc.constantFrom("unconfined" as const, "default" as const),
  apparmor: word,
  maskedPaths: fc.array(path, { maxLength: 3 }),
  readonlyPaths: fc.array(path, { maxLength: 3 }),
  sysctls: fc.dictionary(word, fc.oneof(fc.string(), fc.integer()), { maxKeys: 3 }),
  network: fc.oneof(
    fc.constantFrom("none" as const, "host" as const, "bridge"),
    of,
    fc.record({ path }),
    fc.record({ egress: fc.array(word), network: some(attachment) }, { requiredKeys: ["egress"] }),
    some(attachment),
  ),
  ports: some(
    fc.oneof(
      fc.constantFrom("80", "8080:80", "127.0.0.1::80/udp", "[::1]:8000-8010:80", "8000-8002:9000-9002"),
      port,
      fc.record(
        { container: port, host: fc.constant("8000-8010" as const), hostAddress: address },
        { requiredKeys: ["container"] },
      ),
    ),
  ),
  publishAll: fc.boolean(),
  dns: some(address),
  dnsSearch: some(word),
  dnsOptions: some(word),
  pid: fc.oneof(fc.constantFrom("private" as const, "host" as const), of),
  ipc: fc.oneof(fc.constantFrom("private" as const, "host" as const, "shareable" as const, "none" as const), of),
  uts: fc.oneof(fc.constantFrom("private" as const, "host" as const), of),
  cgroupns: fc.constantFrom("private", "host"),
  userns: fc.oneof(fc.constantFrom("host" as const, "auto" as const), fc.record({ uids: maps, gids: maps })),
  restart: fc.constantFrom("no" as const, "always" as const, "on-failure" as const, "on-failure:3" as const),
  healthcheck: fc.oneof(
    fc.constant("none" as const),
    fc.record(
      {
        test: fc.oneof(word, some(word)),
        interval: whole,
        timeout: whole,
        startPeriod: whole,
        startInterval: whole,
        retries: fc.integer({ min: 1, max: 0xffffffff }),
      },
      { requiredKeys: [] },
    ),
  ),
  init: fc.boolean(),
  stopSignal: fc.constantFrom("SIGINT", "SIGUSR1"),
  stopTimeout: fc.integer({ min: 0, max: 1_000_000 }),
  runtime: word,
};

/** What the library does not ask for. */
const LOG = fc.record({
  driver: fc.constantFrom("file", "none"),
  maxSize: fc.bigInt({ min: 1n, max: 1n << 40n }),
  maxFiles: fc.integer({ min: 1, max: 100 }),
});

/** The fields of messages that were other than in an empty one. */
class Seen {
  readonly #fields = new Map<string, Set<string>>();

  add(name: string, message: object, empty: object): void {
    const left = this.#fields.get(name) ?? new Set(Object.keys(empty));
    this.#fields.set(name, left);
    for (const [field, value] of Object.entries(message))
      if (JSON.stringify(value, plain) !== JSON.stringify((empty as Record<string, unknown>)[field], plain))
        left.delete(field);
  }

  get missing(): Record<string, string[]> {
    return Object.fromEntries(
      [...this.#fields].filter(([, left]) => left.size > 0).map(([name, left]) => [name, [...left]]),
    );
  }
}

const plain = (_: string, value: unknown) => (typeof value === "bigint" ? `${value}n` : value);

test("options go over the wire, into the record, and back, and nothing of them is lost", () => {
  const seen = new Seen();
  const property = fc.property(
    fc.record(OPTIONS, { requiredKeys: [] }),
    fc.constantFrom("run" as const, "docker" as const),
    fc.boolean(),
    fc.boolean(),
    fc.option(LOG, { nil: undefined }),
    fc.boolean(),
    (options, defaults, tty, openStdin, log, idle) => {
      const config = messageOf(options as ContainerOptions, defaults, tty, openStdin);
      config.log ??= log;
      // A sandbox's.
      config.idle = idle;
      const sent = CreateRequest.encode(CreateRequest.fromPartial({ config })).finish();
      const received = CreateRequest.decode(sent).config!;
      const asked = configOf(received);
      const record = { extensions: withKept({}, keptWith(asked)) };
      const kept = keptOf(record)!.config;
      expect(kept).toEqual(asked);
      expect(configMessage(kept)).toEqual(config);
      seen.add("ContainerConfig", config, ContainerConfig.fromPartial({ userns: "host", seccomp: "default" }));
      if (config.resources) seen.add("Resources", config.resources, Resources.fromPartial({}));
      for (const mount of config.mounts) seen.add("Mount", mount, Mount.fromPartial({}));
      for (const device of config.devices) seen.add("Device", device, Device.fromPartial({}));
      for (const limit of config.ulimits) seen.add("Ulimit", limit, Ulimit.fromPartial({}));
      for (const map of config.uidMap) seen.add("IdMap", map, IdMap.fromPartial({}));
    },
  );
  fc.assert(property, { numRuns: times(400, 150) });
  // A field that no option leads to has to be added here, or to the library.
  expect(seen.missing).toEqual({});
});

function keptWith(config: ReturnType<typeof configOf>) {
  return { version: 1, name: "", config, request: "", autoRemove: false, lifetime: 0, imageDigest: "" } as const;
}

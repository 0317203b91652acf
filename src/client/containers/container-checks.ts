import { CAPABILITIES, capabilityName } from "../../contract/capabilities.js";
import { signalNumber } from "../../contract/signals.js";
import { seccompCheck } from "../bundle/seccomp.js";
import { argsCheck } from "../bundle/spec.js";
import { pullChecks } from "../images/images.js";
import { isOwnNetwork, networkCheck, serverAddresses } from "../networks/network-options.js";
import { portCheck } from "../networks/port-options.js";
import { duration } from "../options/duration.js";
import { environmentCheck } from "../options/environment.js";
import {
  absolutePath,
  anyText,
  type Check,
  type Checks,
  checkOptions,
  flag,
  listOf,
  nameText,
  number,
  object,
  oneOf,
  pathText,
  quote,
  required,
  text,
  whole,
  wrong,
} from "../options/option-checks.js";
import { volumeCheck } from "../volumes/volume-options.js";
import type {
  BindMount,
  ContainerLimits,
  ContainerOptions,
  DeviceMapping,
  DeviceRate,
  IdMap,
  TmpfsOptions,
} from "./container-options.js";
import { healthcheckCheck, restartCheck } from "./policies.js";

const bytes = whole("a positive number of bytes", 1);
const count = whole("a whole number, 0 or more", 0);
const orNone = (what: string): Check =>
  number(`${what}, or -1 for no limit`, (value) => Number.isSafeInteger(value) && (value > 0 || value === -1));
const id = whole("a user or group id (0 – 4294967294)", 0, 0xfffffffe);

const rates = listOf(object<DeviceRate>({ path: required(absolutePath), rate: required(count) }));
const texts = listOf(anyText, "a list of texts");

/** Of an object with any keys. */
function mapOf(check: Check, what: string, key: Check = nameText): Check {
  return (value, name) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(name, what, value);
    for (const [each, content] of Object.entries(value)) {
      key(each, `a name in ${name}`);
      check(content, `${name}.${each}`);
    }
  };
}

function either(what: string, ...checks: [condition: (value: unknown) => boolean, check: Check][]): Check {
  return (value, name) => {
    for (const [condition, check] of checks) if (condition(value)) return check(value, name);
    throw wrong(name, what, value);
  };
}

const isText = (value: unknown) => typeof value === "string";
const isNumber = (value: unknown) => typeof value === "number";
const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);
const has = (key: string) => (value: unknown) => isObject(value) && key in (value as object);

export const containerLimitsChecks: Checks<ContainerLimits> = {
  memory: bytes,
  memorySwap: orNone("a positive number of bytes"),
  memoryReservation: bytes,
  memorySwappiness: whole("a whole number from 0 to 100", 0, 100),
  kernelMemoryTcp: bytes,
  oomKillDisable: flag,
  cpus: number("a number of processors, 0.01 or more", (value) => Number.isFinite(value) && value >= 0.01),
  cpuShares: whole("a whole number, 2 or more", 2),
  cpuPeriod: whole("a number of microseconds from 1000 to 1000000", 1000, 1_000_000),
  cpuQuota: orNone("a number of microseconds"),
  cpuRealtimePeriod: count,
  cpuRealtimeRuntime: count,
  cpusetCpus: text('processors, like "0-2,7"', (value) => /^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(value)),
  cpusetMems: text('memory nodes, like "0-1"', (value) => /^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(value)),
  pids: orNone("a positive whole number"),
  blkioWeight: whole("a whole number from 10 to 1000", 10, 1000),
  blkioWeightDevice: listOf(
    object<{ path: string; weight: number }>({
      path: required(absolutePath),
      weight: required(whole("a whole number from 10 to 1000", 10, 1000)),
    }),
  ),
  blkioDeviceReadBps: rates,
  blkioDeviceWriteBps: rates,
  blkioDeviceReadIops: rates,
  blkioDeviceWriteIops: rates,
  deviceCgroupRules: texts,
  unified: mapOf(anyText, "an object of texts by the names of cgroup files"),
};

const mount = object<BindMount>({
  source: required(pathText),
  destination: required(absolutePath),
  readOnly: flag,
  recursive: flag,
  propagation: oneOf("private", "rprivate", "slave", "rslave", "shared", "rshared"),
  createSource: flag,
});

const tmpfs = object<TmpfsOptions>({
  size: bytes,
  mode: whole("the mode of a directory, 0 to 0o7777", 0, 0o7777),
  uid: id,
  gid: id,
  options: texts,
});

const device = object<DeviceMapping>({
  source: required(absolutePath),
  destination: absolutePath,
  permissions: text('letters of "rwm"', (value) => /^[rwm]+$/.test(value)),
});

const limit = number(
  "a whole number, 0 or more, or -1 for no limit",
  (value) => Number.isSafeInteger(value) && value >= -1,
);

const maps = listOf(
  object<IdMap>({
    inside: required(id),
    outside: required(id),
    length: required(whole("a positive whole number", 1, 0xffffffff)),
  }),
);

const ofContainer = object<{ container: string }>({ container: required(nameText) });

function namespace(...modes: string[]): Check {
  const what = [...modes.map((mode) => `"${mode}"`), "{ container }"].join(", ");
  return either(what, [(value) => modes.includes(value as string), () => {}], [has("container"), ofContainer]);
}

const capabilities = listOf(
  text(
    'the name of a capability, or "ALL"',
    (name) => name.toUpperCase() === "ALL" || CAPABILITIES.includes(capabilityName(name)),
  ),
);

const userText = text('a name, "name:group", "uid:gid" or a uid', (value) => /^[^:\s\0]+(:[^:\s\0]+)?$/.test(value));

export const signalText: Check = (value, name) => {
  anyText(value, name);
  try {
    signalNumber(value as never);
  } catch {
    throw wrong(name, 'the name of a signal, like "SIGTERM"', value);
  }
};

export const userOrId = either("a name or an id", [isNumber, id], [isText, userText]);

export const containerChecks: Checks<ContainerOptions> = {
  image: nameText,
  rootfs: pathText,
  writable: flag,
  readOnly: flag,
  entrypoint: texts,
  args: texts,
  env: environmentCheck,
  user: userOrId,
  groupAdd: listOf(either("the name or id of a group", [isNumber, id], [isText, nameText])),
  workdir: absolutePath,
  hostname: text("the name of a host, of 64 characters at most", (value) =>
    /^[a-zA-Z0-9][a-zA-Z0-9.-]{0,63}$/.test(value),
  ),
  domainname: anyText,
  hosts: mapOf(
    text("an address", (value) => /^[0-9a-fA-F.:]+$/.test(value) || value === "host-gateway"),
    "an object of addresses by the names of hosts",
    text("the name of a host", (value) => /^[^\s:]+$/.test(value)),
  ),
  labels: mapOf(anyText, "an object of texts"),
  limits: object(containerLimitsChecks),
  ulimits: mapOf(
    either(
      "a number, or { soft, hard }",
      [isNumber, limit],
      [isObject, object<{ soft: number; hard: number }>({ soft: required(limit), hard: required(limit) })],
    ),
    "an object of limits by their names",
  ),
  cgroupParent: nameText,
  oomScoreAdj: whole("a whole number from -1000 to 1000", -1000, 1000),
  mounts: listOf(mount, "a list of mounts"),
  volumes: mapOf(volumeCheck, "an object of volumes by paths", absolutePath),
  tmpfs: either(
    "a list of paths, or an object of options by paths",
    [Array.isArray, listOf(absolutePath)],
    [isObject, mapOf(tmpfs, "an object of options by paths", absolutePath)],
  ),
  devices: listOf(either("a path or { source, destination, permissions }", [isText, absolutePath], [isObject, device])),
  shmSize: bytes,
  log: object<NonNullable<ContainerOptions["log"]>>({
    driver: oneOf("file", "none"),
    maxSize: whole("a number of bytes, 65536 to 1073741824", 1 << 16, 1 << 30),
    maxFiles: whole("a number from 1 to 1000", 1, 1000),
  }),
  privileged: flag,
  capabilities: object<NonNullable<ContainerOptions["capabilities"]>>({ add: capabilities, drop: capabilities }),
  noNewPrivileges: flag,
  seccomp: seccompCheck,
  apparmor: nameText,
  maskedPaths: listOf(absolutePath),
  readonlyPaths: listOf(absolutePath),
  sysctls: mapOf(
    either("a text or a number", [isText, anyText], [isNumber, whole("a whole number", -(2 ** 53))]),
    "an object of values",
  ),
  network: networkCheck,
  ports: listOf(portCheck, "a list of ports"),
  publishAll: flag,
  dns: serverAddresses,
  dnsSearch: listOf(nameText),
  dnsOptions: listOf(nameText),
  pid: namespace("private", "host"),
  ipc: namespace("private", "host", "shareable", "none"),
  uts: namespace("private", "host"),
  cgroupns: oneOf("private", "host"),
  userns: either(
    '"host", "auto" or { uids, gids }',
    [(value) => value === "host" || value === "auto", () => {}],
    [
      isObject,
      object<{ uids: readonly IdMap[]; gids: readonly IdMap[] }>({ uids: required(maps), gids: required(maps) }),
    ],
  ),
  init: flag,
  restart: restartCheck,
  healthcheck: healthcheckCheck,
  stopSignal: signalText,
  stopTimeout: duration,
  runtime: nameText,
  pull: oneOf("missing", "always", "never"),
  onProgress: pullChecks.onProgress,
  auth: pullChecks.auth,
};

/** What no single option shows. @throws TypeError */
export function checkTogether(options: ContainerOptions): void {
  const { image, rootfs, writable, readOnly, args, entrypoint, network, ports = [], publishAll } = options;
  if ((image === undefined) === (rootfs === undefined))
    throw new TypeError(`either image or rootfs must be given, ${image === undefined ? "and none is" : "not both"}`);
  if (image !== undefined && readOnly === false && writable === false)
    throw new TypeError("readOnly: false needs writable: true: an image's own files can't be changed");
  if (rootfs !== undefined && entrypoint === undefined) checkOptions({ args }, { args: required(argsCheck) });
  if ((ports.length > 0 || publishAll) && (network === "none" || !isOwnNetwork(network)))
    throw new TypeError(
      `${ports.length > 0 ? "ports" : "publishAll"} need a network of the container's own, not ${quote(network)}`,
    );
  if (args?.length === 0 && entrypoint?.length === 0)
    throw new TypeError("args must be a command when entrypoint is [], not []");
}

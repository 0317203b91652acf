import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { ContainerOptions, NetworkAttachment, TmpfsOptions, VolumeOptions } from "../../client/index.js";
import { parseGoDuration } from "../../contract/go/duration.js";
import { parseNumber, parseSize } from "../command-line/sizes.js";

export interface RunFlags {
  detach?: boolean;
  name?: string;
  tty?: boolean;
  interactive?: boolean;
  rm?: boolean;
  label?: string[];
  pull: "missing" | "always" | "never";
  env?: string[];
  envFile?: string[];
  user?: string;
  groupAdd?: string[];
  workdir?: string;
  entrypoint?: string;
  init?: boolean;
  stopSignal?: string;
  stopTimeout?: string;
  volume?: string[];
  mount?: string[];
  tmpfs?: string[];
  readOnly?: boolean;
  network?: string[];
  publish?: string[];
  publishAll?: boolean;
  networkAlias?: string[];
  ip?: string;
  ip6?: string;
  macAddress?: string;
  hostname?: string;
  addHost?: string[];
  dns?: string[];
  dnsSearch?: string[];
  dnsOption?: string[];
  memory?: string;
  memorySwap?: string;
  cpus?: string;
  pidsLimit?: string;
  shmSize?: string;
  ulimit?: string[];
  privileged?: boolean;
  capAdd?: string[];
  capDrop?: string[];
  runtime?: string;
  restart?: string;
  healthCmd?: string;
  healthInterval?: string;
  healthTimeout?: string;
  healthStartPeriod?: string;
  healthRetries?: string;
  /** False with --no-healthcheck. */
  healthcheck: boolean;
}

/**
 * What the client library is told of a container of these flags, which are Docker's where Docker has them.
 * @throws Error that quotes the flag and what is wrong with it
 */
export function containerOf(image: string, args: readonly string[], flags: RunFlags): ContainerOptions {
  const given = <T>(value: T | undefined, name: string): object => (value === undefined ? {} : { [name]: value });
  const limits = limitsOf(flags);
  return {
    image,
    pull: flags.pull,
    // What is given in place of the image's program has arguments of its own.
    ...(flags.entrypoint !== undefined && { entrypoint: flags.entrypoint === "" ? [] : [flags.entrypoint] }),
    ...((args.length > 0 || flags.entrypoint !== undefined) && { args }),
    env: variablesOf(flags),
    ...(flags.user !== undefined && flags.user !== "" && { user: flags.user }),
    ...given(flags.groupAdd, "groupAdd"),
    ...(flags.workdir !== undefined && flags.workdir !== "" && { workdir: flags.workdir }),
    ...given(flags.init, "init"),
    ...given(flags.stopSignal, "stopSignal"),
    ...given(flags.stopTimeout && Number(parseNumber(flags.stopTimeout, "stop-timeout")) * 1000, "stopTimeout"),
    labels: labelsOf(flags.label),
    mounts: [
      ...(flags.mount ?? []).map((text) => bindOf(text, "mount")),
      ...(flags.volume ?? []).filter((text) => !isVolume(text)).map((text) => bindOf(text, "volume")),
    ],
    volumes: eachOnce("volume", (flags.volume ?? []).filter(isVolume).map(volumeOf)),
    tmpfs: eachOnce("tmpfs", (flags.tmpfs ?? []).map(tmpfsOf)),
    ...given(flags.readOnly, "readOnly"),
    ...networkOf(flags),
    ...given(flags.publish, "ports"),
    ...given(flags.publishAll, "publishAll"),
    ...given(flags.hostname, "hostname"),
    hosts: hostsOf(flags.addHost),
    ...given(flags.dns, "dns"),
    ...given(flags.dnsSearch, "dnsSearch"),
    ...given(flags.dnsOption, "dnsOptions"),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...given(flags.shmSize && Number(parseSize(flags.shmSize, "shm-size")), "shmSize"),
    ulimits: Object.fromEntries((flags.ulimit ?? []).map(ulimitOf)),
    ...given(flags.privileged, "privileged"),
    ...((flags.capAdd || flags.capDrop) && { capabilities: { add: flags.capAdd ?? [], drop: flags.capDrop ?? [] } }),
    ...given(flags.runtime, "runtime"),
    ...given(flags.restart, "restart"),
    ...healthOf(flags),
  };
}

function healthOf(flags: RunFlags): Pick<ContainerOptions, "healthcheck"> {
  if (!flags.healthcheck) return { healthcheck: "none" };
  const { healthCmd: test, healthInterval, healthTimeout, healthStartPeriod, healthRetries } = flags;
  const healthcheck = {
    test,
    interval: durationOf(healthInterval, "health-interval"),
    timeout: durationOf(healthTimeout, "health-timeout"),
    startPeriod: durationOf(healthStartPeriod, "health-start-period"),
    retries:
      healthRetries === undefined ? undefined : Number(parseNumber(healthRetries, "health-retries")) || undefined,
  };
  return Object.values(healthcheck).some((value) => value !== undefined) ? { healthcheck } : {};
}

/** In ms; undefined: not given, or 0, which is so for Docker, too. */
function durationOf(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  let ms: number;
  try {
    ms = Math.round(parseGoDuration(text));
  } catch (error) {
    throw new Error(`--${flag}: ${(error as Error).message}, it is one like 1m30s`);
  }
  if (ms < 0) throw new Error(`--${flag} "${text}" must not be below 0`);
  return ms || undefined;
}

/** Whether a --volume is one of the daemon's: `NAME:/DESTINATION`, or `/DESTINATION` alone, which has no name. */
function isVolume(text: string): boolean {
  const [first = "", second] = text.split(":");
  return second === undefined ? first.startsWith("/") : /^[a-zA-Z0-9]/.test(first);
}

function volumeOf(text: string): [string, VolumeOptions] {
  const parts = text.split(":");
  const [name, destination = "", options = "", ...more] = parts.length === 1 ? [undefined, ...parts] : parts;
  if (!destination.startsWith("/") || more.length > 0)
    throw new Error(`--volume "${text}" has to be NAME:/DESTINATION or NAME:/DESTINATION:ro`);
  const volume: VolumeOptions = { name };
  for (const option of options === "" ? [] : options.split(",")) {
    if (option === "ro" || option === "readonly") volume.readOnly = true;
    else if (option === "nocopy") volume.noCopy = true;
    else if (!["rw", "z", "Z"].includes(option))
      throw new Error(`--volume "${text}": unknown option "${option}", there are ro, rw, nocopy`);
  }
  return [destination, volume];
}

/** @param entries destinations, and what is mounted there */
function eachOnce<T>(flag: string, entries: readonly [string, T][]): Record<string, T> {
  const twice = entries.find(([destination], index) => entries.findIndex(([one]) => one === destination) < index);
  if (twice !== undefined) throw new Error(`two of --${flag} have the same destination "${twice[0]}"`);
  return Object.fromEntries(entries);
}

/** The variables of --env-file and --env. @throws Error that quotes what is none */
export function variablesOf({ envFile = [], env = [] }: Pick<RunFlags, "envFile" | "env">): string[] {
  const lines = envFile.flatMap((file) =>
    readFileSync(file, "utf8")
      .split(/\r?\n/)
      .filter((line) => line.trim() !== "" && !line.startsWith("#")),
  );
  return [...lines, ...env].flatMap((variable) => {
    const equals = variable.indexOf("=");
    if (equals === 0 || variable === "") throw new Error(`environment variable "${variable}" has to be NAME=value`);
    if (equals > 0) return [variable];
    const own = process.env[variable];
    return own === undefined ? [] : [`${variable}=${own}`];
  });
}

function labelsOf(labels: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => {
      const [name = "", ...value] = label.split("=");
      if (name === "") throw new Error(`--label "${label}" has to be NAME=value`);
      return [name, value.join("=")];
    }),
  );
}

const PROPAGATIONS = ["private", "rprivate", "slave", "rslave", "shared", "rshared"] as const;

function bindOf(text: string, flag: "mount" | "volume"): NonNullable<ContainerOptions["mounts"]>[number] {
  const [source = "", destination = "", options = "", ...more] = text.split(":");
  const isRelative = flag === "volume" && !source.startsWith("/") && !source.startsWith(".");
  const form = flag === "mount" ? "SOURCE:DESTINATION" : "/DIRECTORY:/DESTINATION";
  if (source === "" || isRelative || !destination.startsWith("/") || more.length > 0)
    throw new Error(`--${flag} "${text}" has to be ${form} or ${form}:ro, DESTINATION an absolute path`);
  let readOnly = false;
  let propagation: (typeof PROPAGATIONS)[number] | undefined;
  for (const option of options === "" ? [] : options.split(",")) {
    const known = PROPAGATIONS.find((one) => one === option);
    if (option === "ro" || option === "readonly") readOnly = true;
    else if (known !== undefined) propagation = known;
    // What SELinux is told by these is told by nobody here.
    else if (!["rw", "z", "Z"].includes(option))
      throw new Error(`--${flag} "${text}": unknown option "${option}", there are ro, rw, ${PROPAGATIONS.join(", ")}`);
  }
  // Docker makes the directory of a --volume that is missing.
  const createSource = flag === "volume";
  return { source: resolve(source), destination, readOnly, createSource, ...(propagation && { propagation }) };
}

function tmpfsOf(text: string): [string, TmpfsOptions] {
  const [destination = "", ...rest] = text.split(":");
  if (!destination.startsWith("/"))
    throw new Error(`--tmpfs "${text}" has to be /DESTINATION or /DESTINATION:size=64m`);
  const tmpfs: TmpfsOptions & { options: string[] } = { options: [] };
  for (const option of rest.join(":").split(",").filter(Boolean)) {
    const [name = "", value = ""] = option.split("=");
    if (name === "size") tmpfs.size = Number(parseSize(value, "tmpfs"));
    else if (name === "mode") {
      if (!/^[0-7]{1,5}$/.test(value)) throw new Error(`--tmpfs "${text}": mode "${value}" has to be like 1777`);
      tmpfs.mode = Number.parseInt(value, 8);
    } else if (name === "uid" || name === "gid") tmpfs[name] = Number(parseNumber(value, "tmpfs"));
    else tmpfs.options.push(option);
  }
  return [destination, tmpfs];
}

function networkOf(flags: RunFlags): Pick<ContainerOptions, "network"> {
  const { network = [], networkAlias, ip, ip6, macAddress } = flags;
  const wished = { aliases: networkAlias, address: ip, address6: ip6, mac: macAddress };
  const isWished = Object.values(wished).some((wish) => wish !== undefined);
  if (network.length === 0 && !isWished) return {};
  const [first = "bridge", ...others] = network;
  const container = /^container:(.+)$/s.exec(first)?.[1];
  if (container !== undefined || first === "none" || first === "host") {
    if (others.length > 0) throw new Error(`--network ${first} does not go together with --network ${others[0]}`);
    if (isWished)
      throw new Error(`--network ${first} has no names and addresses of its own: give the name of a network`);
    return { network: container === undefined ? first : { container } };
  }
  const attached: NetworkAttachment = { name: first, ...wished };
  return { network: [attached, ...others] };
}

function hostsOf(lines: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, address] = /^([^:=]+)[:=](.+)$/.exec(line) ?? [];
      if (name === undefined || address === undefined) throw new Error(`--add-host "${line}" has to be NAME:ADDRESS`);
      return [name, address.replace(/^\[(.*)\]$/, "$1")];
    }),
  );
}

function limitsOf({ memory, memorySwap, cpus, pidsLimit }: RunFlags): NonNullable<ContainerOptions["limits"]> {
  const number = (text: string, flag: string) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value)) throw new Error(`invalid number "${text}" for --${flag}`);
    return value;
  };
  return {
    // As for Docker, 0 is no limit.
    ...(memory && memory !== "0" && { memory: Number(parseSize(memory, "memory")) }),
    ...(memorySwap && { memorySwap: memorySwap === "-1" ? -1 : Number(parseSize(memorySwap, "memory-swap")) }),
    ...(cpus && number(cpus, "cpus") !== 0 && { cpus: number(cpus, "cpus") }),
    ...(pidsLimit && number(pidsLimit, "pids-limit") > 0 && { pids: number(pidsLimit, "pids-limit") }),
  };
}

function ulimitOf(text: string): [string, { soft: number; hard: number }] {
  const [, name, soft, hard = soft] = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text) ?? [];
  if (name === undefined) throw new Error(`--ulimit "${text}" has to be NAME=SOFT or NAME=SOFT:HARD`);
  return [name, { soft: Number(soft), hard: Number(hard) }];
}

import { isIP } from "node:net";
import { Failure } from "../../failure/failure.js";
import { readForeignFile } from "../../files/foreign-files.js";
import type { ContainerConfig } from "../container-config.js";
import { checkText, invalidOption } from "./invalid-option.js";

/** What the files say that every container has of its own in /etc. */
export interface ContainerFileTexts {
  hosts: string;
  hostname: string;
  resolvConf: string;
}

/** What a container's files depend on. */
export type FileWishes = Pick<ContainerConfig, "network" | "extraHosts" | "dns" | "dnsSearch" | "dnsOptions"> &
  Partial<Pick<ContainerConfig, "domainname">>;

/** A container's addresses on one of its networks; "" is none of that family. */
export interface OwnAddresses {
  address: string;
  address6: string;
  /** The network's. */
  gateway: string;
}

/** In bytes: of the host's own. */
const LARGEST = 1 << 20;

const LOCALHOST = [
  "127.0.0.1\tlocalhost",
  "::1\tlocalhost ip6-localhost ip6-loopback",
  "fe00::\tip6-localnet",
  "ff00::\tip6-mcastprefix",
  "ff02::1\tip6-allnodes",
  "ff02::2\tip6-allrouters",
];

/** Where a container on networks asks for names: containerd-netd answers there. */
const OWN_SERVER = "127.0.0.11";

/**
 * The contents of a container's /etc/hosts, /etc/hostname and /etc/resolv.conf. Who has the host's network has the host's names, too.
 * @param hostname as `hostnameOf` tells it
 * @param places on its networks, the first one first
 * @throws Failure: invalid-argument; deadline-exceeded; the caller's reason
 */
export async function containerFiles(
  config: FileWishes,
  hostname: string,
  signal?: AbortSignal,
  places: readonly OwnAddresses[] = [],
): Promise<ContainerFileTexts> {
  const { network, extraHosts, domainname = "" } = config;
  checkNaming(config);
  const added = extraHosts.map((entry, index) => extraHost(`extraHosts[${index}]`, entry, network, places));
  const known = network.mode === "host" ? lines(await ofHost("/etc/hosts", signal)) : LOCALHOST;
  const own = places.flatMap((place) => ownLines(place, hostname, domainname));
  return {
    hosts: textOf([...known, ...own, ...added]),
    hostname: `${hostname}\n`,
    resolvConf: await resolvConf(config, signal),
  };
}

/** Of /etc/hosts, with what a container is called. */
export function ownLines(
  { address, address6 }: Pick<OwnAddresses, "address" | "address6">,
  hostname: string,
  domainname: string,
): string[] {
  const names = domainname === "" ? hostname : `${hostname}.${domainname} ${hostname}`;
  return [address, address6].filter((text) => text !== "").map((text) => `${text}\t${names}`);
}

/** A container's /etc/resolv.conf. @throws Failure: deadline-exceeded; the caller's reason */
export async function resolvConf(
  { network, dns = [], dnsSearch, dnsOptions }: FileWishes,
  signal: AbortSignal | undefined,
): Promise<string> {
  const isAttached = network.mode === "attached";
  const isHosts = network.mode === "host";
  if (!isHosts && !isAttached) {
    const servers = dns.map((server) => `nameserver ${server}`);
    return textOf([...servers, ...searchLine(dnsSearch ?? []), ...optionsLine(dnsOptions ?? [])]);
  }
  const ofHosts = await ofHost("/etc/resolv.conf", signal);
  if (isAttached) {
    const options = (dnsOptions ?? []).some((option) => option.startsWith("ndots:"))
      ? dnsOptions!
      : [...(dnsOptions ?? []), "ndots:0"];
    return textOf([`nameserver ${OWN_SERVER}`, ...searchLine(dnsSearch ?? searchOf(ofHosts)), ...optionsLine(options)]);
  }
  if (dns.length === 0 && dnsSearch === undefined && dnsOptions === undefined) return ofHosts;
  const replaced = [
    ...(dns.length > 0 ? ["nameserver"] : []),
    ...(dnsSearch === undefined ? [] : ["search", "domain"]),
    ...(dnsOptions === undefined ? [] : ["options"]),
  ];
  const kept = lines(ofHosts).filter((line) => !replaced.includes(line.trim().split(/\s+/)[0]!));
  const servers = dns.map((server) => `nameserver ${server}`);
  return textOf([...kept, ...servers, ...searchLine(dnsSearch ?? []), ...optionsLine(dnsOptions ?? [])]);
}

/** @throws Failure (invalid-argument) for what would be something else in resolv.conf */
function checkNaming({ network, dns = [], dnsSearch = [], dnsOptions = [] }: FileWishes): void {
  if (network.mode === "container" && dns.length + dnsSearch.length + dnsOptions.length > 0)
    throw invalidOption(
      "dns",
      [...dns, ...dnsSearch, ...dnsOptions],
      "the container whose network it joins has a resolv.conf",
    );
  for (const [index, server] of dns.entries())
    if (isIP(server) === 0) throw invalidOption(`dns[${index}]`, server, "it must be an IPv4 or IPv6 address");
  const isWord = (text: string) => /^[^\s#;]{1,253}$/.test(text);
  for (const [name, words] of Object.entries({ dnsSearch, dnsOptions }))
    for (const [index, word] of words.entries()) {
      checkText(`${name}[${index}]`, word);
      if (!isWord(word)) throw invalidOption(`${name}[${index}]`, word, "it must be one word");
    }
}

/** Of a resolv.conf: the last line counts. */
function searchOf(text: string): string[] {
  const last = lines(text)
    .map((line) => line.trim().split(/\s+/))
    .findLast(([word]) => word === "search" || word === "domain");
  return last?.slice(1) ?? [];
}

/** "." alone means none. */
function searchLine(domains: readonly string[]): string[] {
  const some = domains.filter((domain) => domain !== ".");
  return some.length === 0 ? [] : [`search ${some.join(" ")}`];
}

function optionsLine(options: readonly string[]): string[] {
  return options.length === 0 ? [] : [`options ${options.join(" ")}`];
}

function lines(text: string): string[] {
  return text === "" ? [] : text.replace(/\n$/, "").split("\n");
}

function textOf(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join("");
}

/** "" where there is none. */
async function ofHost(path: string, signal: AbortSignal | undefined): Promise<string> {
  try {
    return await readForeignFile(path, LARGEST, signal);
  } catch (error) {
    if (error instanceof Failure && error.kind === "not-found") return "";
    throw error;
  }
}

/** `NAME:ADDRESS`, or `NAME=ADDRESS`; an IPv6 address with or without brackets. */
function extraHost(
  option: string,
  entry: string,
  { mode }: ContainerConfig["network"],
  [first]: readonly OwnAddresses[],
): string {
  const end = entry.includes("=") ? entry.indexOf("=") : entry.indexOf(":");
  const [name, given] = [entry.slice(0, end), entry.slice(end + 1)];
  if (end < 1 || !/^[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$/.test(name))
    throw invalidOption(option, entry, "it must be NAME:ADDRESS, like db:10.0.0.7");
  if (given === "host-gateway") {
    if (mode !== "attached")
      throw invalidOption(
        option,
        entry,
        "host-gateway is the host's address on the container's first network: it has none",
      );
    // Of one that is not started now nobody reads the file.
    return `${first?.gateway ?? "127.0.0.1"}\t${name}`;
  }
  const address = given.replace(/^\[(.*)\]$/, "$1");
  if (isIP(address) === 0)
    throw invalidOption(option, entry, `${JSON.stringify(given)} must be an IPv4 or IPv6 address`);
  return `${address}\t${name}`;
}

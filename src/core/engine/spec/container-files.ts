import { isIP } from "node:net";
import { Failure } from "../../failure/failure.js";
import { readForeignFile } from "../../files/foreign-files.js";
import type { ContainerConfig } from "../container-config.js";
import { invalidOption } from "./invalid-option.js";

/** What the files say that every container has of its own in /etc. */
export interface ContainerFileTexts {
  hosts: string;
  hostname: string;
  resolvConf: string;
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

/**
 * The contents of a container's /etc/hosts, /etc/hostname and /etc/resolv.conf. Who has the host's network has the host's names, too.
 * @param hostname as `hostnameOf` tells it
 * @throws Failure: invalid-argument; deadline-exceeded; the caller's reason
 */
export async function containerFiles(
  { network, extraHosts }: Pick<ContainerConfig, "network" | "extraHosts">,
  hostname: string,
  signal?: AbortSignal,
): Promise<ContainerFileTexts> {
  const added = extraHosts.map((entry, index) => extraHost(`extraHosts[${index}]`, entry));
  const isHosts = network.mode === "host";
  const known = isHosts ? lines(await ofHost("/etc/hosts", signal)) : LOCALHOST;
  return {
    hosts: textOf([...known, ...added]),
    hostname: `${hostname}\n`,
    resolvConf: isHosts ? await ofHost("/etc/resolv.conf", signal) : "",
  };
}

function lines(text: string): string[] {
  return text.replace(/\n$/, "").split("\n");
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
function extraHost(option: string, entry: string): string {
  const end = entry.includes("=") ? entry.indexOf("=") : entry.indexOf(":");
  const [name, given] = [entry.slice(0, end), entry.slice(end + 1)];
  if (end < 1 || !/^[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?$/.test(name))
    throw invalidOption(option, entry, "it must be NAME:ADDRESS, like db:10.0.0.7");
  if (given === "host-gateway") {
    const why =
      "host-gateway is the host's address in the container's network, and there are none but the host's own and none at all yet";
    throw invalidOption(option, entry, why);
  }
  const address = given.replace(/^\[(.*)\]$/, "$1");
  if (isIP(address) === 0)
    throw invalidOption(option, entry, `${JSON.stringify(given)} must be an IPv4 or IPv6 address`);
  return `${address}\t${name}`;
}

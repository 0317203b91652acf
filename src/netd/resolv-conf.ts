/** The host's name servers, as its resolv.conf has them now. */
import { readFile } from "../shim/syscalls/files";
import { now } from "../shim/syscalls/waiting";
import { socketAddress } from "./syscalls/inet";

const DNS_PORT = 53;
/** As resolv.conf(5) says. */
const MOST_SERVERS = 3;
/** In ms: how often it is looked at, at most, when somebody asks. */
const FRESH_FOR = 500;

let path = "/etc/resolv.conf";
let text: string | number | undefined;
let servers: string[] = [];
let readAt = -FRESH_FOR;

export function setResolvConf(file: string): void {
  path = file;
  readAt = -FRESH_FOR;
}

/** The addresses of the host's servers, its own loopback's where it names none. */
export function hostServers(): readonly string[] {
  const time = now();
  if (time - readAt < FRESH_FOR) return servers;
  readAt = time;
  const current = readFile(path);
  if (current === text) return servers;
  // One that is just being written anew is nobody's: the servers stay as they were.
  if (typeof current === "number" && text !== undefined) return servers;
  text = current;
  const found: string[] = [];
  for (const [address] of string.gmatch(`\n${current}`, "\n%s*nameserver[ \t]+([^%s#;]+)"))
    found[found.length] = address;
  servers = parseServers(found);
  if (servers.length === 0) servers = parseServers(["127.0.0.1"]);
  return servers;
}

/** Of addresses; those that are none are left out. */
export function parseServers(addresses: readonly string[]): string[] {
  const parsed: string[] = [];
  for (const address of addresses) {
    const server = socketAddress(address, DNS_PORT);
    if (server !== undefined && parsed.length < MOST_SERVERS) parsed[parsed.length] = server;
  }
  return parsed;
}

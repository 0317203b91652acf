import { BlockList, isIP } from "node:net";
import { Failure } from "../failure/failure.js";
import { bareHost, isLoopback } from "./local-hosts.js";

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL, as the environment says (HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in capitals or not) and Go's programs read it: never one
 * for this machine itself. NO_PROXY has names, which stand for what is below them too, addresses and networks, each with a port or without
 * one, or `*`.
 * @throws Failure (invalid-argument) for what is no URL; it is not shown, since there may be a password in it
 */
export function proxyFor(url: URL, environment: Environment): URL | undefined {
  const name = url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY";
  const text = environment[name] || environment[name.toLowerCase()];
  if (!text || isLoopback(url.hostname)) return undefined;
  if (isExcluded(url, environment.NO_PROXY || environment.no_proxy || "")) return undefined;
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const proxy = URL.canParse(full) ? new URL(full) : undefined;
  if (proxy !== undefined && /^https?:$/.test(proxy.protocol)) return proxy;
  const why = "it must be the URL of a proxy, http:// or https:// (its value is not shown)";
  throw new Failure("invalid-argument", "refused", { why: `invalid ${name} in the daemon's environment: ${why}` });
}

function isExcluded(url: URL, list: string): boolean {
  const host = bareHost(url.hostname).toLowerCase();
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== "" && covers(entry, host, port));
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  const [, network, prefix] = /^([\d.]+|[\da-f:.]+)\/(\d+)$/.exec(entry) ?? [];
  if (network !== undefined) return isInNetwork(network, Number(prefix), host);
  const [, bracketed, named, ofPort] = /^(?:\[([\da-f:.]+)\]|([^:]*))(?::(\d+))?$/.exec(entry) ?? [];
  if (ofPort !== undefined && ofPort !== port) return false;
  // What has several colons is an address of IPv6 without brackets.
  const name = bracketed ?? named ?? entry;
  if (isIP(name) !== 0) return name === host;
  const suffix = name.replace(/^\*?\.?/, "");
  if (suffix === "") return false;
  return host.endsWith(`.${suffix}`) || (host === suffix && !/^\*?\./.test(name));
}

function isInNetwork(network: string, prefix: number, host: string): boolean {
  const family = isIP(network);
  if (family === 0 || isIP(host) !== family || prefix > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? "ipv4" : "ipv6";
  const list = new BlockList();
  list.addSubnet(network, prefix, type);
  return list.check(host, type);
}

import { join } from "node:path";
import { Failure } from "../failure/failure.js";
import { readForeignFile } from "../files/foreign-files.js";
import { ALL_CAPABILITIES, type Capability } from "./capabilities.js";
import { parseHostsFile } from "./hosts-file.js";
import { isLoopback } from "./local-hosts.js";
import { DEFAULT_HOST } from "./reference.js";
import { namesIn, type Tls, TlsFiles } from "./tls.js";

/** A registry, or a mirror of one. */
export interface Host {
  /** Up to `/v2`, or what stands there instead; without a slash at its end. */
  readonly url: URL;
  readonly capabilities: ReadonlySet<Capability>;
  readonly tls: Tls;
  /** To be sent with each request to it, and to nobody else. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The registry itself, for which a client's credentials are. */
  readonly isServer: boolean;
  /** Whether it may turn out to speak without TLS. */
  readonly mayBePlain: boolean;
}

const HOSTS_FILE = "hosts.toml";
/** In bytes. */
const MAX_FILE = 1 << 20;

/** Where docker.io has its registry. */
const DEFAULT_REGISTRY = "registry-1.docker.io";
/** What is for all hosts that have no directory of their own. */
const DEFAULT_DIRECTORY = "_default";

/** Who is asked for what a host's names stand for, in this order: its mirrors, as the directories say, and itself. */
export async function hostsOf(
  host: string,
  { hostsDirs, plainHttp }: { hostsDirs: readonly string[]; plainHttp: boolean },
  signal?: AbortSignal,
): Promise<Host[]> {
  const directory = await hostDirectory(host, hostsDirs, signal);
  const tlsFiles = new TlsFiles(signal);
  if (directory !== undefined) {
    const path = join(directory, HOSTS_FILE);
    const text = await readIfThere(path, signal);
    if (text !== undefined && text.trim() !== "") {
      const { mirrors, server } = await parseHostsFile(text, path);
      const hosts: Host[] = [];
      for (const { tls, ...mirror } of mirrors) {
        const isServer = mirror.url.host === ownUrl(host, plainHttp).url.host;
        hosts.push({ ...mirror, tls: await tlsFiles.read(tls), isServer, mayBePlain: false });
      }
      const tls = await tlsFiles.read(server.tls);
      const { mayBePlain, url } =
        server.url === undefined ? ownUrl(host, plainHttp) : { mayBePlain: false, url: server.url };
      hosts.push({ ...server, url, tls, isServer: true, mayBePlain });
      return hosts;
    }
  }
  const tls = directory === undefined ? TlsFiles.none : await tlsFiles.readDocker(directory);
  const { mayBePlain, url } = ownUrl(host, plainHttp);
  return [{ url, capabilities: new Set(ALL_CAPABILITIES), tls, headers: [], isServer: true, mayBePlain }];
}

function ownUrl(host: string, plainHttp: boolean): { url: URL; mayBePlain: boolean } {
  const name = host === DEFAULT_HOST ? DEFAULT_REGISTRY : host;
  const url = new URL(`http${plainHttp ? "" : "s"}://${name}/v2`);
  // Port 443 is nobody else's.
  return { url, mayBePlain: !plainHttp && url.port !== "" && isLoopback(url.hostname) };
}

/** A host's own directory in any place comes before one for all. */
async function hostDirectory(host: string, places: readonly string[], signal?: AbortSignal) {
  // A colon is not for every file system.
  const withoutColon = host.replace(/:(\d+)$/, "_$1_");
  for (const names of [[...new Set([withoutColon, host])], [DEFAULT_DIRECTORY]]) {
    for (const place of places) {
      for (const name of names) if (await isThere(join(place, name), signal)) return join(place, name);
    }
  }
  return undefined;
}

async function isThere(directory: string, signal?: AbortSignal): Promise<boolean> {
  return (await namesIn(directory, signal)) !== undefined;
}

async function readIfThere(path: string, signal?: AbortSignal): Promise<string | undefined> {
  try {
    return await readForeignFile(path, MAX_FILE, signal);
  } catch (error) {
    if (error instanceof Failure && error.kind === "not-found") return undefined;
    throw error;
  }
}

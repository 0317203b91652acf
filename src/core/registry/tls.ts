import { createHash, X509Certificate } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { Failure } from "../failure/failure.js";
import { foreignFileError, onForeignFiles, readForeignFile } from "../files/foreign-files.js";
import { Slices } from "../scheduling/slices.js";
import type { NamedFile, TlsPaths } from "./hosts-file.js";

/** How a host shows who it is, and we who we are. */
export interface Tls {
  /** Two that are the same have the same. */
  readonly id: string;
  /** PEM: whom to trust besides the machine's authorities. */
  readonly ca: readonly string[];
  /** PEM. */
  readonly client: readonly { readonly cert: string; readonly key: string }[];
  readonly skipVerify: boolean;
}

/** In bytes. */
const MAX_FILE = 1 << 20;

/** Reads the files that are named for a host. */
export class TlsFiles {
  static readonly none: Tls = { id: "", ca: [], client: [], skipVerify: false };
  readonly #signal: AbortSignal | undefined;

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** @throws Failure (invalid-argument) that quotes the file that names one, and the key */
  async read({ ca, client, skipVerify }: TlsPaths): Promise<Tls> {
    const authorities: string[] = [];
    for (const file of ca) authorities.push(await this.#authority(file));
    const pairs: { cert: string; key: string }[] = [];
    for (const { cert, key } of client) pairs.push(await this.#pair(cert, key));
    return identified({ ca: authorities, client: pairs, skipVerify });
  }

  /** Docker's own layout: each `*.crt` is an authority, each `*.cert` with its `*.key` one of ours. */
  async readDocker(directory: string): Promise<Tls> {
    const names = ((await namesIn(directory, this.#signal)) ?? []).sort();
    const file = (name: string): NamedFile => ({ path: join(directory, name), by: { path: directory, key: name } });
    const ca = names.filter((name) => name.endsWith(".crt")).map(file);
    const client = names
      .filter((name) => name.endsWith(".cert"))
      .map((name) => ({ cert: file(name), key: file(name.replace(/cert$/, "key")) }));
    return await this.read({ ca, client, skipVerify: false });
  }

  async #text({ path, by }: NamedFile): Promise<string> {
    try {
      return await readForeignFile(path, MAX_FILE, this.#signal);
    } catch (error) {
      if (this.#signal?.aborted) throw error;
      throw new Failure("invalid-argument", "invalid-file", { ...by, why: errorText(error) }, { cause: error });
    }
  }

  async #authority(file: NamedFile): Promise<string> {
    const text = await this.#text(file);
    const wrong = (why: string) =>
      new Failure("invalid-argument", "invalid-file", { ...file.by, why: `${file.path} ${why}` });
    const certificates = certificatesIn(text);
    if (certificates.length === 0) throw wrong("has no certificate in PEM");
    const slices = new Slices();
    for (const certificate of certificates) {
      try {
        new X509Certificate(certificate);
      } catch {
        throw wrong("has a certificate that can't be read");
      }
      await slices.next();
    }
    return text;
  }

  async #pair(cert: NamedFile, key: NamedFile): Promise<{ cert: string; key: string }> {
    const pair = { cert: await this.#text(cert), key: await this.#text(key) };
    try {
      createSecureContext(pair);
    } catch (error) {
      const why = `${cert.path} and ${key.path} are no certificate and its key: ${errorText(error)}`;
      throw new Failure("invalid-argument", "invalid-file", { ...cert.by, why });
    }
    return pair;
  }
}

function identified(tls: Omit<Tls, "id">): Tls {
  if (tls.ca.length === 0 && tls.client.length === 0 && !tls.skipVerify) return TlsFiles.none;
  return { ...tls, id: createHash("sha256").update(JSON.stringify(tls)).digest("hex") };
}

/** Whom to trust, for hosts that this one sends us to: not who we are, and not that anybody may be there. */
export function forOthers({ id, ca }: Tls): Tls {
  return ca.length === 0 ? TlsFiles.none : { id: `${id} for others`, ca, client: [], skipVerify: false };
}

/** Names in a directory; undefined when there is none. */
export async function namesIn(directory: string, signal?: AbortSignal): Promise<string[] | undefined> {
  try {
    return await onForeignFiles(directory, () => readdir(directory), signal);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return undefined;
    throw signal?.aborted ? error : foreignFileError(error);
  }
}

function certificatesIn(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
}

/** Where systems keep the authorities that their administrators trust: those that Go's programs look at. */
const SYSTEM_FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** The last context of no host's own, and of which state of which file it is. */
let ofSystem: { state: string; context: Promise<SecureContext> } | undefined;

/**
 * What TLS connections to a host are made with. It trusts the machine's authorities, Node's where it has none.
 * @param file instead of the machine's
 */
export async function secureContext(tls: Tls, file?: string): Promise<SecureContext> {
  const { ca, client, skipVerify } = tls;
  const pairs = { cert: client.map(({ cert }) => cert), key: client.map(({ key }) => key) };
  if (skipVerify) return createSecureContext(client.length === 0 ? {} : pairs);
  const system = await systemFile(file);
  const make = async () => {
    const trusted =
      system === undefined ? [...rootCertificates] : certificatesIn(await readForeignFile(system.path, 4 * MAX_FILE));
    // One by one: all of them at once take longer than anybody should wait.
    const [first, ...others] = [...trusted, ...ca.flatMap(certificatesIn)];
    const made = createSecureContext({ ca: first ?? [], ...(client.length === 0 ? {} : pairs) });
    const slices = new Slices();
    for (const certificate of others) {
      addAuthority(made, certificate);
      await slices.next();
    }
    return made;
  };
  if (tls !== TlsFiles.none) return await make();
  const state = system === undefined ? "" : `${system.path} ${system.state}`;
  if (ofSystem?.state !== state) {
    const context = make();
    ofSystem = { state, context };
    context.catch(() => {
      if (ofSystem?.context === context) ofSystem = undefined;
    });
  }
  return await ofSystem.context;
}

function addAuthority(context: SecureContext, certificate: string): void {
  try {
    (context.context as { addCACert(pem: string): void }).addCACert(certificate);
  } catch {
    // One that OpenSSL can't read is one that nobody is trusted by.
  }
}

async function systemFile(file?: string): Promise<{ path: string; state: string } | undefined> {
  for (const path of file === undefined ? SYSTEM_FILES : [file]) {
    try {
      const { mtimeMs, size } = await stat(path);
      return { path, state: `${mtimeMs} ${size}` };
    } catch {
      // Another system's.
    }
  }
  return undefined;
}

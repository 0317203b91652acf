import { dirname, isAbsolute, join } from "node:path";
import { Failure } from "../failure/failure.js";
import { ALL_CAPABILITIES, type Capability } from "./capabilities.js";

/** Files of certificates, as a host's file names them. */
export interface TlsPaths {
  readonly ca: readonly NamedFile[];
  /** A key of its own, or in the same file. */
  readonly client: readonly { readonly cert: NamedFile; readonly key: NamedFile }[];
  readonly skipVerify: boolean;
}

/** A file, and where it is named. */
export interface NamedFile {
  readonly path: string;
  readonly by: { readonly path: string; readonly key: string };
}

interface HostEntry<U> {
  readonly url: U;
  readonly capabilities: ReadonlySet<Capability>;
  readonly tls: TlsPaths;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface HostsFile {
  /** In the order of the file. */
  readonly mirrors: readonly HostEntry<URL>[];
  /** Without a URL where the file names none: then the host itself is meant. */
  readonly server: HostEntry<URL | undefined>;
}

type Table = Record<string, unknown>;

const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/;
/** What undici and HTTP take in a value. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Each connection's own. */
const OWN_HEADERS = ["host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "keep-alive"];

/**
 * Reads a `hosts.toml` as containerd and nerdctl do. Keys that they know and we don't, or nobody, are left alone.
 * @param path of the file: paths in it are relative to its directory
 * @throws Failure (invalid-argument) that quotes file and key
 */
export async function parseHostsFile(text: string, path: string): Promise<HostsFile> {
  const { parse, TomlError } = await import("smol-toml");
  let file: Table;
  try {
    file = parse(text) as Table;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Its other lines quote the file, where secrets may be.
    const [why = ""] = error.message.split("\n");
    throw new Failure("invalid-argument", "invalid-file", {
      path: `${path}:${error.line}:${error.column}`,
      key: "",
      why,
    });
  }
  const reader = new HostsFileReader(path);
  const hosts = reader.table(file, "host", "host");
  return {
    mirrors: Object.entries(hosts).map(([name, entry]) => {
      const key = `host.${JSON.stringify(name)}`;
      if (!isTable(entry)) throw reader.wrong(key, "is no table");
      return {
        ...reader.entry(entry, `${key}.`),
        url: reader.url(name, key, reader.flag(entry, "override_path", `${key}.`)),
      };
    }),
    server: {
      ...reader.entry(file, ""),
      url: reader.server(file),
    },
  };
}

class HostsFileReader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  wrong(key: string, why: string): Failure {
    return new Failure("invalid-argument", "invalid-file", { path: this.#path, key, why });
  }

  server(file: Table): URL | undefined {
    const { server } = file;
    if (server === undefined || server === "") return undefined;
    if (typeof server !== "string") throw this.wrong("server", "is no string");
    return this.url(server, "server", this.flag(file, "override_path", ""));
  }

  /** @param prefix of its keys in errors */
  entry(table: Table, prefix: string): Omit<HostEntry<URL>, "url"> {
    const skipVerify = this.flag(table, "skip_verify", prefix);
    return {
      capabilities: this.#capabilities(table, `${prefix}capabilities`),
      tls: { ca: this.#ca(table.ca, `${prefix}ca`), client: this.#client(table.client, `${prefix}client`), skipVerify },
      headers: this.#headers(this.table(table, "header", `${prefix}header`), `${prefix}header`),
    };
  }

  table(parent: Table, name: string, key: string): Table {
    const value = parent[name];
    if (value === undefined) return {};
    if (isTable(value)) return value;
    throw this.wrong(key, "is no table");
  }

  flag(table: Table, name: string, prefix: string): boolean {
    const value = table[name] ?? false;
    if (typeof value === "boolean") return value;
    throw this.wrong(`${prefix}${name}`, "is neither true nor false");
  }

  url(text: string, key: string, overridesPath: boolean): URL {
    const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
    const url = URL.canParse(full) ? new URL(full) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol))
      throw this.wrong(key, `${JSON.stringify(text)} is no URL`);
    // Not quoted: it has a password.
    if (url.username !== "" || url.password !== "")
      throw this.wrong(key.startsWith("host.") ? "host" : key, "has a user name");
    if (url.search !== "" || url.hash !== "") throw this.wrong(key, `${JSON.stringify(text)} has more than a path`);
    const path = url.pathname.replace(/\/+/g, "/").replace(/\/$/, "");
    url.pathname = overridesPath || path.endsWith("/v2") ? path : `${path}/v2`;
    return url;
  }

  #capabilities(table: Table, key: string): ReadonlySet<Capability> {
    const { capabilities = [] } = table;
    if (!Array.isArray(capabilities)) throw this.wrong(key, "is no list");
    const known = capabilities.map((text: unknown) => {
      const capability = ALL_CAPABILITIES.find((name) => typeof text === "string" && name === text.toLowerCase());
      if (capability !== undefined) return capability;
      throw this.wrong(key, `${JSON.stringify(text)} is none of ${ALL_CAPABILITIES.join(", ")}`);
    });
    return new Set(known.length === 0 ? ALL_CAPABILITIES : known);
  }

  #file(value: unknown, key: string): NamedFile {
    if (typeof value !== "string" || value === "") throw this.wrong(key, "is no path of a file");
    const path = isAbsolute(value) ? value : join(dirname(this.#path), value);
    return { path, by: { path: this.#path, key } };
  }

  #ca(value: unknown, key: string): NamedFile[] {
    if (value === undefined) return [];
    return (Array.isArray(value) ? value : [value]).map((path) => this.#file(path, key));
  }

  /** One file with both, a list of such, or a list of pairs. */
  #client(value: unknown, key: string): { cert: NamedFile; key: NamedFile }[] {
    if (value === undefined) return [];
    return (Array.isArray(value) ? value : [value]).map((entry) => {
      if (!Array.isArray(entry)) return { cert: this.#file(entry, key), key: this.#file(entry, key) };
      if (entry.length !== 2) throw this.wrong(key, "a pair is the path of a certificate and that of its key");
      const [cert, ofKey = ""] = entry as unknown[];
      // Without one, containerd looks for it where the certificate is.
      return { cert: this.#file(cert, key), key: this.#file(ofKey === "" ? cert : ofKey, key) };
    });
  }

  #headers(table: Table, key: string): (readonly [string, string])[] {
    return Object.entries(table).flatMap(([name, value]) => {
      const of = `${key}.${JSON.stringify(name)}`;
      if (!HEADER_NAME.test(name)) throw this.wrong(of, "is no name of a header");
      if (OWN_HEADERS.includes(name.toLowerCase())) throw this.wrong(of, "is what each request says by itself");
      return (Array.isArray(value) ? value : [value]).map((text: unknown) => {
        if (typeof text !== "string") throw this.wrong(of, "is neither a string nor a list of strings");
        if (!HEADER_VALUE.test(text)) throw this.wrong(of, "has characters that no header can have");
        return [name, text] as const;
      });
    });
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

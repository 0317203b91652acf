import { homedir } from "node:os";
import { join } from "node:path";
import { Failure } from "../failure/failure.js";
import { readForeignFile } from "../files/foreign-files.js";
import { parseJson } from "../files/json.js";
import { askHelper } from "./credential-helper.js";
import type { Credentials } from "./credentials.js";
import type { Environment } from "./proxies.js";
import { DEFAULT_HOST } from "./reference.js";

/** In bytes. */
const MAX_FILE = 1 << 20;

/** What docker.io is called here: that of its first API. */
const DEFAULT_HOST_KEY = "https://index.docker.io/v1/";
/** As whom a helper has an identity token. */
const TOKEN_USER = "<token>";

/**
 * Finds credentials where `docker login` keeps them: config.json in $DOCKER_CONFIG or ~/.docker. A helper of the host (`credHelpers`) comes
 * before that of all (`credsStore`), and that before the file itself (`auths`).
 * @param host as in names of images
 * @returns undefined where there are none
 * @throws Failure invalid-argument that quotes file and key, never a value; failed-precondition for a helper that can't say
 */
export async function dockerCredentials(
  host: string,
  environment: Environment,
  signal?: AbortSignal,
): Promise<Credentials | undefined> {
  const path = join(environment.DOCKER_CONFIG || join(environment.HOME || homedir(), ".docker"), "config.json");
  let text: string;
  try {
    text = await readForeignFile(path, MAX_FILE, signal);
  } catch (error) {
    if (error instanceof Failure && error.kind === "not-found") return undefined;
    throw error;
  }
  const config = parseDockerConfig(text, path);
  const key = host === DEFAULT_HOST ? DEFAULT_HOST_KEY : host;
  const helper = config.helpers.get(key) ?? config.helpers.get(host) ?? config.store;
  const found = helper === undefined ? undefined : await askHelper(helper, key, environment, signal);
  if (found === undefined) return config.find(host);
  const { username, secret } = found;
  return username === TOKEN_USER
    ? { kind: "identity-token", token: secret }
    : { kind: "password", username, password: secret };
}

export interface DockerConfig {
  /** By host: NAME of `docker-credential-NAME`. */
  helpers: ReadonlyMap<string, string>;
  store: string | undefined;
  /** What the file itself has. */
  find(host: string): Credentials | undefined;
}

/** @throws as {@link dockerCredentials} */
export function parseDockerConfig(text: string, path: string): DockerConfig {
  const wrong = (key: string, why: string) => new Failure("invalid-argument", "invalid-file", { path, key, why });
  let config: unknown;
  try {
    config = parseJson(text);
  } catch {
    // The parser's own words may quote what stands there.
    throw wrong("", "is no JSON");
  }
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  const objectAt = (parent: Record<string, unknown>, key: string): Record<string, unknown> => {
    const value = Object.hasOwn(parent, key) ? parent[key] : undefined;
    if (value === undefined || value === null) return {};
    if (isObject(value)) return value;
    throw wrong(key, "is no object");
  };
  const textAt = (parent: Record<string, unknown>, key: string, shown: string): string => {
    const value = Object.hasOwn(parent, key) ? parent[key] : undefined;
    if (value === undefined || value === null) return "";
    if (typeof value === "string") return value;
    throw wrong(shown, "is no string");
  };
  if (!isObject(config)) throw wrong("", "is no JSON object");
  const auths = objectAt(config, "auths");
  const credHelpers = objectAt(config, "credHelpers");
  const helpers = new Map(
    Object.keys(credHelpers).map((host) => [host, textAt(credHelpers, host, `credHelpers.${host}`)] as const),
  );
  const read = (key: string): Credentials | undefined => {
    const entry = auths[key];
    const of = `auths[${JSON.stringify(key)}]`;
    if (!isObject(entry)) throw wrong(of, "is no object");
    const registryToken = textAt(entry, "registrytoken", `${of}.registrytoken`);
    if (registryToken !== "") return { kind: "registry-token", token: registryToken };
    const identityToken = textAt(entry, "identitytoken", `${of}.identitytoken`);
    if (identityToken !== "") return { kind: "identity-token", token: identityToken };
    const auth = textAt(entry, "auth", `${of}.auth`);
    if (auth === "") {
      const username = textAt(entry, "username", `${of}.username`);
      const password = textAt(entry, "password", `${of}.password`);
      return username === "" ? undefined : { kind: "password", username, password };
    }
    const decoded = Buffer.from(auth, "base64").toString("utf8").replace(/\0+$/, "");
    const colon = decoded.indexOf(":");
    if (colon <= 0) throw wrong(`${of}.auth`, "is not USER:PASSWORD in base64");
    return { kind: "password", username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
  };
  return {
    helpers,
    store: textAt(config, "credsStore", "credsStore") || undefined,
    find(host) {
      const wanted = host === DEFAULT_HOST ? [DEFAULT_HOST_KEY, "index.docker.io", host] : [host];
      const key =
        wanted.find((name) => Object.hasOwn(auths, name)) ??
        Object.keys(auths).find((name) => wanted.includes(name.replace(/^https?:\/\//, "").replace(/\/.*$/s, "")));
      return key === undefined ? undefined : read(key);
    },
  };
}

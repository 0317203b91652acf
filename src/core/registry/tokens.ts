import { createHash } from "node:crypto";
import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import { withTimeout } from "../failure/timeout.js";
import type { Challenge } from "./challenge.js";
import type { Connections, Outgoing } from "./connections.js";
import type { Credentials } from "./credentials.js";
import { connectionFault, Fault, shownUrl } from "./fault.js";
import { isLoopback, isPrivateToMachine } from "./local-hosts.js";
import { answerFault, readBody } from "./read-body.js";
import { secretsOf } from "./secrets.js";
import { forOthers, type Tls } from "./tls.js";

/** In bytes. */
const MAX_ANSWER = 256 << 10;
/** In ms: how long a token is good when nobody says it, and at most. */
const DEFAULT_LIFE = 60_000;
const LONGEST_LIFE = 3_600_000;
/** A token is not used in the last part of its life: the request has to get there. */
const USED_LIFE = 0.9;
/** More repositories than anybody pulls from at a time. */
const MAX_TOKENS = 256;
const CLIENT_ID = "containerd-ts";
/** What a header can have. */
const TOKEN = /^[\x21-\x7e]+$/;

/** Who wants a token, of whom. */
export interface TokenRequest {
  /** Of the host that has sent us for it. */
  readonly url: URL;
  readonly tls: Tls;
  readonly challenge: Challenge;
  readonly scopes: readonly string[];
  readonly credentials: Credentials | undefined;
}

interface Token {
  readonly text: string;
  /** By `performance.now()`. */
  readonly ends: number;
}

/** Tokens for registries that have servers of their own to give them, kept while they are good; many who want the same ask once. */
export class Tokens {
  readonly #connections: Connections;
  readonly #userAgent: string;
  readonly #known = new Map<string, Token>();
  readonly #asked = new Map<string, Promise<Token>>();

  constructor(connections: Connections, userAgent: string) {
    this.#connections = connections;
    this.#userAgent = userAgent;
  }

  /**
   * @param refused one that was not taken: another is got
   * @throws Fault, or the signal's reason
   */
  async get(request: TokenRequest, signal: AbortSignal, refused?: string): Promise<string> {
    const key = keyOf(request);
    const known = this.#known.get(key);
    if (known !== undefined && known.text !== refused && known.ends > performance.now()) return known.text;
    this.#known.delete(key);
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      // Not with the signal of the first of those who want it: the others would be refused when that one leaves.
      asked = this.#ask(request);
      this.#asked.set(key, asked);
      asked.then(
        (token) => {
          this.#asked.delete(key);
          const [first] = this.#known.keys();
          if (this.#known.size >= MAX_TOKENS && first !== undefined) this.#known.delete(first);
          this.#known.set(key, token);
        },
        () => this.#asked.delete(key),
      );
    }
    return (await abortable(asked, signal)).text;
  }

  async #ask({ url, tls, challenge, scopes, credentials }: TokenRequest): Promise<Token> {
    const realm = realmOf(challenge, url);
    const service = challenge.parameters.get("service");
    const { stallTimeout } = this.#connections;
    // The server of the registry itself is reached as that is; one elsewhere is a stranger.
    const isSame = realm.origin === url.origin;
    const isOfMachine = isLoopback(realm.hostname) && isLoopback(url.hostname);
    const used = isSame || isOfMachine ? tls : forOthers(tls);
    const secrets = secretsOf(credentials);
    const conceal = (text: string) => secrets.conceal(text);
    const failed = (why: string) =>
      new Fault(new Failure("unavailable", "registry-failed", { url: shownUrl(realm), why }));
    try {
      return await withTimeout([], 2 * stallTimeout, "answer-timeout", async (signal) => {
        const answer = await this.#connections.request(
          ...this.#request(realm, used, service, scopes, credentials, signal),
        );
        if (answer.status !== 200) throw await answerFault(answer, conceal, { signal, stallTimeout });
        const text = (await readBody(answer, MAX_ANSWER, { signal, stallTimeout })).toString("utf8");
        return parseToken(text) ?? Promise.reject(failed("its answer has no token"));
      });
    } catch (error) {
      if (error instanceof Failure)
        throw new Fault(new Failure("unavailable", "registry-failed", { url: shownUrl(realm), why: error.message }), {
          passes: true,
        });
      throw connectionFault(realm, error, stallTimeout);
    }
  }

  #request(
    realm: URL,
    tls: Tls,
    service: string | undefined,
    scopes: readonly string[],
    credentials: Credentials | undefined,
    signal: AbortSignal,
  ): [URL, Tls, Outgoing] {
    const headers: [string, string][] = [["user-agent", this.#userAgent]];
    if (credentials?.kind === "identity-token") {
      const form = new URLSearchParams({
        grant_type: "refresh_token",
        service: service ?? "",
        client_id: CLIENT_ID,
        scope: scopes.join(" "),
        refresh_token: credentials.token,
      });
      headers.push(["content-type", "application/x-www-form-urlencoded"]);
      return [realm, tls, { method: "POST", headers, body: `${form}`, signal }];
    }
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    if (credentials?.kind === "password") headers.push(["authorization", basic(credentials)]);
    return [url, tls, { method: "GET", headers, signal }];
  }
}

export function basic({ username, password }: Credentials & { kind: "password" }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/**
 * Where a challenge sends us. It is sent credentials, so it has to be encrypted, unless the registry itself is not; and a stranger may not
 * send us to what is this machine's own.
 */
function realmOf({ parameters }: Challenge, url: URL): URL {
  const text = parameters.get("realm") ?? "";
  const wrong = (why: string) =>
    new Fault(new Failure("permission-denied", "registry-failed", { url: shownUrl(url), why }));
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  if (realm === undefined || !/^https?:$/.test(realm.protocol))
    throw wrong("it sends us for a token to what is no URL");
  realm.username = "";
  realm.password = "";
  realm.hash = "";
  if (
    realm.protocol === "http:" &&
    url.protocol !== "http:" &&
    !(isLoopback(url.hostname) && isLoopback(realm.hostname))
  )
    throw wrong(`it sends us for a token to ${shownUrl(realm)}, which is not encrypted`);
  if (isPrivateToMachine(realm.hostname) && !isPrivateToMachine(url.hostname))
    throw wrong(`it sends us for a token to ${shownUrl(realm)}, which is this machine's own`);
  return realm;
}

function parseToken(text: string): Token | undefined {
  let answer: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null;
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    return undefined;
  }
  const { token, access_token, expires_in } = answer ?? {};
  const found = [token, access_token].find((value) => typeof value === "string" && TOKEN.test(value));
  if (found === undefined) return undefined;
  const life = typeof expires_in === "number" && expires_in > 0 ? expires_in * 1000 : DEFAULT_LIFE;
  return { text: found as string, ends: performance.now() + Math.min(life, LONGEST_LIFE) * USED_LIFE };
}

/** Whose token it is: one that was got with one's credentials is nobody else's. */
function keyOf({ url, tls, challenge, scopes, credentials }: TokenRequest): string {
  const { parameters } = challenge;
  const what = [
    url.origin,
    tls.id,
    parameters.get("realm"),
    parameters.get("service"),
    [...scopes].sort(),
    credentials,
  ];
  return createHash("sha256").update(JSON.stringify(what)).digest("base64");
}

import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import { FirstUse } from "../scheduling/first-use.js";
import { type Challenge, parseChallenges } from "./challenge.js";
import { type Answer, type Connections, NoTls, type Outgoing } from "./connections.js";
import type { Credentials } from "./credentials.js";
import { connectionFault, Fault, shownUrl, statusFault } from "./fault.js";
import type { Host } from "./hosts.js";
import { isPrivateToMachine } from "./local-hosts.js";
import { answerFault, readBody } from "./read-body.js";
import { Secrets, secretsOf } from "./secrets.js";
import { forOthers } from "./tls.js";
import { basic, type Tokens } from "./tokens.js";

/** How often an answer may send us on. */
const MAX_REDIRECTS = 5;
const REDIRECTS = [301, 302, 303, 307, 308];

export interface HostRequest extends Omit<Outgoing, "headers"> {
  /** Below `/v2/`, or an address that the host has given for this. */
  readonly path: string | URL;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** What a token has to allow: `repository:library/alpine:pull`. */
  readonly scopes: readonly string[];
  /** Statuses that are answers; all others are faults. */
  readonly expected: readonly number[];
}

interface SessionContext {
  readonly connections: Connections;
  readonly tokens: Tokens;
  readonly userAgent: string;
  /** Asked when the host wants to know, once. */
  readonly credentials: () => Promise<Credentials | undefined>;
}

/** One host as a pull or a push speaks to it: it knows what the host wants to see, and follows where it sends us. */
export class HostSession {
  readonly host: Host;
  /** Something has answered here. */
  isReached = false;
  /** It has not answered, or not as it should: others are asked before it is waited for again. */
  isDown = false;
  readonly #context: SessionContext;
  readonly #secrets = new Secrets();
  #url: URL;
  #challenge: Challenge | undefined;
  readonly #credentials = new FirstUse(() => this.#askForCredentials());

  constructor(host: Host, context: SessionContext) {
    this.host = host;
    this.#context = context;
    this.#url = host.url;
  }

  /** For errors. */
  get name(): string {
    return this.#url.host;
  }

  /** In ms. */
  get stallTimeout(): number {
    return this.#context.connections.stallTimeout;
  }

  url(path: string | URL): URL {
    return typeof path === "string" ? new URL(`${this.#url.pathname.replace(/\/$/, "")}/${path}`, this.#url) : path;
  }

  /**
   * Makes a request and answers what came of it in the end.
   * @throws Fault, or the signal's reason
   */
  async request(request: HostRequest): Promise<Answer> {
    const { signal } = request;
    let authorization = await this.#authorization(request.scopes, signal);
    for (let isSecond = false; ; isSecond = true) {
      const answer = await this.#follow(request, authorization);
      const isOurs = answer.url.origin === this.#url.origin;
      if (answer.status === 401 && isOurs && !isSecond) {
        const next = await this.#answerChallenge(answer, request, authorization);
        if (next !== undefined && isRepeatable(request)) {
          authorization = next;
          continue;
        }
        // Who has the body makes it again.
        if (next !== undefined) throw new Fault(statusFault(answer.url, 401, "").failure, { passes: true });
      }
      if (request.expected.includes(answer.status)) return answer;
      const fault = await this.#faultOf(answer, signal);
      // Where it has sent us, a signature may have been too old: it makes another.
      throw isOurs || ![401, 403].includes(answer.status) ? fault : new Fault(fault.failure, { passes: true });
    }
  }

  /** Where an answer says that an upload goes on. */
  placeOf({ url, headers }: Answer): URL {
    const location = headers.get("location");
    if (location === undefined) throw refused(url, "it takes an upload, and does not say where");
    const place = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    // Behind what does the encryption for them, some don't know of it.
    if (place?.protocol === "http:" && url.protocol === "https:" && place.hostname === url.hostname)
      return new URL(`${place.pathname}${place.search}`, url);
    return this.#redirected(url, location);
  }

  /** A small body; see {@link readBody}. */
  async read(answer: Answer, limit: number, signal: AbortSignal): Promise<Buffer> {
    return await readBody(answer, limit, { signal, stallTimeout: this.stallTimeout });
  }

  async #faultOf(answer: Answer, signal: AbortSignal): Promise<Fault> {
    const conceal = (text: string) => this.#secrets.conceal(text);
    const fault = await answerFault(answer, conceal, { signal, stallTimeout: this.stallTimeout });
    if (answer.status !== 401 || (await this.#known(signal)) !== undefined) return fault;
    const { why: said } = (fault.failure as Failure<"registry-failed">).facts;
    const why = `${said} (it was asked without credentials, since there are none for ${this.name})`;
    return new Fault(new Failure("unauthenticated", "registry-failed", { url: shownUrl(answer.url), why }));
  }

  async #known(signal: AbortSignal): Promise<Credentials | undefined> {
    // Not with the signal of the first who wants to know: the others would be refused when that one leaves.
    return await abortable(this.#credentials.done(), signal);
  }

  async #askForCredentials(): Promise<Credentials | undefined> {
    try {
      const credentials = await this.#context.credentials();
      this.#secrets.add(...secretsOf(credentials).all);
      return credentials;
    } catch (error) {
      throw error instanceof Failure ? new Fault(error) : error;
    }
  }

  /** What the host wants to see, as far as it has said it. */
  async #authorization(scopes: readonly string[], signal: AbortSignal, refused?: string): Promise<string | undefined> {
    const challenge = this.#challenge;
    if (challenge === undefined) return undefined;
    const credentials = await this.#known(signal);
    if (challenge.scheme === "basic") return credentials?.kind === "password" ? basic(credentials) : undefined;
    if (credentials?.kind === "registry-token") return `Bearer ${credentials.token}`;
    const wanted = challenge.parameters.get("scope")?.split(" ") ?? [];
    const all = [...new Set([...scopes, ...wanted.filter((scope) => scope !== "")])];
    const token = await this.#context.tokens.get(
      { url: this.#url, tls: this.host.tls, challenge, scopes: all.slice(0, MAX_SCOPES), credentials },
      signal,
      refused,
    );
    this.#secrets.add(token);
    return `Bearer ${token}`;
  }

  /** @returns what to show instead; undefined when there is nothing else */
  async #answerChallenge(answer: Answer, { scopes, signal }: HostRequest, shown: string | undefined) {
    const challenges = parseChallenges(answer.headers.get("www-authenticate") ?? "");
    const challenge =
      challenges.find(({ scheme }) => scheme === "bearer") ?? challenges.find(({ scheme }) => scheme === "basic");
    if (challenge === undefined) return undefined;
    this.#challenge = challenge;
    const next = await this.#authorization(scopes, signal, shown?.replace(/^Bearer /, ""));
    if (next === undefined || next === shown) return undefined;
    answer.body.destroy();
    return next;
  }

  /** Makes a request, and those that its answers send us to make. */
  async #follow(request: HostRequest, authorization: string | undefined): Promise<Answer> {
    const { path, query = {} } = request;
    let url = this.url(path);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#send(url, request, authorization);
      if (!REDIRECTS.includes(answer.status) || request.expected.includes(answer.status)) return answer;
      answer.body.destroy();
      const location = answer.headers.get("location");
      if (location === undefined || !["GET", "HEAD"].includes(request.method)) return answer;
      if (redirects === MAX_REDIRECTS)
        throw refused(answer.url, `it has sent us on ${MAX_REDIRECTS} times, and does again`);
      url = this.#redirected(answer.url, location);
    }
  }

  /** Where an answer sends us, if that is a place to go to. */
  #redirected(from: URL, location: string): URL {
    const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
    if (to === undefined || !/^https?:$/.test(to.protocol)) throw refused(from, "it sends us on to what is no URL");
    to.username = "";
    to.password = "";
    to.hash = "";
    if (from.protocol === "https:" && to.protocol === "http:")
      throw refused(from, `it sends us on to ${shownUrl(to)}, which is not encrypted`);
    if (isPrivateToMachine(to.hostname) && !isPrivateToMachine(this.#url.hostname))
      throw refused(from, `it sends us on to ${shownUrl(to)}, which is this machine's own`);
    return to;
  }

  async #send(url: URL, request: HostRequest, authorization: string | undefined): Promise<Answer> {
    const { connections, userAgent } = this.#context;
    const isOurs = url.origin === this.#url.origin;
    const headers: (readonly [string, string])[] = [
      ["user-agent", userAgent],
      ...Object.entries(request.headers ?? {}),
    ];
    // What shows who we are is for nobody else.
    if (isOurs) {
      headers.push(
        ...this.host.headers.filter(([name]) => authorization === undefined || name.toLowerCase() !== "authorization"),
      );
      if (authorization !== undefined) headers.push(["authorization", authorization]);
    }
    const { method, body, signal, headersTimeout } = request;
    const outgoing: Outgoing = {
      method,
      headers,
      signal,
      ...(body === undefined ? {} : { body }),
      ...(headersTimeout === undefined ? {} : { headersTimeout }),
    };
    try {
      const answer = await connections.request(url, isOurs ? this.host.tls : forOthers(this.host.tls), outgoing);
      this.isReached = true;
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Failure) throw new Fault(error);
      if (!(error instanceof NoTls)) throw connectionFault(url, error, this.stallTimeout);
      // Another request, which began as this one did, may have found out meanwhile that it has no TLS.
      const isKnownPlain = isOurs && this.#url.protocol === "http:";
      // Something that has shown itself by TLS before does not lose that.
      const mayBePlain = isKnownPlain || (this.host.mayBePlain && isOurs && !this.isReached);
      if (!mayBePlain || typeof body === "object") {
        const fault = connectionFault(url, error.cause, this.stallTimeout);
        throw new Fault(fault.failure, {
          passes: isKnownPlain || !/^ERR_SSL|^EPROTO/.test(String((error.cause as { code?: unknown }).code)),
        });
      }
      // Nothing was shown to it yet, and what is there is on this machine.
      this.#url = withoutTls(this.#url);
      return await this.#send(withoutTls(url), request, authorization);
    }
  }
}

/** More than any request needs; the host asks for what it likes. */
const MAX_SCOPES = 8;

function withoutTls(url: URL): URL {
  const plain = new URL(url);
  plain.protocol = "http:";
  return plain;
}

function isRepeatable({ body }: HostRequest): boolean {
  return body === undefined || typeof body === "string" || Buffer.isBuffer(body);
}

function refused(url: URL, why: string): Fault {
  return new Fault(new Failure("permission-denied", "registry-failed", { url: shownUrl(url), why }));
}

/** Who gives the tokens that a docker-registry of a test takes: as distribution's token specification has it. */
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Authority } from "./certificates.js";
import type { RegistryOptions } from "./registry.js";
import { USER } from "./registry.js";

/** What it was asked for. */
export interface TokenCall {
  method: string;
  /** Of Basic; undefined where nobody said who asks. */
  user: string | undefined;
  scopes: string[];
  service: string | null;
}

const ISSUER = "a test";
const SERVICE = "registry of a test";
/** What it takes instead of name and password. */
export const IDENTITY_TOKEN = "an-identity-token";

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

export class TokenServer implements AsyncDisposable {
  readonly calls: TokenCall[] = [];
  /** In seconds: how long a token is good. */
  life = 300;
  /** Whether who says nothing may pull. */
  isOpen = true;
  readonly #server: Server;
  readonly #authority: Authority;
  readonly #certificate: Buffer;
  readonly #key: ReturnType<typeof createPrivateKey>;

  private constructor(authority: Authority) {
    const { cert, key } = authority.issue("tokens");
    const [, body = ""] = /-----BEGIN CERTIFICATE-----([^-]+)/.exec(readFileSync(cert, "utf8")) ?? [];
    this.#authority = authority;
    this.#certificate = Buffer.from(body, "base64");
    this.#key = createPrivateKey(readFileSync(key));
    this.#server = createServer(async (request, response) => {
      const answer = await this.#answer(request);
      response.writeHead(answer === undefined ? 401 : 200, { "content-type": "application/json" });
      response.end(JSON.stringify(answer ?? { details: "who are you?" }));
    });
  }

  static async start(authority: Authority): Promise<TokenServer> {
    const server = new TokenServer(authority);
    await once(server.#server.listen(0, "127.0.0.1"), "listening");
    return server;
  }

  get realm(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  /** What a registry has to know. */
  get registryOptions(): RegistryOptions {
    const { realm } = this;
    return { token: { realm, service: SERVICE, issuer: ISSUER, rootcertbundle: this.#authority.ca } };
  }

  async #answer(request: IncomingMessage): Promise<object | undefined> {
    const url = new URL(request.url!, this.realm);
    const isPost = request.method === "POST";
    const form = isPost ? new URLSearchParams(await textOf(request)) : url.searchParams;
    const scopes = isPost ? (form.get("scope") ?? "").split(" ") : form.getAll("scope");
    const [, basic] = /^Basic (.*)$/.exec(request.headers.authorization ?? "") ?? [];
    const user = basic === undefined ? undefined : Buffer.from(basic, "base64").toString();
    this.calls.push({ method: request.method!, user, scopes, service: form.get("service") });
    const isKnown = isPost
      ? form.get("refresh_token") === IDENTITY_TOKEN
      : user === `${USER.username}:${USER.password}`;
    if ((isPost || user !== undefined || !this.isOpen) && !isKnown) return undefined;
    const access = scopes.map((scope) => {
      const [type = "", name = "", actions = ""] = scope.split(":");
      return { type, name, actions: actions.split(",").filter((action) => isKnown || action === "pull") };
    });
    const token = this.token(access, isKnown ? USER.username : "");
    return isPost ? { access_token: token, expires_in: this.life } : { token, expires_in: this.life };
  }

  /** @param life in seconds; a negative one is over */
  token(access: object[], subject = "", life = this.life): string {
    const now = Math.floor(Date.now() / 1000);
    const header = encode({ typ: "JWT", alg: "ES256", x5c: [this.#certificate.toString("base64")] });
    const claims = encode({
      ...{ iss: ISSUER, sub: subject, aud: SERVICE, jti: randomUUID(), access },
      ...{ iat: now, nbf: now - 600, exp: now + life },
    });
    const signature = sign("sha256", Buffer.from(`${header}.${claims}`), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return `${header}.${claims}.${signature.toString("base64url")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of request) text += part;
  return text;
}

/** A docker-registry that wants tokens, of a server of their own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Credentials } from "../../../src/core/registry/credentials.js";
import { parseReference } from "../../../src/core/registry/reference.js";
import { Registry } from "../../../src/core/registry/registry.js";
import { Authority } from "../../harness/certificates.js";
import { hasRegistry, startRegistry, type TestRegistry, USER } from "../../harness/registry.js";
import { directoryPrefix } from "../../harness/run-name.js";
import { IDENTITY_TOKEN, TokenServer } from "../../harness/token-server.js";
import { makeImage } from "./image.js";
import { MemorySink } from "./sink.js";

const dir = mkdtempSync(directoryPrefix());
const signal = new AbortController().signal;
const password: Credentials = { kind: "password", ...USER };
const image = makeImage();

describe.skipIf(!hasRegistry)("tokens", () => {
  let tokens: TokenServer;
  let registry: TestRegistry;
  let client: Registry;
  const open = (path: string, credentials?: Credentials) =>
    client.repository(
      parseReference(`${registry.host}/${path}`),
      credentials === undefined ? {} : { credentials: async () => credentials },
    );

  beforeAll(async () => {
    tokens = await TokenServer.start(new Authority(dir, "tokens"));
    registry = await startRegistry(tokens.registryOptions);
  });
  beforeEach(async () => {
    await client?.close();
    client = new Registry({ environment: { HOME: dir, PATH: process.env.PATH }, retryDelay: 1 });
    tokens.calls.length = 0;
    tokens.life = 300;
    tokens.isOpen = true;
  });
  afterAll(async () => {
    await client?.close();
    await registry?.[Symbol.asyncDispose]();
    await tokens?.[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true });
  });

  const push = async (path: string, credentials: Credentials) => {
    const repository = await open(`${path}:v1`, credentials);
    for (const blob of [image.config, image.layer]) {
      await repository.upload(
        blob,
        async function* (offset) {
          yield image.blobs.get(blob.digest)!.subarray(offset);
        },
        { signal },
      );
    }
    await repository.putManifest(image.manifest, image.manifestBytes, { signal, tag: "v1" });
  };

  test("a push and a pull, each with one token for all its requests", async () => {
    await push("tokens/one", password);
    expect(tokens.calls).toEqual([
      {
        method: "GET",
        user: `${USER.username}:${USER.password}`,
        service: "registry of a test",
        scopes: expect.arrayContaining(["repository:tokens/one:pull,push"]),
      },
    ]);
    tokens.calls.length = 0;
    const repository = await open("tokens/one:v1");
    const descriptor = await repository.resolve({ signal });
    await repository.manifest(descriptor, { signal });
    await repository.download(image.layer, new MemorySink(), { signal });
    expect(tokens.calls).toEqual([
      { method: "GET", user: undefined, service: "registry of a test", scopes: ["repository:tokens/one:pull"] },
    ]);
  });

  test("an identity token gets others; a registry token is shown as it is", async () => {
    await push("tokens/identity", { kind: "identity-token", token: IDENTITY_TOKEN });
    expect(tokens.calls.map(({ method, user }) => [method, user])).toEqual([["POST", undefined]]);
    tokens.calls.length = 0;
    const token = tokens.token([{ type: "repository", name: "tokens/identity", actions: ["pull"] }]);
    const repository = await open("tokens/identity:v1", { kind: "registry-token", token });
    expect(await repository.resolve({ signal })).toEqual(image.manifest);
    expect(tokens.calls).toEqual([]);
  });

  test("many who want the same ask once; with other credentials it is another token", async () => {
    await push("tokens/many", password);
    tokens.calls.length = 0;
    await Promise.all(Array.from({ length: 20 }, async () => (await open("tokens/many:v1")).resolve({ signal })));
    expect(tokens.calls).toHaveLength(1);
    await (await open("tokens/many:v1", password)).resolve({ signal });
    expect(tokens.calls.map(({ user }) => user)).toEqual([undefined, `${USER.username}:${USER.password}`]);
  });

  test("a token that is over in the middle: another is got", async () => {
    await push("tokens/over", password);
    tokens.calls.length = 0;
    // The registry allows for a minute of difference between clocks.
    tokens.life = -120;
    const repository = await open("tokens/over:v1");
    const first = await repository.resolve({ signal }).catch((error) => error);
    expect(first).toMatchObject({ kind: "unauthenticated" });
    const asked = tokens.calls.length;
    tokens.life = 300;
    expect(await repository.resolve({ signal })).toEqual(image.manifest);
    await repository.download(image.layer, new MemorySink(), { signal });
    expect(tokens.calls.length).toBe(asked + 1);
  });

  test("wrong credentials, none where some are wanted: errors that show no secret", async () => {
    const wrong: Credentials = { kind: "password", username: "tester", password: "wrong-password" };
    const refused = await (await open("tokens/wrong", wrong)).resolve({ signal }).catch((error) => error);
    expect(refused).toMatchObject({
      kind: "unauthenticated",
      message: expect.stringContaining(`${tokens.realm}: 401`),
    });
    expect(JSON.stringify([refused.message, refused.facts, refused.stack])).not.toMatch(/wrong-password|dGVzdGVy/);
    tokens.isOpen = false;
    const anonymous = await open("tokens/wrong");
    await expect(anonymous.resolve({ signal })).rejects.toMatchObject({ kind: "unauthenticated" });
    // A token for less than was asked for.
    tokens.isOpen = true;
    const upload = anonymous.upload(image.config, async function* () {}, { signal });
    await expect(upload).rejects.toMatchObject({ kind: "unauthenticated" });
  });

  test("credentials of Docker's configuration, by auths and by helpers", async () => {
    const login = `${USER.username}:${USER.password}`;
    const auth = Buffer.from(login).toString("base64");
    const config = (text: object) => writeFileSync(join(dir, "config.json"), JSON.stringify(text));
    const helper = (name: string, script: string) => {
      writeFileSync(join(dir, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    };
    await push("tokens/config", password);
    tokens.isOpen = false;
    const resolve = async () => {
      const environment = { DOCKER_CONFIG: dir, PATH: `${dir}:${process.env.PATH}` };
      await client.close();
      client = new Registry({ environment, retryDelay: 1 });
      return await (await open("tokens/config:v1")).resolve({ signal });
    };
    config({ auths: { [registry.host]: { auth } } });
    expect(await resolve()).toEqual(image.manifest);
    config({ auths: { [`https://${registry.host}/v2/`]: { auth } } });
    expect(await resolve()).toEqual(image.manifest);
    helper(
      "good",
      `read host; [ "$1 $host" = "get ${registry.host}" ] || exit 3
      echo noise >&2; echo '{"ServerURL":"x","Username":"${USER.username}","Secret":"${USER.password}"}'`,
    );
    config({ credHelpers: { [registry.host]: "good" }, credsStore: "bad" });
    expect(await resolve()).toEqual(image.manifest);
    helper("token", `echo '{"Username":"<token>","Secret":"${IDENTITY_TOKEN}"}'`);
    config({ credsStore: "token" });
    expect(await resolve()).toEqual(image.manifest);
    helper("empty", "echo credentials not found in native keychain; exit 1");
    config({ credsStore: "empty", auths: { [registry.host]: { auth } } });
    expect(await resolve()).toEqual(image.manifest);
    config({ credsStore: "nowhere" });
    await expect(resolve()).rejects.toThrow("docker-credential-nowhere");
    helper("bad", "echo broken keychain; exit 2");
    config({ credsStore: "bad" });
    await expect(resolve()).rejects.toThrow("it ended with status 2: broken keychain");
  });
});

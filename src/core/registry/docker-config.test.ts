import fc from "fast-check";
import { expect, test } from "vitest";
import { Failure } from "../failure/failure.js";
import { parseDockerConfig } from "./docker-config.js";

const PATH = "/root/.docker/config.json";
const read = (config: unknown) => parseDockerConfig(JSON.stringify(config), PATH);
const auth = Buffer.from("user:pass:word").toString("base64");
const login = { kind: "password", username: "user", password: "pass:word" };

test.each([
  ["docker.io", { "https://index.docker.io/v1/": { auth } }, login],
  ["docker.io", { "index.docker.io": { auth } }, login],
  ["docker.io", { "docker.io": { auth } }, login],
  ["quay.io", { "quay.io": { auth } }, login],
  ["quay.io", { "https://quay.io/v1/": { auth } }, login],
  ["quay.io", { "http://quay.io": { auth } }, login],
  ["quay.io:443", { "quay.io": { auth } }, undefined],
  ["quay.io", { "quay.io.evil": { auth }, "evil/quay.io": { auth } }, undefined],
  ["quay.io", { "quay.io": {} }, undefined],
  ["quay.io", { "quay.io": { auth: "" } }, undefined],
  ["quay.io", { "quay.io": { username: "user", password: "pass:word" } }, login],
  ["quay.io", { "quay.io": { auth, identitytoken: "t" } }, { kind: "identity-token", token: "t" }],
  ["quay.io", { "quay.io": { registrytoken: "t" } }, { kind: "registry-token", token: "t" }],
  ["toString", {}, undefined],
  ["__proto__", {}, undefined],
])("%s in %j", (host, auths, credentials) => {
  expect(read({ auths }).find(host)).toEqual(credentials);
});

test("helpers", () => {
  const { helpers, store } = read({ credsStore: "all", credHelpers: { "quay.io": "one" } });
  expect(store).toBe("all");
  expect([...helpers]).toEqual([["quay.io", "one"]]);
});

test.each([
  [[], "no JSON object"],
  [{ auths: 5 }, "auths: is no object"],
  [{ auths: { a: 5 } }, 'auths["a"]: is no object'],
  [{ auths: { a: { auth: 5 } } }, 'auths["a"].auth: is no string'],
  [{ auths: { a: { auth: "c2VjcmV0" } } }, 'auths["a"].auth: is not USER:PASSWORD in base64'],
  [{ credHelpers: { a: 5 } }, "credHelpers.a: is no string"],
  [{ credsStore: {} }, "credsStore: is no string"],
])("%j: %s", (config, why) => {
  expect(() => read(config).find("a")).toThrow(`${PATH}: ${why === "no JSON object" ? "is no JSON object" : why}`);
});

test("what is no JSON is not shown", () => {
  expect(() => parseDockerConfig('{"auths":{"a":{"auth":"c2VjcmV0"', PATH)).toThrow(
    /^\/root\/.docker\/config.json: is no JSON$/,
  );
});

test("any JSON is a configuration, or an error that names the file and shows no value", () => {
  const keys = fc.constantFrom("auths", "auth", "credHelpers", "credsStore", "a", "identitytoken", "__proto__");
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom("secret-value", 5, true, null),
      fc.dictionary(keys, tie("value")),
      fc.array(tie("value")),
    ),
  })).value;
  fc.assert(
    fc.property(fc.oneof(json, fc.record({ auths: json, credHelpers: json, credsStore: json })), (config) => {
      try {
        read(config).find("a");
      } catch (error) {
        expect(error).toBeInstanceOf(Failure);
        expect((error as Failure).message).toContain(PATH);
        expect((error as Failure).message).not.toContain("secret-value");
      }
    }),
    { numRuns: 500 },
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { Failure } from "../failure/failure.js";
import { parseReference } from "./reference.js";

const HEX = "0123456789abcdef".repeat(4);
const DIGEST = `sha256:${HEX}`;

test.each([
  ["alpine", "docker.io/library/alpine:latest"],
  ["alpine:3.20", "docker.io/library/alpine:3.20"],
  ["docker.io/alpine", "docker.io/library/alpine:latest"],
  ["index.docker.io/alpine", "docker.io/library/alpine:latest"],
  ["library/alpine", "docker.io/library/alpine:latest"],
  ["user/image:tag", "docker.io/user/image:tag"],
  ["localhost/image", "localhost/image:latest"],
  ["localhost:5000/image:5000", "localhost:5000/image:5000"],
  ["registry:5000/a/b/c", "registry:5000/a/b/c:latest"],
  ["quay.io/a", "quay.io/a:latest"],
  ["Registry/a", "Registry/a:latest"],
  ["[::1]:5000/a", "[::1]:5000/a:latest"],
  ["[fe80::1]/a:b", "[fe80::1]/a:b"],
  ["127.0.0.1:5000/test/large", "127.0.0.1:5000/test/large:latest"],
  ["a__b/c.d_e---f", "docker.io/a__b/c.d_e---f:latest"],
  [`alpine@${DIGEST}`, `docker.io/library/alpine@${DIGEST}`],
  [`alpine:3.20@${DIGEST}`, `docker.io/library/alpine:3.20@${DIGEST}`],
  [`x.y/${HEX}`, `x.y/${HEX}:latest`],
])("%s is %s", (typed, name) => {
  expect(parseReference(typed).name).toBe(name);
});

test("a name's parts", () => {
  expect(parseReference(`quay.io:443/a/b:c@${DIGEST}`)).toEqual({
    name: `quay.io:443/a/b:c@${DIGEST}`,
    host: "quay.io:443",
    path: "a/b",
    tag: "c",
    digest: DIGEST,
  });
});

test.each([
  ["", "it is empty"],
  ["https://quay.io/a", "it is no URL"],
  ["Alpine", "the path must be in lower case"],
  ["quay.io/Alpine", "the path must be in lower case"],
  ["quay.io/", "no name of a repository"],
  ["quay.io//a", "a part of the path is empty"],
  ["a/", "a part of the path is empty"],
  ["/a", "a part of the path is empty"],
  ["a:", '"" is no tag'],
  ["a:-b", '"-b" is no tag'],
  ["a:b:c", '"b:c" is no tag'],
  [`a:${"b".repeat(129)}`, "is no tag"],
  ["a@", '"" is no digest'],
  ["a@sha256:abc", '"sha256:abc" is no digest'],
  [`a@sha512:${HEX}${HEX}`, "is no digest"],
  [`a@${DIGEST}@${DIGEST}`, "is no digest"],
  [HEX, "an id"],
  ["a..b", '"a..b" must be lower case'],
  ["../a", '".." is no host'],
  ["a.b/../c", '".." must be lower case'],
  ["a b", '"a b" must be lower case'],
  ["ä.de/a", '"ä.de" is no host'],
  ["-a.b/c", '"-a.b" is no host'],
  ["a.b:70000/c", "there is no port 70000"],
  ["a.b:0/c", "there is no port 0"],
  ["a.b:/c", '"a.b:" is no host'],
  ["user:secret@a.b/c", '"secret@a.b" is no'],
  [`a.b/${"c".repeat(260)}`, "longer than 255"],
  ["a\nb", '"a\\nb" must be lower case'],
])("%j is refused", (typed, why) => {
  const parse = () => parseReference(typed);
  expect(parse).toThrow(Failure);
  expect(parse).toThrow(why.startsWith('"secret') ? "is no digest" : why);
  expect(parse).toThrow(`invalid image name ${JSON.stringify(typed)}`);
});

test("a text that is far too long is not shown whole", () => {
  expect(() => parseReference("a".repeat(1e6))).toThrow(/^.{0,800}$/);
});

const component = fc.stringMatching(/^[a-z0-9]{1,6}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,6}){0,2}$/);
const host = fc.stringMatching(/^[a-z0-9]{1,8}\.[a-z]{2,3}(?::[1-9][0-9]{1,3})?$/);
const tag = fc.stringMatching(/^[\w][\w.-]{0,20}$/);

test("a full name is itself, however it was made", () => {
  const parts = fc.tuple(
    fc.option(host, { nil: undefined }),
    fc.array(component, { minLength: 1, maxLength: 4 }),
    fc.option(tag, { nil: undefined }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(parts, ([host, path, tag, hasDigest]) => {
      // Else its first part would be the host.
      fc.pre(host !== undefined || path.length === 1 || !path[0]!.includes("."));
      const typed = [host, ...path].filter((part) => part !== undefined).join("/");
      const end = `${tag === undefined ? "" : `:${tag}`}${hasDigest ? `@${DIGEST}` : ""}`;
      const reference = parseReference(typed + end);
      expect(parseReference(reference.name)).toEqual(reference);
      expect(reference.digest).toBe(hasDigest ? DIGEST : undefined);
      expect(reference.tag).toBe(tag ?? (hasDigest ? undefined : "latest"));
      expect(reference.name).toContain(path.join("/"));
    }),
  );
});

test("any text is a name or refused by an error that quotes its beginning", () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom("a", "A", "0", "/", ":", "@", ".", "-", "_", "[", "]", "sha256:", HEX) }),
  );
  fc.assert(
    fc.property(text, (typed) => {
      try {
        const { name, host, path } = parseReference(typed);
        expect(name.startsWith(`${host}/${path}`)).toBe(true);
        expect(parseReference(name).name).toBe(name);
        // It is safe as a part of a URL and of a log line.
        expect(name).toMatch(/^[\w./:@[\]-]+$/);
        expect(path.split("/")).not.toContain("..");
      } catch (error) {
        expect(error).toBeInstanceOf(Failure);
        expect((error as Failure).kind).toBe("invalid-argument");
        if (typed.length <= 300) expect((error as Failure).message).toContain(JSON.stringify(typed));
      }
    }),
    { numRuns: 500 },
  );
});

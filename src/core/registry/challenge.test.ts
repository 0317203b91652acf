import fc from "fast-check";
import { expect, test } from "vitest";
import { parseChallenges } from "./challenge.js";

const parsed = (header: string) =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

test.each([
  ["Basic", [["basic", {}]]],
  ['Basic realm="a b"', [["basic", { realm: "a b" }]]],
  [
    'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
    [
      [
        "bearer",
        { realm: "https://auth.example/token", service: "registry.example", scope: "repository:a/b:pull,push" },
      ],
    ],
  ],
  ["BEARER REALM=https://a/t , Service = b", [["bearer", { realm: "https://a/t", service: "b" }]]],
  [
    'Negotiate, Basic realm="x", Bearer realm="y"',
    [
      ["negotiate", {}],
      ["basic", { realm: "x" }],
      ["bearer", { realm: "y" }],
    ],
  ],
  [
    'Negotiate YWJj==, Basic realm="x"',
    [
      ["negotiate", {}],
      ["basic", { realm: "x" }],
    ],
  ],
  [
    'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
    [
      ["newauth", { realm: "apps", type: "1", title: 'Login to "apps"' }],
      ["basic", { realm: "simple" }],
    ],
  ],
  ['Bearer realm="a",realm="b"', [["bearer", { realm: "a" }]]],
  ['Bearer realm="never ends', [["bearer", {}]]],
  ["", []],
  ['"', []],
])("%s", (header, challenges) => {
  const found = parsed(header);
  // What follows a challenge that is broken off is not asked of anybody.
  expect(found.slice(0, challenges.length)).toEqual(challenges);
});

const token = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);

test("what is written as the standard says is read back", () => {
  const challenge = fc.record({ scheme: token, parameters: fc.dictionary(token, fc.string(), { minKeys: 1 }) });
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 3 }), fc.constantFrom(",", ", ", " ,\t"), (challenges, comma) => {
      const quote = (value: string) => `"${value.replace(/["\\]/g, "\\$&")}"`;
      const header = challenges.map(
        ({ scheme, parameters }) =>
          `${scheme} ${Object.entries(parameters)
            .map(([name, value]) => `${name}=${quote(value)}`)
            .join(comma)}`,
      );
      expect(parsed(header.join(comma))).toEqual(
        challenges.map(({ scheme, parameters }) => [scheme, { ...parameters }]),
      );
    }),
  );
});

test("no text of any length takes long, or is an error", () => {
  const piece = fc.constantFrom("Bearer", "a=", '"', "\\", ",", " ", "=", "==", "realm", "\0", "ä", 'x="y"');
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: piece, maxLength: 400 })), (header) => {
      expect(Array.isArray(parseChallenges(header))).toBe(true);
    }),
    { numRuns: 2000 },
  );
  for (const piece of ["a", 'a="', "a ", "=", ' "', "a,", "\\"]) parseChallenges(piece.repeat(100_000));
});

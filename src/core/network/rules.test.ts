import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bridgeName } from "./device-names.js";
import type { ContainerRules, Network, Publication } from "./network.js";
import { changeText, containerPart, networkPart, type Part, tableName, wholeText } from "./rules.js";

const TABLE = tableName("01234567-89ab-4cde-8f01-23456789abcd");

/** What nft makes of a text in a network namespace of its own, where nothing of it stays: "" is nothing. */
function saidOf(...texts: string[]): string {
  const script = `for text; do printf %s "$text" | nft -f - || exit; done; nft list table inet ${TABLE}`;
  const { status, stdout, stderr } = spawnSync("unshare", ["--net", "sh", "-c", script, "sh", ...texts], {
    encoding: "utf8",
  });
  return status === 0 ? stdout : `failed: ${stderr}`;
}

const network: fc.Arbitrary<Network> = fc
  .record({
    number: fc.nat(255),
    isOf6: fc.boolean(),
    internal: fc.boolean(),
    isolated: fc.boolean(),
    length: fc.integer({ min: 16, max: 30 }),
  })
  .map(({ number, isOf6, internal, isolated, length }) => {
    const id = number.toString(16).padStart(64, "0").split("").reverse().join("");
    return {
      ...{ namespace: "default", id, name: `n${number}`, driver: "bridge", bridge: bridgeName(id), internal, isolated },
      ...{ subnet: `10.${number}.0.0/${length}`, gateway: `10.${number}.0.1`, mtu: 0, labels: {}, createdAt: 0n },
      ...{ subnet6: isOf6 ? `fd00:${number.toString(16)}::/64` : "", gateway6: isOf6 ? "fd00::1" : "" },
    };
  });

const port = fc.integer({ min: 1, max: 65_535 });
const publication: fc.Arbitrary<Publication> = fc.oneof(
  fc.record({
    protocol: fc.constantFrom("tcp", "udp"),
    hostAddress: fc.oneof(fc.constant("0.0.0.0"), fc.ipV4()),
    hostPort: port,
    address: fc.ipV4().filter((address) => address !== "0.0.0.0"),
    containerPort: port,
  }),
  fc.record({
    protocol: fc.constantFrom("tcp", "udp"),
    hostAddress: fc.oneof(fc.constant("::"), fc.ipV6()),
    hostPort: port,
    address: fc.ipV6().filter((address) => address !== "::"),
    containerPort: port,
  }),
);

/** Some networks, and containers with ports that no two of them have. */
const state = fc
  .record({
    networks: fc.uniqueArray(network, { selector: ({ id }) => id, maxLength: 6 }),
    publications: fc.uniqueArray(publication, {
      selector: (one) => networkPartKey(one),
      maxLength: 12,
    }),
    count: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ networks, publications, count }) => {
    const parts = new Map<string, Part>(networks.map((one) => [one.id, networkPart(one)]));
    for (let number = 0; number < count; number++) {
      const own = publications.filter((_, index) => index % count === number);
      const rules: ContainerRules = { endpoints: [], publications: own };
      parts.set(`container ${number}`, containerPart(TABLE, { namespace: "default", container: `${number}` }, rules));
    }
    return parts;
  });

function networkPartKey(one: Publication): string {
  const [element] = containerPart(
    TABLE,
    { namespace: "", container: "" },
    { endpoints: [], publications: [one] },
  ).elements;
  return `${element!.set} ${element!.key}`;
}

/** Order does not count. */
const sorted = (text: string) =>
  text
    .replace(/[\s,]+/g, "\n")
    .split("\n")
    .sort()
    .join(" ");

describe("the text of the rules", () => {
  test("of any state is one that nft takes", () => {
    fc.assert(
      fc.property(state, (parts) => {
        expect(saidOf(wholeText(TABLE, parts.values()))).toMatch(/^table inet/);
      }),
      { numRuns: 15 },
    );
  });

  test("of a change from any state to any other makes the same of the tables as all of it anew", () => {
    fc.assert(
      fc.property(state, state, (before, after) => {
        const change = changeText(TABLE, [...before.values()], [...after.values()]);
        const changed = saidOf(wholeText(TABLE, before.values()), change);
        expect(sorted(changed)).toBe(sorted(saidOf(wholeText(TABLE, after.values()))));
      }),
      { numRuns: 10 },
    );
  });

  test("of a start and an end is about their own elements only", () => {
    const part = containerPart(
      TABLE,
      { namespace: "default", container: "web" },
      {
        endpoints: [],
        publications: [
          { protocol: "tcp", hostAddress: "0.0.0.0", hostPort: 8080, address: "10.1.0.2", containerPort: 80 },
          { protocol: "udp", hostAddress: "::1", hostPort: 53, address: "fd00:1:0::2", containerPort: 5353 },
        ],
      },
    );
    expect(changeText(TABLE, [], [part])).toBe(
      `add element inet ${TABLE} anyports4 { tcp . 8080 : 10.1.0.2 . 80 }\n` +
        `add element inet ${TABLE} ports6 { udp . ::1 . 53 : fd00:1::2 . 5353 }\n`,
    );
    expect(changeText(TABLE, [part], [])).toBe(
      `delete element inet ${TABLE} anyports4 { tcp . 8080 }\n` +
        `delete element inet ${TABLE} ports6 { udp . ::1 . 53 }\n`,
    );
    expect(changeText(TABLE, [part], [part])).toBe("");
  });

  test.each([
    ["address", { address: "10.1.0.2; flush ruleset" }],
    ["address of the host", { hostAddress: "0.0.0.0 } add" }],
    ["port", { hostPort: 0 }],
    ["port", { containerPort: 70_000 }],
    ["port", { containerPort: 1.5 }],
    ["family", { address: "fd00::1" }],
    ["protocol", { protocol: "sctp" as "tcp" }],
  ])("has nothing in it that is no %s", (_, wrong) => {
    const right: Publication = {
      ...{ protocol: "tcp", hostAddress: "0.0.0.0", hostPort: 8080, address: "10.1.0.2", containerPort: 80 },
    };
    const rules = { endpoints: [], publications: [{ ...right, ...wrong }] };
    expect(() => containerPart(TABLE, { namespace: "", container: "" }, rules)).toThrow(/invalid publication/);
  });

  test("knows bridges by their names only", () => {
    const [one] = fc.sample(network, 1);
    expect(() => networkPart({ ...one!, bridge: 'ctd-" }' })).toThrow(/invalid name of a bridge/);
    expect(() => networkPart({ ...one!, subnet: "10.0.0.0/8 }" })).toThrow(/invalid subnet/);
    expect(() => networkPart({ ...one!, subnet: "fd00::/64" })).toThrow(/invalid subnet/);
  });
});

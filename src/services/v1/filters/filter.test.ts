import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Field, filtered, filterOf, present } from "./filter.js";
import { parseFilter, type Selector } from "./parse.js";

interface Thing {
  id: string;
  labels: Record<string, string>;
}

const fieldOf =
  ({ id, labels }: Thing): Field =>
  ([name, ...path]) =>
    name === "id" ? present(id) : name === "labels" ? labels[path.join(".")] : undefined;

const a: Thing = { id: "a", labels: { z: "2", "a.b/c": "x y", empty: "" } };
const bb: Thing = { id: "bb", labels: {} };
const other: Thing = { id: "", labels: { z: "/tasks/exit", quote: 'q"|/\\' } };

async function ids(...filters: string[]): Promise<string[]> {
  return (await filtered([a, bb, other], filters, fieldOf)).map(({ id }) => id);
}

describe("what passes", () => {
  test.each<[string[], string[]]>([
    [[], ["a", "bb", ""]],
    [[""], ["a", "bb", ""]],
    [["id==a"], ["a"]],
    [['id=="a"'], ["a"]],
    [['"id"==a'], ["a"]],
    [
      ["id==a,labels.z==2", "id==bb"],
      ["a", "bb"],
    ],
    [["id==a,labels.z==3"], []],
    [["id"], ["a", "bb"]],
    [["labels.z"], ["a", ""]],
    [["nope"], []],
    [["id!=a"], ["bb", ""]],
    [["nope!=a"], ["a", "bb", ""]],
    [['nope==""'], []],
    [['labels.empty==""'], ["a"]],
    [['labels."a.b/c"=="x y"'], ["a"]],
    [['labels.a."b/c"~="^x"'], ["a"]],
    [["id~=^b"], ["bb"]],
    [["id~=^$"], [""]],
    [["labels.z~=|^/tasks/|"], [""]],
    [["labels.z~=/exit$/"], [""]],
    [['labels.quote==q"|/\\'], [""]],
    [['labels.quote=="q\\"|/\\\\"'], [""]],
    [['labels.quote~=|q"\\|/|'], [""]],
    [
      ['id=="\\x61"', 'id=="b\\142"'],
      ["a", "bb"],
    ],
    [["id == a"], ["a"]],
    [["  id==a, labels.z==2"], ["a"]],
    [["id~=(?i)^A$"], ["a"]],
    [["id==b*"], []],
  ])("%j", async (filters, expected) => {
    expect(await ids(...filters)).toEqual(expected);
  });
});

/** As containerd 1.6 answers. */
describe("what is refused", () => {
  test.each([
    ["id==", "[id==]: expected value or quoted"],
    ["id=a", '[id >|=|< a]: unsupported operator "="'],
    ["id===a", '[id >|=|< ==a]: unsupported operator "==="'],
    ["id==a b", "[id==a >| |< b]: unexpected input:  "],
    [" id == a ", "[ id == a >| |< ]: unexpected input:  "],
    [",", "[ >|,|< ]: expected field or quoted"],
    [".", "[ >|.|< ]: expected field or quoted"],
    ["!id", "[ >|!|< id]: expected field or quoted"],
    ["id==a,", "[id==a,]: expected field or quoted"],
    ["id.", "[id.]: expected field or quoted"],
    ["id<=a", '[id >|<|< =a]: expected an operator ("=="|"!="|"~=")'],
    ["size>5", '[size >|>|< 5]: expected an operator ("=="|"!="|"~=")'],
    ['id=="a', '[id== >|"|< a]: quoted literal not terminated'],
    ['id=="a"b', '[id=="a" >|b|< ]: unexpected input: b'],
    ["id==|a|", "[id== >|||< a|]: invalid quote encountered"],
    ['id=="\\q"', '[id== >|"|< \\q"]: illegal escape sequence'],
    ['id=="\\400"', '[id== >|"|< \\400"]: illegal escape sequence'],
  ])("%j", (text, words) => {
    expect(() => parseFilter(text)).toThrow(`filters: parse error: ${words}`);
  });

  test.each([
    ["id~=(", 'filters: regular expression "(": missing closing ): `(`'],
    ["id~=(a)\\1", "invalid escape sequence"],
    [`id~=${"a".repeat(2000)}`, "longer than 1024 characters"],
    ["id~=((a{100}){100}){100}", "invalid repeat count"],
    ["id~=(a{900}){1}(b{900}){1}(c{900}){1}", "it repeats too much"],
  ])("a regular expression: %s", async (text, words) => {
    await expect(filterOf([text])).rejects.toMatchObject({
      kind: "invalid-argument",
      message: expect.stringContaining(words),
    });
  });

  test("one that is too long", () => {
    expect(() => parseFilter(`id=="${"a".repeat(20_000_000)}"`)).toThrow("longer than");
  });
});

test("an expression that has others backtrack for ever takes no time that shows", async () => {
  const duration = async (expression: string) => {
    const filter = await filterOf([`labels.z~=${expression}`]);
    const text = `${"a".repeat(4000)}b`;
    const start = performance.now();
    for (let i = 0; i < 20; i++) expect(filter(() => text)).toBe(false);
    return performance.now() - start;
  };
  await duration("a$");
  expect(await duration("(a+)+$")).toBeLessThan(100 * Math.max(await duration("[^b]c$"), 1));
});

const names = fc.oneof(fc.constantFrom("id", "labels", "z", "nope"), fc.string({ minLength: 1, unit: "grapheme" }));
const selectors: fc.Arbitrary<Selector> = fc
  .record({
    path: fc.array(names, { minLength: 1, maxLength: 3 }),
    operator: fc.constantFrom("present" as const, "==" as const, "!=" as const, "~=" as const),
    value: fc.oneof(fc.constantFrom("a", "bb", "2"), fc.string({ unit: "grapheme" })),
  })
  .map((selector) => (selector.operator === "present" ? { ...selector, value: "" } : selector));

/** As a careful client writes it. */
function write({ path, operator, value }: Selector): string {
  const quoted = (text: string) => `"${text.replace(/["\\]/g, "\\$&").replace(/\n/g, "\\n")}"`;
  const field = path.map((name) => (/^[-_A-Za-z0-9]+$/.test(name) ? name : quoted(name))).join(".");
  return operator === "present" ? field : `${field}${operator}${quoted(value)}`;
}

describe("properties", () => {
  test("what is written is read as it was meant", () => {
    fc.assert(
      fc.property(fc.array(selectors, { minLength: 1, maxLength: 4 }), (all) => {
        expect(parseFilter(all.map(write).join(","))).toEqual(all);
      }),
    );
  });

  test("any text is read or refused as invalid", async () => {
    const tokens = fc.array(
      fc.constantFrom(
        "id",
        "labels",
        ".",
        ",",
        "==",
        "!=",
        "~=",
        '"',
        "/",
        "|",
        "\\",
        " ",
        "a",
        "(",
        ")*",
        "\n",
        "é",
        "\ud800",
      ),
    );
    const texts = fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      tokens.map((parts) => parts.join("")),
    );
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        try {
          (await filterOf([text]))(fieldOf(a));
        } catch (error) {
          expect(error).toMatchObject({ name: "Failure", kind: "invalid-argument" });
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("commas ask for all, several filters for one", async () => {
    const simple = fc.constantFrom("id==a", "id==bb", "id", "labels.z", "id!=a", "id~=b", "nope");
    const passing = async (...filters: string[]) => new Set(await ids(...filters));
    await fc.assert(
      fc.asyncProperty(simple, simple, async (one, two) => {
        const [first, second] = [await passing(one), await passing(two)];
        const both = [...first].filter((id) => second.has(id));
        expect([...(await passing(`${one},${two}`))].sort()).toEqual(both.sort());
        expect([...(await passing(one, two))].sort()).toEqual([...new Set([...first, ...second])].sort());
      }),
    );
  });
});

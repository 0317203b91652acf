import { expect, test } from "vitest";
import { LIST_LAYOUT, tabwriter } from "./tabwriter.js";

test("columns are at least as wide as the layout says, and three spaces wider than their longest text", () => {
  const rows = [
    ["ID", "PATH", "STATUS", "PROCESSES"],
    ["web", "/a/rather/long/path/to/a/bundle", "running", "init,shell"],
  ];
  expect(tabwriter(rows, LIST_LAYOUT)).toBe(
    "ID                  PATH                              STATUS              PROCESSES\n" +
      "web                 /a/rather/long/path/to/a/bundle   running             init,shell\n",
  );
});

test("the last column is not padded, characters are counted and not bytes", () => {
  expect(
    tabwriter(
      [
        ["é", "x"],
        ["ab", ""],
      ],
      { minWidth: 1, padding: 1 },
    ),
  ).toBe("é  x\nab \n");
});

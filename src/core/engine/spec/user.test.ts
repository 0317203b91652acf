import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { resolveUser } from "./user.js";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "user-test-"));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const PASSWD = `root:x:0:0:root:/root:/bin/sh
# a comment
odd:x:minus:1
user:x:1000:1001:A User,,,:/home/user:/bin/sh
homeless:x:1002:1002:::
big:x:4294967295:1::/:
`;
const GROUP = `root:x:0:root
wheel:x:10:root,user
odd:x::user
video:x:44:user
user:x:1001:
`;

/** A root file system of its own for each. */
async function look(
  name: string,
  files: Record<string, string> | ((root: string) => void),
  user: string,
  add: string[] = [],
) {
  const root = join(directory, name);
  mkdirSync(join(root, "etc"), { recursive: true });
  if (typeof files === "function") files(root);
  else for (const [file, text] of Object.entries(files)) writeFileSync(join(root, "etc", file), text);
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await resolveUser(fd, user, add, { where: "the image" });
  } finally {
    closeSync(fd);
  }
}

describe("with /etc/passwd and /etc/group", () => {
  test.each([
    ["", [], { uid: 0, gid: 0, additionalGids: [0, 10], home: "/root", name: "root" }],
    ["root", [], { uid: 0, gid: 0, additionalGids: [0, 10], home: "/root", name: "root" }],
    ["user", [], { uid: 1000, gid: 1001, additionalGids: [1001, 10, 44], home: "/home/user", name: "user" }],
    ["1000", [], { uid: 1000, gid: 1001, additionalGids: [1001, 10, 44], home: "/home/user", name: "user" }],
    ["user:video", [], { uid: 1000, gid: 44, additionalGids: [44], home: "/home/user", name: "user" }],
    ["user:7", [], { uid: 1000, gid: 7, additionalGids: [7], home: "/home/user", name: "user" }],
    ["1234", [], { uid: 1234, gid: 0, additionalGids: [0], home: "/", name: "" }],
    ["1234:44", ["wheel", "5"], { uid: 1234, gid: 44, additionalGids: [44, 10, 5], home: "/", name: "" }],
    [":10", [], { uid: 0, gid: 10, additionalGids: [10], home: "/root", name: "root" }],
    ["homeless", ["video", "44"], { uid: 1002, gid: 1002, additionalGids: [1002, 44], home: "/", name: "homeless" }],
  ] as const)("%j and %j", async (user, add, expected) => {
    expect(await look("usual", { passwd: PASSWD, group: GROUP }, user, [...add])).toEqual(expected);
  });

  test.each([
    ["nobody", [], 'invalid user "nobody": there is no user "nobody" in /etc/passwd of the image'],
    ["big", [], 'there is no user "big"'],
    ["user:none", [], 'invalid user "user:none": there is no group "none" in /etc/group of the image'],
    ["user", ["0", "none"], 'invalid groupAdd[1] "none": there is no group "none"'],
    ["4294967295", [], "there is no user"],
    ["a:b:c", [], 'invalid user "a:b:c": it must be USER or USER:GROUP, names or numbers'],
    ["user:", [], "it must be USER or USER:GROUP"],
    ["a b", [], "it must be USER or USER:GROUP"],
  ] as const)("refuses %j and %j", async (user, add, message) => {
    await expect(look("usual", { passwd: PASSWD, group: GROUP }, user, [...add])).rejects.toThrow(message);
  });
});

test("without these files numbers are known, and root", async () => {
  expect(await look("empty", {}, "")).toEqual({ uid: 0, gid: 0, additionalGids: [0], home: "/", name: "" });
  expect(await look("empty", {}, "5:6")).toEqual({ uid: 5, gid: 6, additionalGids: [6], home: "/", name: "" });
  await expect(look("empty", {}, "root")).rejects.toThrow('there is no user "root"');
});

test("links are followed in the root file system, and never out of it", async () => {
  const link = (target: string) => (root: string) => {
    writeFileSync(join(root, "passwd"), "inside:x:7:7::/:\n");
    symlinkSync(target, join(root, "etc/passwd"));
  };
  expect(await look("absolute", link("/passwd"), "inside")).toMatchObject({ uid: 7 });
  expect(await look("up", link("../../../../../../passwd"), "inside")).toMatchObject({ uid: 7 });
  await expect(look("loop", link("passwd"), "inside")).rejects.toThrow(
    'invalid user "inside": /etc/passwd of the root file system is a loop of links',
  );
  await expect(look("device", link("/etc"), "inside")).rejects.toThrow("is no plain file");
});

test("a file that is too large is not read", async () => {
  await expect(look("large", { passwd: "#".repeat((1 << 20) + 1) }, "x")).rejects.toThrow(
    "/etc/passwd of the root file system is no plain file of at most 1048576 bytes",
  );
});

import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeFifo } from "../streams/fifo.js";
import { type User, userIds } from "./user.js";

let dir: string;
let rootfs: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "user-test-"));
  rootfs = join(dir, "rootfs");
  mkdirSync(join(rootfs, "etc"), { recursive: true });
  writeFileSync(
    join(rootfs, "etc/passwd"),
    "root:x:0:0::/:/bin/sh\n\nbroken\nworse:x:-1:x::\nnobody:x:65534:65533::/:\nme:x:1000:1001::/:\n77:x:5:6::/:",
  );
  writeFileSync(
    join(rootfs, "etc/group"),
    "root:x:0:\nwheel:x:10:me,root\naudio:x:11:nobody,me\nmine:x:1001:me\nnumberless:x::me\n",
  );
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

test.each<[User, object]>([
  ["nobody", { uid: 65534, gid: 65533, additionalGids: [11] }],
  ["me", { uid: 1000, gid: 1001, additionalGids: [10, 11] }],
  ["me:audio", { uid: 1000, gid: 11 }],
  ["me:12", { uid: 1000, gid: 12 }],
  ["1000:1000", { uid: 1000, gid: 1000 }],
  ["1234:wheel", { uid: 1234, gid: 10 }],
  ["1000", { uid: 1000, gid: 1001, additionalGids: [10, 11] }],
  [65534, { uid: 65534, gid: 65533, additionalGids: [11] }],
  // Nobody's number: with Docker's group.
  [4321, { uid: 4321, gid: 0 }],
  // Digits are a number, whatever names there are.
  ["77", { uid: 77, gid: 0 }],
  [{ uid: 3 }, { uid: 3, gid: 0 }],
  [
    { uid: 3, gid: 4, additionalGids: [5] },
    { uid: 3, gid: 4, additionalGids: [5] },
  ],
])("%j", (user, ids) => {
  expect(userIds(user, rootfs)).toEqual(ids);
});

test("who is not there is told, with where it was looked for", () => {
  expect(() => userIds("nobdy", rootfs)).toThrow(`there is no user "nobdy" in /etc/passwd of ${rootfs}`);
  expect(() => userIds("me:nogroup", rootfs)).toThrow(`there is no group "nogroup" in /etc/group of ${rootfs}`);
  expect(() => userIds("worse", rootfs)).toThrow(TypeError);
  rmSync(join(rootfs, "etc"), { recursive: true });
  expect(() => userIds("me", rootfs)).toThrow(TypeError);
  expect(userIds(5, rootfs)).toEqual({ uid: 5, gid: 0 });
});

const SECRET = "spy:x:666:666::/:\n";

test.each<[string, () => void]>([
  ["an absolute link", () => symlinkSync(join(dir, "secret"), join(rootfs, "etc/passwd"))],
  ["a link with dots", () => symlinkSync("../../secret", join(rootfs, "etc/passwd"))],
  [
    "a folder that is a link",
    () => {
      renameSync(join(rootfs, "etc"), join(rootfs, "real"));
      symlinkSync(join(dir, "outside"), join(rootfs, "etc"));
    },
  ],
  ["a link by way of /proc", () => symlinkSync(`/proc/${process.pid}/root${dir}/secret`, join(rootfs, "etc/passwd"))],
])("%s does not lead out of the root file system", (_, change) => {
  writeFileSync(join(dir, "secret"), SECRET);
  mkdirSync(join(dir, "outside"));
  writeFileSync(join(dir, "outside/passwd"), SECRET);
  rmSync(join(rootfs, "etc/passwd"));
  change();
  expect(() => userIds("spy", rootfs)).toThrow('there is no user "spy"');
});

test("links within it are followed, as the container would follow them", () => {
  mkdirSync(join(rootfs, "nix/store"), { recursive: true });
  renameSync(join(rootfs, "etc/passwd"), join(rootfs, "nix/store/passwd"));
  symlinkSync("/nix/../../nix/./store/passwd", join(rootfs, "etc/passwd"));
  renameSync(join(rootfs, "etc"), join(rootfs, "etc-1"));
  symlinkSync("etc-1", join(rootfs, "etc"));
  expect(userIds("me", rootfs)).toMatchObject({ uid: 1000, additionalGids: [10, 11] });
});

test("a loop, a FIFO, a folder, a device and a huge file are errors that name it, at once", () => {
  const passwd = join(rootfs, "etc/passwd");
  const refusal = (make: () => void) => {
    rmSync(passwd, { recursive: true, force: true });
    make();
    try {
      return userIds("me", rootfs);
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(refusal(() => symlinkSync("passwd", passwd))).toBe(`/etc/passwd in ${rootfs} is a loop of links`);
  expect(refusal(() => makeFifo(passwd))).toBe(`/etc/passwd in ${rootfs} is no plain file`);
  expect(refusal(() => mkdirSync(passwd))).toBe(`/etc/passwd in ${rootfs} is no plain file`);
  expect(refusal(() => execFileSync("mknod", [passwd, "c", "1", "5"]))).toBe(
    `/etc/passwd in ${rootfs} is no plain file`,
  );
  expect(
    refusal(() => {
      writeFileSync(passwd, "");
      truncateSync(passwd, 2 ** 40);
    }),
  ).toBe(`/etc/passwd in ${rootfs} is larger than 1048576 bytes`);
  // Nor is one read for ever that says to be empty and is not.
  expect(refusal(() => linkSync(join(rootfs, "etc/group"), passwd))).toContain('there is no user "me"');
});

test("a folder that is swapped for a link while it is read does not lead out either", async () => {
  mkdirSync(join(dir, "outside"));
  writeFileSync(join(dir, "outside/passwd"), SECRET);
  symlinkSync(join(dir, "outside"), join(rootfs, "link"));
  const swapper = new Worker(
    `const { renameSync } = require("node:fs");
     const { workerData: root, parentPort } = require("node:worker_threads");
     const move = (from, to) => renameSync(root + "/" + from, root + "/" + to);
     parentPort.postMessage("begun");
     for (;;) { move("etc", "folder"); move("link", "etc"); move("etc", "link"); move("folder", "etc"); }`,
    { eval: true, workerData: rootfs },
  );
  try {
    await new Promise((resolve) => swapper.once("message", resolve));
    const seen = new Set<string>();
    for (let count = 0; count < 3000; count++) {
      try {
        seen.add(`read ${userIds("spy:1", rootfs).uid}`);
      } catch (error) {
        seen.add((error as Error).message.replace(/ of .*/, ""));
      }
    }
    // A link that is a folder again is an error of its own.
    for (const outcome of seen) expect(outcome).toMatch(/^user: there is no user "spy" in \/etc\/passwd$|^EINVAL/);
  } finally {
    await swapper.terminate();
  }
});

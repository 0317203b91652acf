import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openInRoot, openInRootAside } from "../linux/openat2.js";
import { detachedBind, detachedOverlay, type OverlayWay } from "./detached.js";

const O_PATH = 0o10000000;
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "detached-test-"));
  for (const name of ["upper", "work", "place"]) mkdirSync(join(directory, name));
  for (let number = 0; number < 150; number++) {
    mkdirSync(join(directory, `lower-${number}`));
    writeFileSync(join(directory, `lower-${number}/file`), `${number}`);
    writeFileSync(join(directory, `lower-${number}/only-${number}`), "");
  }
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

const layers = (count: number) => Array.from({ length: count }, (_, number) => join(directory, `lower-${number}`));
const at = (root: number, path: string) => `/proc/self/fd/${root}/${path}`;
const mounts = () => readFileSync("/proc/self/mountinfo", "utf8").includes(directory);

test.each<[OverlayWay, number]>([
  ["detached", 150],
  // As many as a page of options names.
  ["place", 40],
])("an overlay, %s: %i layers, seen by nobody else", (way, count) => {
  const place = join(directory, "place");
  const root = detachedOverlay(layers(count), { place, way });
  try {
    expect(readFileSync(at(root, "file"), "utf8")).toBe("0");
    expect(readdirSync(at(root, "."))).toHaveLength(count + 1);
    expect(() => writeFileSync(at(root, "new"), "")).toThrow(/EROFS/);
    expect(mounts()).toBe(false);
    expect(readdirSync(place)).toEqual([]);
  } finally {
    closeSync(root);
  }
});

test("an overlay with an upper directory takes what is written", () => {
  const [upper, work, place] = ["upper", "work", "place"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const root = detachedOverlay(layers(2), { upper: { upper, work }, place });
  try {
    writeFileSync(at(root, "file"), "changed");
    expect(readFileSync(join(upper, "file"), "utf8")).toBe("changed");
    expect(mounts()).toBe(false);
  } finally {
    closeSync(root);
  }
});

test("a single directory, read-only or not", () => {
  const [lower] = layers(1) as [string];
  for (const readOnly of [true, false]) {
    const root = readOnly
      ? detachedOverlay([lower], { place: "" })
      : detachedBind(lower, { readOnly, recursive: true });
    try {
      const write = () => writeFileSync(at(root, "only-0"), "");
      if (readOnly) expect(write).toThrow(/EROFS/);
      else write();
    } finally {
      closeSync(root);
    }
  }
});

test("what can't be mounted: an error that names it", () => {
  const place = join(directory, "place");
  expect(() => detachedOverlay([join(directory, "none"), ...layers(1)], { place })).toThrow(/none: no such file/);
  expect(() => detachedBind(join(directory, "none"), { readOnly: true, recursive: false })).toThrow(
    /none: no such file/,
  );
  expect(mounts()).toBe(false);
});

test("links never lead out of a root, nor to what /proc's links name", async () => {
  const top = join(directory, "root");
  mkdirSync(join(top, "etc"), { recursive: true });
  writeFileSync(join(top, "etc/passwd"), "inside");
  symlinkSync("/etc/passwd", join(top, "absolute"));
  symlinkSync("../../../../../../etc/passwd", join(top, "up"));
  symlinkSync("loop", join(top, "loop"));
  const root = detachedBind(top, { readOnly: true, recursive: false });
  try {
    for (const path of ["absolute", "up", "/absolute", "../../etc/passwd"]) {
      const fd = openInRoot(root, path, constants.O_RDONLY);
      expect(readFileSync(fd, "utf8")).toBe("inside");
      closeSync(fd);
    }
    // At once: each hears of its own failure.
    const codes = await Promise.all(
      ["loop", "etc/none", "etc/passwd/below", "loop", "etc/none", "."].map(async (path) => {
        try {
          closeSync(await openInRootAside(root, path, O_PATH));
          return "opened";
        } catch (error) {
          return (error as NodeJS.ErrnoException).code;
        }
      }),
    );
    expect(codes).toEqual(["ELOOP", "ENOENT", "ENOTDIR", "ELOOP", "ENOENT", "opened"]);
  } finally {
    closeSync(root);
  }
  const host = detachedBind("/proc", { readOnly: true, recursive: false });
  try {
    expect(() => openInRoot(host, "self/root/etc", O_PATH)).toThrow(/ELOOP|too many levels/);
  } finally {
    closeSync(host);
  }
});

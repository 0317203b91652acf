import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { directoryOf, parseMountinfo } from "./mounts.js";

describe("parseMountinfo", () => {
  test("finds v1 hierarchies, co-mounted and named ones, and v2", () => {
    const text = [
      "22 27 0:21 / /proc rw,relatime - proc proc rw",
      "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755",
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:11 master:3 - cgroup cgroup rw,cpu,cpuacct",
      "40 31 0:37 /docker/a /sys/fs/cgroup/systemd ro - cgroup systemd rw,xattr,release_agent=/x,name=systemd",
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate",
      "",
    ].join("\n");
    expect(parseMountinfo(text)).toEqual([
      {
        version: 1,
        options: ["rw", "cpu", "cpuacct"],
        root: "/",
        mountPoint: "/sys/fs/cgroup/cpu,cpuacct",
        device: "0:29",
      },
      {
        version: 1,
        options: ["rw", "xattr", "release_agent=/x", "name=systemd"],
        root: "/docker/a",
        mountPoint: "/sys/fs/cgroup/systemd",
        device: "0:37",
      },
      { version: 2, options: ["rw", "nsdelegate"], root: "/", mountPoint: "/sys/fs/cgroup/unified", device: "0:38" },
    ]);
  });

  test("reads escaped mount points", () => {
    const [hierarchy] = parseMountinfo("1 2 0:5 /a\\134b /mnt/my\\040cgroup\\011x rw - cgroup2 none rw");
    expect(hierarchy).toMatchObject({ root: "/a\\b", mountPoint: "/mnt/my cgroup\tx" });
  });

  test("survives anything", () => {
    fc.assert(fc.property(fc.string(), (text) => void parseMountinfo(text)));
  });
});

describe("directoryOf", () => {
  const mountPoint = "/cg";
  test.each([
    ["/", "/", "/cg"],
    ["/", "/docker/a", "/cg/docker/a"],
    ["/docker/a", "/docker/a", "/cg"],
    ["/docker/a", "/docker/a/b", "/cg/b"],
    ["/docker/a", "/docker/ab", undefined],
    ["/docker/a", "/docker", undefined],
    ["/docker/a", "/", undefined],
    // Seen from a cgroup namespace: what is outside of it.
    ["/", "/..", undefined],
    ["/", "/../b", undefined],
    ["/..", "/../b", "/cg/b"],
    ["/..", "/../..", undefined],
    ["/", "/..b", "/cg/..b"],
  ])("mount of %s shows %s at %s", (root, path, directory) => {
    expect(directoryOf({ root, mountPoint }, path)).toBe(directory);
  });

  test("never leaves the mount point", () => {
    const names = fc.constantFrom("..", "a", "b", "..a");
    const path = fc.array(names, { maxLength: 4 }).map((parts) => {
      // As the kernel prints them: ".." at the beginning only.
      const sorted = [...parts.filter((part) => part === ".."), ...parts.filter((part) => part !== "..")];
      return `/${sorted.join("/")}`;
    });
    fc.assert(
      fc.property(path, path, (root, member) => {
        const directory = directoryOf({ root, mountPoint }, member);
        expect(directory === undefined || !directory.split("/").includes("..")).toBe(true);
      }),
    );
  });
});

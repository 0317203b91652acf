/** Archives that were made to do harm where they become layers. */
import { readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { times } from "../harness/extent.js";
import { anyEntry } from "../images/layers/any-entry.js";
import {
  archive,
  CHARACTER,
  END,
  type Entry,
  entryBytes,
  HARDLINK,
  SYMLINK,
  withChecksum,
} from "../images/layers/archive.js";
import { workshop } from "../images/layers/layers.js";
import { treeOf } from "../images/layers/tree.js";

const shop = workshop();

const file = (name: string): Entry => ({ name, data: Buffer.from("harm") });
const symlink = (name: string, target: string): Entry => ({ name, type: SYMLINK, target });

describe("an archive that attacks", () => {
  it.each<[string, Entry[], string[]]>([
    ["a path out of the image", [file("../../etc/harm")], ["../../etc/harm", "out of the image"]],
    ["a path out of the image, inside", [file("a/../../harm")], ["out of the image"]],
    [
      "a hard link out of the image",
      [{ name: "a", type: HARDLINK, target: "../../etc/passwd" }],
      ['"a"', "out of the image"],
    ],
    ["a hard link to the root", [{ name: "a", type: HARDLINK, target: "/" }], ['"a"']],
    ["a hard link to itself", [{ name: "a", type: HARDLINK, target: "a" }], ['"a"']],
    [
      "hard links to each other",
      [
        { name: "a", type: HARDLINK, target: "b" },
        { name: "b", type: HARDLINK, target: "a" },
      ],
      [],
    ],
    ["what overlayfs takes for a whiteout", [{ name: "a", type: CHARACTER, device: [0, 0] }], ['"a"', "0:0"]],
    ["a device that there can't be", [{ name: "a", type: CHARACTER, device: [1_000_000, 0] }], ["1000000:0"]],
    ["a name that is too long", [file("n".repeat(4000))], ["4000 bytes"]],
    ["a path that is too long", [file("directory/".repeat(1000))], ["10000 bytes"]],
    [
      "symbolic links in a circle",
      [symlink("a", "b"), symlink("b", "a"), file("a/x")],
      ['"a/x"', "too many symbolic links"],
    ],
    ["a file in a file", [file("a"), file("a/b")], ['"a/b"', "in the way"]],
    ["a whiteout of nothing", [file(".wh.")], [".wh."]],
    ["a whiteout of the parent", [file("a/.wh..")], [".wh.."]],
    ["a directory that is a whiteout", [file(".wh.a/b")], [".wh.a"]],
    ["a root that is no directory", [symlink("./", "/etc")], ["root"]],
    ["an owner that there can't be", [{ name: "a", uid: 4_294_967_295 }], ["4294967295"]],
    ["a size below 0", [{ name: "a", size: -1 }], ['"a"']],
    ["a size beyond the archive", [{ name: "a", size: 100_000_000 }], ['"a"', "ends in the middle"]],
    ["a type that nobody knows", [{ name: "a", type: "Z" }], ['"a"', "unknown type"]],
    ["a zero byte in a name", [{ name: "a", records: [["path", "a\0b"]] }], ["zero byte"]],
    ["records that lie about their length", [{ name: "a", records: [["x", "y\n99 path=b"]] }, file("b")], []],
    [
      "an access list that is none",
      [{ name: "a", attributes: { "system.posix_acl_access": Buffer.from("no list") } }],
      ['"a"', "access list"],
    ],
    ["attributes without end", [{ name: "a", attributes: { "user.a": Buffer.alloc(70_000) } }], ['"a"']],
    [
      "a table of holes that contradicts itself",
      [
        {
          name: "a",
          records: [
            ["GNU.sparse.map", "5,10,3,10"],
            ["GNU.sparse.size", "100"],
          ],
          data: Buffer.alloc(20),
        },
      ],
      ['"a"'],
    ],
    [
      "a sparse file beyond all limits",
      [
        {
          name: "a",
          records: [
            ["GNU.sparse.map", ""],
            ["GNU.sparse.size", "9000000000000000"],
          ],
        },
      ],
      ['"a"', "larger than"],
    ],
  ])("is refused for %s", async (_, entries, words) => {
    const refused = await shop.refuses(archive(entries), words).then(
      () => true,
      (error) => {
        // What can be read in a harmless way may be read so.
        if (words.length > 0) throw error;
        return false;
      },
    );
    expect([true, false]).toContain(refused);
    for (const name of readdirSync(shop.out)) shop.remove(`${shop.out}/${name}`);
  });

  it("reaches nothing of the host's by its symbolic links", async () => {
    const links = ["/", "/etc", "../../../..", "/proc/self/root", "/dev/shm"];
    const entries = links.flatMap((target, i) => [symlink(`l${i}`, target), file(`l${i}/harm-of-a-layer`)]);
    const before = readdirSync("/dev/shm").sort();
    const converted = await shop.convert(archive(entries));
    await shop.mounted(converted.path, (directory) => {
      const files = Object.entries(treeOf(directory)).filter(([, of]) => of.type === "file");
      const paths = ["dev/shm/", "etc/", "", "proc/self/root/"].map((path) => `${path}harm-of-a-layer`);
      expect(files.map(([path]) => path).sort()).toEqual(paths.sort());
    });
    shop.remove(converted.path);
    expect(readdirSync("/dev/shm").sort()).toEqual(before);
    for (const path of ["/harm-of-a-layer", "/etc/harm-of-a-layer"]) expect(() => treeOf(path)).toThrow("ENOENT");
  });

  it("is a bomb: refused where it would fill the disk", async () => {
    const size = 60_000_000;
    const head = entryBytes({ name: "bomb", size }).subarray(0, 512);
    const bomb = gzipSync(Buffer.concat([head, Buffer.alloc(size), END]), { level: 9 });
    await shop.refuses(bomb, ["more than 100 times"], { limits: { free: Number.MAX_SAFE_INTEGER } });
    const converted = await shop.convert(bomb, { limits: { free: 0 } });
    expect(converted.entries).toBe(1);
    shop.remove(converted.path);
  });

  it("has too many entries: refused, by little memory", async () => {
    const many = Buffer.concat([...Array.from({ length: 20_000 }, (_, i) => entryBytes(file(`d/${i}`))), END]);
    await shop.refuses(many, ["more than 1000 entries"], { limits: { entries: 1000 } });
    const deep = [file(`${"a/".repeat(2000)}f`), symlink("l", "a/".repeat(1500)), file(`l/${"b/".repeat(1900)}f`)];
    await shop.refuses(archive(deep), ["nested"]);
  });

  it("is any archive with errors in it: refused, or a layer, and nothing is left", { timeout: 600_000 }, async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyEntry, { minLength: 1, maxLength: 6 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.nat(3)), { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        async (entries, changes, isFixed) => {
          let data = Buffer.from(archive(entries, "gnu"));
          for (const [where, byte, how] of changes) {
            const at = where % data.length;
            if (how === 0) data = Buffer.concat([data.subarray(0, at), data.subarray(at + 512)]);
            else if (how === 1) data = data.subarray(0, Math.max(at, 1));
            else data[at] = byte;
          }
          // Else the checksum would hide most of it.
          if (isFixed)
            for (let at = 0; at + 512 <= data.length; at += 512)
              if (data.subarray(at + 257, at + 262).toString() === "ustar") withChecksum(data.subarray(at, at + 512));
          const converted = await shop.convert(data, { limits: { free: 0 } }).catch((error) => error);
          if (converted instanceof Error) {
            refused++;
            expect(converted).toMatchObject({ what: "bad-layer", kind: "invalid-argument" });
            expect(readdirSync(shop.out)).toEqual([]);
            return;
          }
          await shop.mounted(converted.path, (directory) => treeOf(directory));
          shop.remove(converted.path);
        },
      ),
      { numRuns: times(3000, 150) },
    );
    expect(refused).toBeGreaterThan(0);
  });
});

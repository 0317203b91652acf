/** What becomes of an archive as a layer file, beside what GNU tar makes of it as files. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { times } from "../../harness/extent.js";
import { anyEntry, isNamed, SEED } from "./any-entry.js";
import { archive, CHARACTER, DIRECTORY, digestOf, type Entry, FIFO, HARDLINK, SYMLINK } from "./archive.js";
import { extract, workshop } from "./layers.js";
import { treeOf } from "./tree.js";

const shop = workshop();

describe("a layer file of an archive", () => {
  it("has what GNU tar extracts", { timeout: 600_000 }, async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyEntry, { minLength: 1, maxLength: 14 }),
        fc.constantFrom("posix" as const, "gnu" as const),
        fc.constantFrom("", "./", "/"),
        async (entries, form, before) => {
          const data = archive(
            entries.map((entry) => ({ ...entry, name: before + entry.name })),
            form,
          );
          const files = shop.make("files");
          const tar = extract(data, files, shop.path("tar"));
          const converted = await shop.convert(data).catch((error) => error);
          if (converted instanceof Error) {
            expect(tar.status, `${converted.message}: but tar has no complaint`).not.toBe(0);
            return;
          }
          expect(converted.diffId).toBe(digestOf(data));
          // What tar does not extract, as a file over a directory that is not empty, has tests of its own.
          if (tar.status === 0) {
            compared++;
            const timeless = (directory: string) => !isNamed(entries, directory);
            const expected = treeOf(files, { timeless });
            await shop.mounted(converted.path, (directory) =>
              expect(treeOf(directory, { timeless })).toEqual(expected),
            );
          }
          shop.remove(converted.path);
        },
      ),
      { numRuns: times(600, 60), seed: SEED },
    );
    expect(compared).toBeGreaterThan(times(100, 5));
  });

  it("has only attributes that the kernel lets each type of file have, so that all of it can be changed", async () => {
    const list = Buffer.from("0200000001000600ffffffff04000400ffffffff20000400ffffffff", "hex");
    const capability = Buffer.from("0100000202000000000000000000000000000000", "hex");
    const attributes = {
      "user.note": Buffer.from("note"),
      "security.capability": capability,
      "system.posix_acl_access": list,
      "system.posix_acl_default": list,
    };
    const of = (name: string, more: Partial<Entry>): Entry => ({ name, attributes, ...more });
    const { path } = await shop.convert(
      archive([
        of("file", { data: Buffer.from("data") }),
        of("directory", { type: DIRECTORY, mode: 0o755 }),
        of("link", { type: SYMLINK, target: "file" }),
        of("fifo", { type: FIFO }),
        of("null", { type: CHARACTER, device: [1, 3] }),
      ]),
    );
    await shop.mounted(path, (directory) => {
      const names = (name: string) =>
        Object.keys(treeOf(directory)[name]!).filter((field) => field.startsWith("attribute "));
      const [note, caps, own, inherited] = Object.keys(attributes).map((name) => `attribute ${name}`);
      expect(names("file")).toEqual([caps, own, note]);
      expect(names("directory")).toEqual([caps, own, inherited, note]);
      for (const [name, had] of Object.entries({ link: [caps], fifo: [caps, own], null: [caps, own] }))
        expect(names(name)).toEqual(had);
      const copies = shop.make("copies");
      for (const name of ["all", "upper", "work"]) mkdirSync(join(copies, name));
      const all = join(copies, "all");
      const options = `lowerdir=${directory},upperdir=${copies}/upper,workdir=${copies}/work`;
      execFileSync("mount", ["-t", "overlay", "-o", options, "overlay", all]);
      try {
        execFileSync("chown", ["-hR", "5", all]);
      } finally {
        execFileSync("umount", [all]);
      }
    });
    shop.remove(path);
  });

  it("is refused with attributes that the kernel would have refused", async () => {
    const list = (...entries: string[]) => Buffer.from(`02000000${entries.join("")}`, "hex");
    const [owner, group, user, others] = ["01000600", "04000400", "02000400", "20000400"].map((e) => `${e}ffffffff`);
    const ofOne = "0200040001000000";
    for (const [name, value, words] of [
      ["security.capability", Buffer.from("short"), "no set of capabilities"],
      ["security.capability", Buffer.from(`01000009${"00".repeat(16)}`, "hex"), "no set of capabilities"],
      ["system.posix_acl_access", list(others!, group!, owner!), "no access list"],
      ["system.posix_acl_access", list(owner!, ofOne, group!, others!), "no access list"],
      ["system.posix_acl_access", list(owner!, user!, group!, "10000700ffffffff", others!), "no access list"],
      ["system.posix_acl_access", list(owner!, group!), "no access list"],
      [`user.${"n".repeat(251)}`, Buffer.from("v"), "a name of 256 bytes"],
      ["user.a\0b", Buffer.from("v"), "a zero byte"],
    ] as const)
      await shop.refuses(archive([{ name: "file", attributes: { [name]: value } }]), ["file", words]);
  });

  it("has hard links that come before what they lead to, over many others", async () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => ({ name: `${i}`, type: HARDLINK, target: `${i + 1}` }));
    const { path } = await shop.convert(archive([...chain, { name: `${chain.length}`, data: Buffer.from("data") }]));
    await shop.mounted(path, (directory) => expect(statSync(join(directory, "0")).nlink).toBe(chain.length + 1));
    shop.remove(path);
    await shop.refuses(archive(chain), ["neither in the layer nor in those below"]);
    await shop.refuses(archive([...chain, { name: `${chain.length}`, type: HARDLINK, target: "0" }]), ["each other"]);
  });
});

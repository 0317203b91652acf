/** What an archive becomes in a container's root file system, and what comes out of it, beside GNU tar. */
import { chownSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { times } from "../../harness/extent.js";
import { anyEntry, isNamed, SEED } from "../../images/layers/any-entry.js";
import { archive, DIRECTORY, FILE, HARDLINK, SYMLINK } from "../../images/layers/archive.js";
import { extract, workshop } from "../../images/layers/layers.js";
import { treeOf } from "../../images/layers/tree.js";
import { failureOf, files, get, inPieces, put, rootAt } from "./file-workshop.js";

const shop = workshop();
const NEVER = new AbortController().signal;

describe("files that are put", () => {
  it("are what GNU tar extracts, and come out again as they are", { timeout: 600_000 }, async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyEntry, { minLength: 1, maxLength: 14 }),
        fc.constantFrom("posix" as const, "gnu" as const),
        fc.constantFrom("", "./", "/"),
        async (entries, form, before) => {
          const data = archive(
            entries
              // Access lists are the machine's, as are attributes other than a user's.
              .map(({ attributes = {}, ...entry }) => ({
                ...entry,
                name: before + entry.name,
                attributes: "system.posix_acl_access" in attributes ? {} : attributes,
              })),
            form,
          );
          const expected = shop.make("files");
          const tar = extract(data, expected, shop.path("tar"));
          const directory = shop.make("root");
          const failed = await put(rootAt(directory), "/", data).catch((error: Error) => error);
          if (failed instanceof Error || tar.status !== 0) {
            if (failed instanceof Error) expect(tar.status, `${failed.message}: but tar has no complaint`).not.toBe(0);
            return;
          }
          compared++;
          const timeless = (path: string) => !isNamed(entries, path);
          expect(treeOf(directory, { timeless })).toEqual(treeOf(expected, { timeless }));
          const again = shop.make("again");
          await put(rootAt(again), "/", await get(rootAt(directory), "/"));
          const unnamed = { timeless: (path: string) => path === "" };
          expect(treeOf(again, unnamed)).toEqual(treeOf(directory, unnamed));
        },
      ),
      { numRuns: times(400, 40), seed: SEED },
    );
    expect(compared).toBeGreaterThan(times(60, 4));
  });

  it("replace what is there, but for a directory by a file or the other way round where that is not wanted", async () => {
    const directory = shop.make("root");
    mkdirSync(join(directory, "d/in"), { recursive: true });
    writeFileSync(join(directory, "d/in/file"), "old");
    writeFileSync(join(directory, "f"), "old");
    const root = rootAt(directory);
    for (const [name, type, words] of [
      ["d", FILE, "a file, where there is a directory"],
      ["d", SYMLINK, "a file, where there is a directory"],
      ["f", DIRECTORY, "a directory, where there is a file"],
    ] as const) {
      const data = archive([{ name, type, target: "x", mode: 0o755 }]);
      const error = await failureOf(put(root, "/", data, { keepKinds: true }));
      expect(error).toMatchObject({ kind: "invalid-argument" });
      expect(error.message).toContain(words);
      expect(readdirSync(directory).sort()).toEqual(["d", "f"]);
    }
    await put(
      root,
      "/",
      archive([
        { name: "d", data: Buffer.from("new") },
        { name: "f/", type: DIRECTORY, mode: 0o700 },
        { name: "f/x", data: Buffer.from("new") },
      ]),
    );
    expect(Object.entries(treeOf(directory)).map(([path, { type }]) => `${path} ${type}`)).toEqual([
      " directory",
      "d file",
      "f directory",
      "f/x file",
    ]);
  });

  it("belong to the ids of the container's user namespace, or to its user", async () => {
    const range = [{ inside: 0, outside: 100_000, length: 1000 }];
    const idMaps = { uids: range, gids: range };
    const directory = shop.make("root");
    chownSync(directory, 100_000, 100_000);
    const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");
    const data = archive([
      { name: "a/b", uid: 5, gid: 6, mode: 0o4755, data: Buffer.from("x") },
      { name: "c", uid: 0, gid: 0, attributes: { "security.capability": capability } },
    ]);
    await put(rootAt(directory, idMaps), "/srv", data);
    const tree = treeOf(directory);
    expect(tree["srv/a/b"]).toMatchObject({ owner: "100005:100006", mode: "4755" });
    expect(tree["srv/a"]).toMatchObject({ owner: "100000:100000" });
    expect(tree["srv/c"]!["attribute security.capability"]).toBe("0100000300040000000000000000000000000000a0860100");
    const plain = shop.make("plain");
    await put(rootAt(plain), "/", await get(rootAt(directory, idMaps), "/srv"));
    expect(treeOf(plain)["srv/a/b"]).toMatchObject({ owner: "5:6" });
    expect(treeOf(plain)["srv/c"]!["attribute security.capability"]).toBe(capability.toString("hex"));
    expect(await files.stat(rootAt(directory, idMaps), "/srv/a/b", NEVER)).toMatchObject({ uid: 5, gid: 6, size: 1 });
    for (const more of [{ uid: 1000 }, { gid: 70_000 }]) {
      const error = await failureOf(put(rootAt(directory, idMaps), "/", archive([{ name: "n", ...more }])));
      expect(error.message).toContain("none of the ids of the container");
    }
    const device = archive([{ name: "null", type: "3", device: [1, 3] }]);
    expect((await failureOf(put(rootAt(directory, idMaps), "/", device))).message).toContain("a device");
    await put(rootAt(directory, idMaps, { uid: 7, gid: 8 }), "/home/u", data, { keepOwners: false });
    expect(treeOf(directory)["home/u/a/b"]).toMatchObject({ owner: "100007:100008" });
  });

  it("are whole or not there when the archive ends in the middle, or its sender goes away", async () => {
    const directory = shop.make("root");
    const root = rootAt(directory);
    const data = archive([
      { name: "first", data: Buffer.alloc(5000, 1) },
      { name: "second", data: Buffer.alloc(500_000, 2) },
    ]);
    const cut = data.subarray(0, 300_000);
    expect((await failureOf(put(root, "/", cut))).message).toMatch(/"second".*ends in the middle/);
    expect(readdirSync(directory)).toEqual(["first"]);
    const sender = new AbortController();
    const stuck = async function* () {
      yield* inPieces(cut);
      sender.abort(new Error("gone"));
      await new Promise(() => {});
    };
    const options = { keepKinds: false, keepOwners: true };
    expect((await failureOf(files.put(root, "/", stuck(), options, sender.signal))).message).toBe("gone");
    await expect.poll(() => readdirSync(directory)).toEqual(["first"]);
    // The same thread goes on with others.
    await put(root, "/", data);
    expect(readdirSync(directory).sort()).toEqual(["first", "second"]);
  });

  it("come out by the name that was asked for, or what a link there leads to", async () => {
    const directory = shop.make("root");
    mkdirSync(join(directory, "etc"));
    writeFileSync(join(directory, "etc/real"), "data");
    symlinkSync("/etc/real", join(directory, "link"));
    const plain = shop.make("plain");
    await put(rootAt(plain), "/", await get(rootAt(directory), "/link"));
    await put(rootAt(plain), "/followed", await get(rootAt(directory), "/link", true));
    const tree = treeOf(plain);
    expect(tree.link).toMatchObject({ type: "symlink", target: "/etc/real" });
    expect(tree["followed/link"]).toMatchObject({ type: "file", size: "4" });
    expect(await files.stat(rootAt(directory), "/link", NEVER)).toMatchObject({
      name: "link",
      linkTarget: "/etc/real",
    });
    expect(await failureOf(get(rootAt(directory), "/nowhere"))).toMatchObject({ kind: "not-found" });
    expect(await failureOf(get(rootAt(directory), "etc"))).toMatchObject({ kind: "invalid-argument" });
  });

  it("have hard links to what is there", async () => {
    const directory = shop.make("root");
    await put(
      rootAt(directory),
      "/d",
      archive([
        { name: "x/a", data: Buffer.from("1") },
        { name: "x/b", type: HARDLINK, target: "/x/a" },
        { name: "x/b", type: HARDLINK, target: "x/a" },
      ]),
    );
    expect(treeOf(directory)["d/x/a"]!.links).toBe("d/x/a d/x/b");
  });
});

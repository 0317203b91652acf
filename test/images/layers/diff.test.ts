/** What a container has changed, as a layer's archive. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { writeDiff } from "../../../src/core/layers/diff.js";
import { times } from "../../harness/extent.js";
import { anyEntry, SEED } from "./any-entry.js";
import { archive } from "./archive.js";
import { extract, workshop } from "./layers.js";
import { treeOf } from "./tree.js";

const shop = workshop();

async function diffOf(upper: string, signal = new AbortController().signal): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of writeDiff({ upper, signal })) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** An overlay whose lower directory is `files`; `work` is called with where it is mounted and with its upper directory. */
async function overlay<T>(files: string, work: (directory: string, upper: string) => Promise<T>): Promise<T> {
  const [directory, upper, space] = [shop.make("merged"), shop.make("upper"), shop.make("work")];
  const options = `lowerdir=${files},upperdir=${upper},workdir=${space},index=off,metacopy=off,redirect_dir=nofollow`;
  execFileSync("mount", ["-t", "overlay", "-o", options, "overlay", directory]);
  try {
    return await work(directory, upper);
  } finally {
    execFileSync("umount", [directory]);
  }
}

/** What a shell in a container may do. */
function change(directory: string, script: string): void {
  const { status, stderr } = spawnSync("sh", ["-ec", script], { cwd: directory, encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
}

describe("the archive of an upper directory", () => {
  it("makes a layer that shows, over the layers below, what the container saw", { timeout: 600_000 }, async () => {
    let compared = 0;
    const entries = fc.array(anyEntry, { minLength: 1, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(entries, entries, fc.array(fc.nat(1000), { maxLength: 4 }), async (before, after, removed) => {
        const files = shop.make("files");
        if (extract(archive(before), files, shop.path("tar")).status !== 0) return;
        await overlay(files, async (directory, upper) => {
          const paths = Object.keys(treeOf(directory)).filter((path) => path !== "" && !/[^ -~]/.test(path));
          for (const index of removed) {
            const path = paths[index % Math.max(paths.length, 1)];
            if (path !== undefined) spawnSync("rm", ["-rf", "--", path], { cwd: directory });
          }
          // What tar does not do of it is not there to be compared either.
          extract(archive(after), directory, shop.path("tar"));
          const seen = treeOf(directory, { withoutLinks: true });
          const diff = await diffOf(upper);
          expect(diff.equals(await diffOf(upper)), "the same each time").toBe(true);
          const converted = await shop.convert(diff);
          expect(converted.dependsOnBelow).toBe(false);
          await shop.mounted(converted.path, (layer) =>
            shop.stacked([layer, files], (stacked) => expect(treeOf(stacked, { withoutLinks: true })).toEqual(seen)),
          );
          shop.remove(converted.path);
          compared++;
        });
      }),
      { numRuns: times(300, 30), seed: SEED },
    );
    expect(compared).toBeGreaterThan(times(60, 5));
  });

  it("says what was removed, replaced and linked", async () => {
    const files = shop.make("files");
    change(files, "mkdir a b c; touch a/1 b/1 c/1; echo old > f");
    await overlay(files, async (directory, upper) => {
      change(directory, "rm -r a/1 b c; mkdir c; touch c/2; echo new > f; ln f g; mkfifo p; mknod d c 1 5; ln -s f s");
      const socket = `require("net").createServer().listen("socket", () => process.exit())`;
      execFileSync(process.execPath, ["-e", socket], { cwd: directory });
      const archived = shop.path("diff.tar");
      writeFileSync(archived, await diffOf(upper));
      const listed = execFileSync("tar", ["-tvf", archived], { encoding: "utf8" }).trim().split("\n");
      expect(listed.map((line) => line.replace(/^(.).*\d\d:\d\d (.*)$/, "$1 $2"))).toEqual([
        "d ./",
        "d a/",
        "- a/.wh.1",
        "- .wh.b",
        "d c/",
        "- c/.wh..wh..opq",
        "- c/2",
        "c d",
        "- f",
        "h g link to f",
        "p p",
        "l s -> f",
      ]);
    });
  });

  it("refuses what no layer can say", async () => {
    const upper = shop.make("upper");
    writeFileSync(join(upper, ".wh.file"), "");
    await expect(diffOf(upper)).rejects.toMatchObject({
      kind: "failed-precondition",
      message: expect.stringContaining(".wh.file"),
    });
    await expect(diffOf(join(upper, "none"))).rejects.toThrow("no such file");
  });

  it("reads nothing outside of the directory, whatever is replaced meanwhile", async () => {
    const outside = shop.make("outside");
    writeFileSync(join(outside, "secret"), "a secret of the host's");
    const upper = shop.make("upper");
    // Enough before it that the reader has not come to it when the first piece is here.
    writeFileSync(join(upper, "a"), Buffer.alloc(4 << 20));
    mkdirSync(join(upper, "b"));
    writeFileSync(join(upper, "b/secret"), "harmless");
    let content = Buffer.alloc(0);
    const read = async () => {
      for await (const piece of writeDiff({ upper, signal: new AbortController().signal })) {
        if (content.length === 0) {
          renameSync(join(upper, "b"), join(outside, "b"));
          symlinkSync(outside, join(upper, "b"));
        }
        content = Buffer.concat([content, piece]);
      }
    };
    await read();
    expect(content.includes("a secret of the host's")).toBe(false);
    expect(content.includes(outside)).toBe(true);
  });

  it("is made no faster than it is taken, and ends when nobody takes it", async () => {
    const upper = mkdtempSync(join(shop.directory, "upper-"));
    execFileSync("truncate", ["-s", "1T", join(upper, "endless")]);
    const controller = new AbortController();
    const pieces = writeDiff({ upper, signal: controller.signal });
    let size = 0;
    for (let i = 0; i < 20; i++) size += (await pieces.next()).value?.length ?? 0;
    expect(size).toBe(20 << 18);
    controller.abort(new Error("enough"));
    await expect(
      (async () => {
        for await (const _ of pieces) await setImmediate();
      })(),
    ).rejects.toThrow("enough");
    const others = await diffOf(shop.make("upper"));
    expect(others.length).toBeGreaterThan(0);
  });
});

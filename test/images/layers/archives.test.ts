/** What becomes of an archive as a layer file, beside what GNU tar makes of it as files. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { times } from "../../harness/extent.js";
import { anyEntry, isNamed, SEED } from "./any-entry.js";
import { archive, digestOf } from "./archive.js";
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
});

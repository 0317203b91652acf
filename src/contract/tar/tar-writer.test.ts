import fc from "fast-check";
import { expect, it } from "vitest";
import type { ArchiveEntry } from "./archive-entry.js";
import { TarReader } from "./tar-reader.js";
import { ARCHIVE_END, headerOf } from "./tar-writer.js";

const bytes = (maxLength: number) =>
  fc.uint8Array({ minLength: 1, maxLength }).map((data) => Buffer.from(data).toString("latin1").replaceAll("\0", "0"));

it("what is written is read again, whatever it is, and however it comes", () => {
  const number = fc.nat(0xfffffffe);
  const entry: fc.Arbitrary<ArchiveEntry> = fc.record({
    name: bytes(300),
    type: fc.constantFrom("symlink", "directory", "fifo", "hardlink"),
    target: bytes(300),
    mode: fc.nat(0o7777),
    uid: number,
    gid: number,
    size: fc.constant(0),
    mtime: fc.oneof(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), fc.constantFrom(-1, 0, 8 ** 11 - 1, 8 ** 11)),
    nanoseconds: fc.oneof(fc.constant(0), fc.nat(999_999_999)),
    major: fc.constant(0),
    minor: fc.constant(0),
    attributes: fc
      .dictionary(
        bytes(20).map((name) => name.replaceAll("=", "-")),
        fc.uint8Array(),
      )
      .map((values) => {
        const entries = Object.entries(values).map(([name, value]) => [name, Buffer.from(value)] as const);
        return entries.length === 0 ? undefined : new Map(entries);
      }),
  });
  fc.assert(
    fc.property(
      fc.array(entry, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 1500 }),
      (entries, piece) => {
        const data = Buffer.concat([...entries.map(headerOf), ARCHIVE_END]);
        const read: ArchiveEntry[] = [];
        const reader = new TarReader({
          entry: (of) => read.push({ ...of }),
          data: () => {},
          hole: () => {},
          entryEnd: () => {},
        });
        for (let at = 0; at < data.length; at += piece) reader.push(data.subarray(at, at + piece));
        reader.end();
        expect(read).toEqual(entries);
      },
    ),
  );
});

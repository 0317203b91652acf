/** Archives that nobody has thought of. */
import fc from "fast-check";
import { DIRECTORY, type Entry, FIFO, FILE, HARDLINK, SYMLINK } from "./archive.js";

/**
 * The same archives in each run: of a few among thousands GNU tar makes something of its own, as of a file whose path leads by the symbolic
 * link that it replaces.
 */
export const SEED = 19;

/** Few, so that entries meet; of each sort of bytes. */
const NAMES = ["a", "b", "c", "-x", "zz z", "\xc3\xbc", "\xff\xfe", "n".repeat(120), "\u007f'\"\\\n"];

const name = fc.constantFrom(...NAMES);
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
const target = fc.oneof(
  path,
  path.map((to) => `/${to}`),
  path.map((to) => `../${to}`),
  fc.constantFrom(".", "..", "/", "nowhere"),
);
/** What a file with a mode and one more user would have. */
function accessList(mode: number): Buffer {
  const list = Buffer.from(
    "0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000400ffffffff",
    "hex",
  );
  list.writeUInt16LE((mode >> 6) & 7, 6);
  list.writeUInt16LE((mode >> 3) & 7, 30);
  list.writeUInt16LE(mode & 7, 38);
  return list;
}
const attributes = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.constant({ "security.capability": Buffer.from("0100000200040000000000000000000000000000", "hex") }),
  },
  { weight: 1, arbitrary: fc.constant({ "system.posix_acl_access": accessList(0) }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("user.a", "user.\xc3\xbc"), fc.uint8Array({ minLength: 1, maxLength: 300 }))
      .map(([key, value]) => ({ [key]: Buffer.from(value) })),
  },
);
const about = fc.record({
  mode: fc.constantFrom(0o644, 0o755, 0o4755, 0o2711, 0o1777, 0o600),
  uid: fc.constantFrom(0, 1000, 70_000, 4_000_000_000),
  gid: fc.constantFrom(0, 65_534, 3_000_000),
  mtime: fc.constantFrom(0, 1_700_000_000, -1, -12_345_678.25, 1.5, 1_600_000_000.1234567, 5_000_000_000),
});
const content = fc
  .tuple(fc.constantFrom(0, 1, 511, 512, 513, 4031, 4032, 4033, 4096, 5000, 8191, 8192, 12_345, 300_000), fc.nat(255))
  .map(([size, seed]) => Buffer.from(Array.from({ length: size }, (_, i) => (i * 31 + seed + (i >> 8)) & 0xff)));

const entry: fc.Arbitrary<Entry> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ name: path, type: fc.constant(FILE), data: content, attributes }) },
  { weight: 3, arbitrary: fc.record({ name: path.map((to) => `${to}/`), type: fc.constant(DIRECTORY) }) },
  { weight: 3, arbitrary: fc.record({ name: path, type: fc.constant(SYMLINK), target }) },
  { weight: 2, arbitrary: fc.record({ name: path, type: fc.constant(HARDLINK), target: path }) },
  { weight: 1, arbitrary: fc.record({ name: path, type: fc.constant(FIFO) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      name: path,
      type: fc.constantFrom("3", "4"),
      device: fc.constant<[number, number]>([1, 3]),
    }),
  },
);
export const anyEntry: fc.Arbitrary<Entry> = fc.tuple(entry, about).map(([of, more]) => ({
  ...more,
  // What is made in a directory with setgid would get that from the kernel.
  ...(of.type === DIRECTORY ? { mode: more.mode & ~0o2000 } : {}),
  ...of,
  ...("attributes" in of && of.attributes !== undefined && "system.posix_acl_access" in of.attributes
    ? { attributes: { "system.posix_acl_access": accessList(more.mode) } }
    : {}),
}));

/** Whether GNU tar sets the time of a directory itself. */
export function isNamed(entries: readonly Entry[], directory: string): boolean {
  const names = entries.filter(({ type }) => type === DIRECTORY).map(({ name }) => name.replace(/^\.?\/|\/$/g, ""));
  return names.includes(directory);
}

/** EROFS on the disk, as far as an uncompressed image needs it: little endian, blocks of 4096 bytes. */
import type { Bytes } from "../../../contract/tar/archive-entry.js";

export const BLOCK = 4096;
/** Inodes lie at multiples of this; the number of one (nid) is its byte in the file, by it. */
export const SLOT = 32;
/** Of an inode in the extended form, without attributes and inline data. */
export const INODE = 64;
/** Where the root's inode is: in the first block, behind the super block, since its number must be small. */
export const ROOT_AT = 2048;
const SUPER_BLOCK_AT = 1024;
const MAGIC = 0xe0f5e1e2;
/** Inodes have times of their own. */
const COMPAT_MTIME = 2;

/** Types of files in st_mode. */
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFMT = 0o170000;

const ENTRY_TYPES = new Map([
  [S_IFREG, 1],
  [S_IFDIR, 2],
  [S_IFCHR, 3],
  [S_IFBLK, 4],
  [S_IFIFO, 5],
  [S_IFLNK, 7],
]);

/** What directories say of an inode's type. */
export function entryTypeOf(mode: number): number {
  return ENTRY_TYPES.get(mode & S_IFMT)!;
}

/** What an inode says, but for where its data is. */
export interface Inode {
  /** With the type. */
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  nanoseconds: number;
  links: number;
  /** In bytes. */
  size: number;
}

/** @param place the first block of the data, or a device */
export function putInode(
  target: Buffer,
  at: number,
  inode: Inode,
  { inline, attributes, place }: { inline: boolean; attributes: number; place: number },
): void {
  target.writeUInt16LE(inline ? 5 : 1, at);
  target.writeUInt16LE(attributes === 0 ? 0 : 1 + (attributes - 12) / 4, at + 2);
  target.writeUInt16LE(inode.mode, at + 4);
  target.writeUInt16LE(0, at + 6);
  put64(target, at + 8, inode.size);
  target.writeUInt32LE(place, at + 16);
  // For stat on 32 bit.
  target.writeUInt32LE((at / SLOT) >>> 0, at + 20);
  target.writeUInt32LE(inode.uid, at + 24);
  target.writeUInt32LE(inode.gid, at + 28);
  put64(target, at + 32, inode.mtime);
  target.writeUInt32LE(inode.nanoseconds, at + 40);
  target.writeUInt32LE(inode.links, at + 44);
}

/** Where in an inode the number of its links is. */
export const LINKS_AT = 44;

/** In two's complement. */
export function put64(target: Buffer, at: number, value: number): void {
  target.writeUInt32LE(value >>> 0, at);
  target.writeInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

export function putSuperBlock(target: Buffer, { inodes, blocks }: { inodes: number; blocks: number }): void {
  const at = SUPER_BLOCK_AT;
  target.writeUInt32LE(MAGIC, at);
  target.writeUInt32LE(COMPAT_MTIME, at + 8);
  target.writeUInt8(Math.log2(BLOCK), at + 12);
  target.writeUInt16LE(ROOT_AT / SLOT, at + 14);
  put64(target, at + 16, inodes);
  target.writeUInt32LE(blocks, at + 36);
}

/** How long an image is, by its super block; undefined for what is none. @param first its first bytes: a block, or all of a shorter file */
export function lengthByItself(first: Buffer): number | undefined {
  const at = SUPER_BLOCK_AT;
  if (first.length < BLOCK || first.readUInt32LE(at) !== MAGIC) return undefined;
  return first.readUInt32LE(at + 36) * BLOCK;
}

/** As the kernel encodes it. */
export function deviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

const PREFIXES: readonly [index: number, prefix: Bytes][] = [
  [1, "user."],
  [2, "system.posix_acl_access"],
  [3, "system.posix_acl_default"],
  [4, "trusted."],
  [6, "security."],
];

/** In bytes, of all attributes of one inode together. */
const MAX_ATTRIBUTES = 1 << 16;

export const NO_ATTRIBUTES = Buffer.alloc(0);

/**
 * Extended attributes as they are behind an inode; a length that is a multiple of 4.
 * @throws RangeError for what can't be there
 */
export function attributeArea(attributes: ReadonlyMap<Bytes, Buffer>): Buffer {
  if (attributes.size === 0) return NO_ATTRIBUTES;
  const parts: Buffer[] = [Buffer.alloc(12)];
  // In an order of their own: the same attributes are the same bytes.
  for (const [name, value] of [...attributes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [index, prefix] = PREFIXES.find(([, start]) => name.startsWith(start)) ?? [];
    if (index === undefined) throw new RangeError(`no place for the attribute ${JSON.stringify(name)}`);
    const rest = Buffer.from(name.slice(prefix!.length), "latin1");
    if (rest.length > 255 || value.length > 0xffff)
      throw new RangeError(`the attribute ${JSON.stringify(name.slice(0, 100))} is too long`);
    const length = 4 + rest.length + value.length;
    const entry = Buffer.alloc(Math.ceil(length / 4) * 4);
    entry.writeUInt8(rest.length, 0);
    entry.writeUInt8(index, 1);
    entry.writeUInt16LE(value.length, 2);
    rest.copy(entry, 4);
    value.copy(entry, 4 + rest.length);
    parts.push(entry);
  }
  const area = Buffer.concat(parts);
  if (area.length > MAX_ATTRIBUTES) throw new RangeError(`${area.length} bytes of attributes`);
  return area;
}

import type { ArchiveEntry, Bytes, EntryType } from "./archive-entry.js";
import { BLOCK } from "./header.js";

const FLAGS: Record<EntryType, string> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
};

/** Of the header's fields for names and numbers, in bytes and octal digits. */
const NAME = 100;
const SHORT = 7;
const LONG = 11;

const SPACE = 0x20;
const ZERO = 0x30;
const MAGIC = Buffer.from("ustar\0" + "00", "latin1");

/** Two blocks of zeros. */
export const ARCHIVE_END = Buffer.alloc(2 * BLOCK);

/** What precedes the data of an entry: its header, and before that POSIX' extended one for what it can't say. */
export function headerOf(entry: ArchiveEntry): Buffer {
  const records: Buffer[] = [];
  const { seconds, mtime } = timeOf(entry);
  if (entry.name.length > NAME) records.push(record("path", entry.name));
  if (entry.target.length > NAME) records.push(record("linkpath", entry.target));
  if (!fits(entry.size, LONG)) records.push(record("size", String(entry.size)));
  if (!fits(entry.uid, SHORT)) records.push(record("uid", String(entry.uid)));
  if (!fits(entry.gid, SHORT)) records.push(record("gid", String(entry.gid)));
  if (mtime !== undefined) records.push(record("mtime", mtime));
  for (const [name, value] of entry.attributes ?? [])
    records.push(record(`SCHILY.xattr.${name}`, value.toString("latin1")));
  const header = plainHeader({ ...entry, mtime: seconds }, FLAGS[entry.type]);
  if (records.length === 0) return header;
  const data = Buffer.concat(records);
  const name = "PaxHeaders/entry";
  const extended = plainHeader({ ...entry, name, target: "", mode: 0o644, size: data.length, mtime: seconds }, "x");
  return Buffer.concat([extended, data, Buffer.alloc(paddingOf(data.length)), header]);
}

/** Bytes behind data of this size. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** A time as the header has it, and the record that says it exactly, when that can't. */
function timeOf({ mtime, nanoseconds }: ArchiveEntry): { seconds: number; mtime: string | undefined } {
  if (nanoseconds === 0 && fits(mtime, LONG)) return { seconds: mtime, mtime: undefined };
  // Below 0 the fraction counts away from it.
  const isNegative = mtime < 0 && nanoseconds > 0;
  const whole = isNegative ? mtime + 1 : mtime;
  const fraction = isNegative ? 1e9 - nanoseconds : nanoseconds;
  const sign = isNegative && whole === 0 ? "-" : "";
  const digits = fraction === 0 ? "" : `.${String(fraction).padStart(9, "0").replace(/0+$/, "")}`;
  return { seconds: fits(mtime, LONG) ? mtime : 0, mtime: `${sign}${whole}${digits}` };
}

function fits(value: number, digits: number): boolean {
  return value >= 0 && value < 8 ** digits;
}

function record(key: string, value: Bytes): Buffer {
  const body = ` ${key}=${value}\n`;
  let length = body.length + 1;
  // The length counts its own digits.
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.from(`${length}${body}`, "latin1");
}

function plainHeader(entry: ArchiveEntry, flag: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  const number = (value: number, at: number, digits: number) =>
    writeOctal(block, fits(value, digits) ? value : 0, at, digits);
  block.write(entry.name.slice(0, NAME), 0, "latin1");
  number(entry.mode, 100, SHORT);
  number(entry.uid, 108, SHORT);
  number(entry.gid, 116, SHORT);
  number(entry.size, 124, LONG);
  number(entry.mtime, 136, LONG);
  block.fill(SPACE, 148, 156);
  block[156] = flag.charCodeAt(0);
  if (entry.target !== "") block.write(entry.target.slice(0, NAME), 157, "latin1");
  MAGIC.copy(block, 257);
  number(entry.major, 329, SHORT);
  number(entry.minor, 337, SHORT);
  // Thousands of small files are an archive of headers: a loop is several times as fast as reduce().
  let sum = 0;
  for (let at = 0; at < BLOCK; at++) sum += block[at]!;
  writeOctal(block, sum, 148, 6);
  block[154] = 0;
  return block;
}

/** Right-aligned, with leading zeros. */
function writeOctal(block: Buffer, value: number, at: number, digits: number): void {
  for (let rest = value, place = at + digits - 1; place >= at; place--) {
    // Sizes have more than 32 bits.
    const higher = Math.floor(rest / 8);
    block[place] = ZERO + (rest - higher * 8);
    rest = higher;
  }
}

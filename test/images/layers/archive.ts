/** Tar archives for tests, byte by byte as a test wants them. */
import { createHash } from "node:crypto";

/** Names and targets have one character for each byte. */
export interface Entry {
  name: string;
  type?: string;
  target?: string;
  data?: Buffer;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Seconds; a fraction needs the records of POSIX. */
  mtime?: number;
  device?: [number, number];
  attributes?: Record<string, Buffer>;
  /** More records of the extended header. */
  records?: [string, string | Buffer][];
  /** Of the header, when it is not that of the data. */
  size?: number;
}

export type Form = "posix" | "gnu" | "v7";

export const FILE = "0";
export const HARDLINK = "1";
export const SYMLINK = "2";
export const CHARACTER = "3";
export const DIRECTORY = "5";
export const FIFO = "6";

const BLOCK = 512;

const bytes = (text: string) => Buffer.from(text, "latin1");

/** Octal, or in base 256 where that is too short or below 0. */
function put(block: Buffer, value: number, at: number, length: number): void {
  const digits = value.toString(8);
  if (value >= 0 && digits.length < length) {
    block.write(`${digits.padStart(length - 1, "0")}\0`, at, "latin1");
    return;
  }
  let rest = BigInt(value);
  for (let i = at + length - 1; i >= at; i--) {
    block[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[at] = value < 0 ? 0xff : block[at]! | 0x80;
}

export function withChecksum(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((a, b) => a + b, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function header(entry: Entry, form: Form, name: Buffer, target: Buffer, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  name.copy(block, 0, 0, 100);
  put(block, entry.mode ?? 0o644, 100, 8);
  put(block, entry.uid ?? 0, 108, 8);
  put(block, entry.gid ?? 0, 116, 8);
  put(block, size, 124, 12);
  put(block, Math.floor(entry.mtime ?? 1_700_000_000), 136, 12);
  block.write(entry.type ?? FILE, 156, "latin1");
  target.copy(block, 157, 0, 100);
  if (form === "posix") block.write("ustar\0" + "00", 257, "latin1");
  if (form === "gnu") block.write("ustar  \0", 257, "latin1");
  put(block, entry.device?.[0] ?? 0, 329, 8);
  put(block, entry.device?.[1] ?? 0, 337, 8);
  return withChecksum(block);
}

export function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)]);
}

function record(key: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([bytes(` ${key}=`), typeof value === "string" ? bytes(value) : value, bytes("\n")]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([bytes(String(length)), body]);
}

export function records(list: [string, string | Buffer][]): Buffer {
  return Buffer.concat(list.map(([key, value]) => record(key, value)));
}

/** What precedes an entry's header when that can't say it. */
function extension(entry: Entry, form: Form): Buffer {
  const { name, target = "", attributes = {}, mtime } = entry;
  const more = [...(entry.records ?? [])];
  for (const [key, value] of Object.entries(attributes)) more.push([`SCHILY.xattr.${key}`, value]);
  if (mtime !== undefined && !Number.isInteger(mtime)) more.push(["mtime", String(mtime)]);
  const parts: Buffer[] = [];
  if (form === "posix") {
    if (name.length > 100) more.push(["path", name]);
    if (target.length > 100) more.push(["linkpath", target]);
  } else {
    for (const [flag, text] of [["L", name] as const, ["K", target] as const]) {
      if (text.length <= 100) continue;
      const data = bytes(`${text}\0`);
      parts.push(
        header({ name, type: flag }, form, bytes("././@LongLink"), Buffer.alloc(0), data.length),
        padded(data),
      );
    }
  }
  if (more.length > 0) {
    const data = records(more);
    parts.push(header({ name, type: "x" }, "posix", bytes("PaxHeader/x"), Buffer.alloc(0), data.length), padded(data));
  }
  return Buffer.concat(parts);
}

export function entryBytes(entry: Entry, form: Form = "posix"): Buffer {
  const data = entry.data ?? Buffer.alloc(0);
  return Buffer.concat([
    extension(entry, form),
    header(entry, form, bytes(entry.name), bytes(entry.target ?? ""), entry.size ?? data.length),
    padded(data),
  ]);
}

export const END = Buffer.alloc(2 * BLOCK);

export function archive(entries: readonly Entry[], form: Form = "posix"): Buffer {
  return Buffer.concat([...entries.map((entry) => entryBytes(entry, form)), END]);
}

export function digestOf(data: Buffer): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

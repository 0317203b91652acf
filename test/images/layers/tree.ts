import { createHash } from "node:crypto";
import { type BigIntStats, constants, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { extendedAttributes } from "../../../src/system/linux/attributes.js";

/** What a file is, but for its name. */
export type File = Record<string, string>;

export interface Reading {
  /** Directories whose time is left out: it is whatever it was when they were made. */
  timeless?: (path: string) => boolean;
  /** Leaves out which names are one file. */
  withoutLinks?: boolean;
  /** Names directly below the root that are left out. */
  without?: readonly string[];
}

const TYPES = new Map([
  [constants.S_IFIFO, "fifo"],
  [constants.S_IFCHR, "character device"],
  [constants.S_IFDIR, "directory"],
  [constants.S_IFBLK, "block device"],
  [constants.S_IFREG, "file"],
  [constants.S_IFLNK, "symlink"],
]);

/** All that is below a directory, by paths whose characters are bytes; "" is the directory itself. */
export function treeOf(root: string, reading: Reading = {}): Record<string, File> {
  const tree: Record<string, File> = {};
  const links = new Map<string, string[]>();
  const visit = (path: string) => {
    const file = Buffer.concat([Buffer.from(root), Buffer.from(`/${path}`, "latin1")]);
    const stats = lstatSync(file, { bigint: true });
    tree[path] = fileOf(file, stats);
    if (stats.isDirectory()) {
      if (!reading.timeless?.(path)) tree[path].mtime = String(stats.mtimeNs);
      for (const name of readdirSync(file, { encoding: "latin1" as BufferEncoding })) {
        if (path === "" && reading.without?.includes(name)) continue;
        visit(path === "" ? name : `${path}/${name}`);
      }
    } else {
      tree[path].mtime = String(stats.mtimeNs);
      if (stats.nlink > 1n) {
        const key = `${stats.dev}:${stats.ino}`;
        links.set(key, [...(links.get(key) ?? []), path]);
      }
    }
  };
  visit("");
  if (!reading.withoutLinks)
    for (const paths of links.values()) for (const path of paths) tree[path]!.links = [...paths].sort().join(" ");
  return tree;
}

function fileOf(file: Buffer, stats: BigIntStats): File {
  const type = TYPES.get(Number(stats.mode) & constants.S_IFMT) ?? "unknown";
  const of: File = {
    type,
    mode: (Number(stats.mode) & 0o7777).toString(8),
    owner: `${stats.uid}:${stats.gid}`,
  };
  for (const [name, value] of [...extendedAttributes(file)].sort()) of[`attribute ${name}`] = value.toString("hex");
  if (type === "file") {
    of.size = String(stats.size);
    of.content = createHash("sha256").update(readFileSync(file)).digest("hex");
  }
  if (type === "symlink") of.target = readlinkSync(file, { encoding: "latin1" as BufferEncoding });
  if (type.endsWith("device")) of.device = `${stats.rdev >> 8n}:${stats.rdev & 0xffn}`;
  return of;
}

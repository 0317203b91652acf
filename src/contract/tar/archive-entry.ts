/**
 * Names, targets and attributes are bytes in an archive: here each is a string with one character for each byte ("binary" in Node), which
 * can be compared and cut as text is, and loses nothing.
 */
export type Bytes = string;

export type EntryType = "file" | "hardlink" | "symlink" | "character-device" | "block-device" | "directory" | "fifo";

/** An entry of an archive, as it is told there: nothing in it is trusted. One object may serve all entries, one after the other. */
export interface ArchiveEntry {
  name: Bytes;
  type: EntryType;
  /** Of hard and symbolic links: where to. */
  target: Bytes;
  /** Permissions, setuid, setgid, sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** In bytes, holes included; 0 for all but files. */
  size: number;
  /** Whole seconds since 1970, rounded down; and the rest. */
  mtime: number;
  nanoseconds: number;
  major: number;
  minor: number;
  /** Extended attributes by their full names. */
  attributes: ReadonlyMap<Bytes, Buffer> | undefined;
}

/** Text that somebody can read, of bytes. */
export function textOf(bytes: Bytes): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

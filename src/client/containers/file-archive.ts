import type { ArchiveEntry } from "../../contract/tar/archive-entry.js";
import { ArchiveError } from "../../contract/tar/archive-error.js";
import { TarReader } from "../../contract/tar/tar-reader.js";
import { ARCHIVE_END, headerOf, paddingOf } from "../../contract/tar/tar-writer.js";

/** A file as it is put into a container. */
export interface PackedFile {
  /** Relative. */
  name: string;
  data: Uint8Array;
  /** Permissions. */
  mode: number;
}

/** A tar archive of files. */
export function* archiveOf(files: Iterable<PackedFile>): Generator<Uint8Array> {
  const mtime = Math.floor(Date.now() / 1000);
  for (const { name, data, mode } of files) {
    const entry: ArchiveEntry = {
      ...{ name: Buffer.from(name).toString("latin1"), type: "file", target: "", mode, size: data.length, mtime },
      ...{ uid: 0, gid: 0, nanoseconds: 0, major: 0, minor: 0, attributes: undefined },
    };
    yield headerOf(entry);
    yield data;
    yield Buffer.alloc(paddingOf(data.length));
  }
  yield ARCHIVE_END;
}

/**
 * The data of the one file that an archive is of.
 *
 * @param largest in bytes
 * @throws TypeError for what is no file, RangeError for one that is larger
 */
export async function onlyFileOf(archive: AsyncIterable<Buffer>, path: string, largest: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let isFile = false;
  const handler = {
    entry({ type, size }: ArchiveEntry) {
      if (type !== "file") throw new TypeError(`${JSON.stringify(path)} is no file, but a ${type}`);
      if (size > largest)
        throw new RangeError(`${JSON.stringify(path)} is of ${size} bytes, more than maxSize, ${largest}`);
      isFile = true;
    },
    // The reader takes its bytes back.
    data: (bytes: Buffer) => void pieces.push(Buffer.from(bytes)),
    hole: (size: number) => void pieces.push(Buffer.alloc(size)),
    entryEnd: () => {},
  };
  const reader = new TarReader(handler);
  for await (const piece of archive) reader.push(piece);
  reader.end();
  if (!isFile) throw new ArchiveError("the daemon's archive is empty");
  return Buffer.concat(pieces);
}

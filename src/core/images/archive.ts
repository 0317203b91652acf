import { posix } from "node:path";
import { type Extract, extract } from "tar-stream";
import { Failure, refusal } from "../failure/failure.js";
import { MAX_DOCUMENT } from "./manifest.js";

/** What an image's archive has besides blobs. */
const DOCUMENTS: ReadonlySet<string> = new Set(["oci-layout", "index.json", "manifest.json"]);
/** What `docker save` adds for programs of earlier times. */
const LEGACY = /(?:^repositories|(?:^|\/)VERSION|[0-9a-f]{64}\/json)$/;

/** In bytes: how much of an archive tells whether images are in it, or a root file system; a block of zstd may have half of it. */
export const TELLING = 256 * 1024;
const BLOCK = 512;
const MAX_ENTRIES = 50_000;
/** How many links may lead to another. */
const MAX_LINKS = 10;
/** In characters: how much of a name an error quotes. */
const MAX_SHOWN = 200;

type Entry = Extract extends AsyncIterable<infer Source> ? Source : never;

/** A file of an archive that was kept. */
export interface Kept {
  digest: string;
  /** In bytes. */
  size: number;
}

/** What is found in an archive of images; its names lead to nothing but this. */
export class ArchiveContents {
  readonly #documents = new Map<string, Buffer>();
  readonly #files = new Map<string, Kept>();
  readonly #links = new Map<string, string>();

  /**
   * Reads it from the beginning to the end.
   * @param keep makes content of a file; takes all of its data
   * @throws Failure (invalid-argument) that quotes the entry; what `data` and `keep` do
   */
  async read(
    data: AsyncIterable<Buffer>,
    keep: (name: string, entry: AsyncIterable<Buffer>, size: number) => Promise<Kept>,
  ) {
    let count = 0;
    for await (const { entry, data: bytes } of entriesOf(data)) {
      count++;
      if (count > MAX_ENTRIES) throw refusal(`the archive has more than ${MAX_ENTRIES} entries: no archive of images`);
      const { type, linkname, size = 0 } = entry.header;
      const name = nameInside(entry.header.name);
      if (type === "symlink") this.#links.set(name, nameInside(posix.join(posix.dirname(name), linkname ?? "")));
      else if (type === "link") this.#links.set(name, nameInside(linkname ?? ""));
      else if (type === "file" || type === "contiguous-file") {
        if (DOCUMENTS.has(name)) this.#documents.set(name, await whole(name, bytes, size));
        else if (!LEGACY.test(name)) this.#files.set(name, await keep(name, bytes, size));
      } else if (type !== "directory") throw refusal(`entry ${quoted(name)}: a ${type} in an archive of images`);
      // What was not taken, or has no data.
      entry.resume();
    }
  }

  document(name: "oci-layout" | "index.json" | "manifest.json"): Buffer | undefined {
    return this.#documents.get(name);
  }

  /** The file of a name, also where links lead to it. @throws Failure (invalid-argument) when there is none */
  file(name: string): Kept {
    let at = nameInside(name);
    for (let link = 0; link <= MAX_LINKS; link++) {
      const file = this.#files.get(at);
      if (file !== undefined) return file;
      const next = this.#links.get(at);
      if (next === undefined) throw refusal(`the archive has no file ${quoted(at)}, which its manifest.json names`);
      at = next;
    }
    throw refusal(`entry ${quoted(name)}: links without end`);
  }
}

/** Whether an archive is one of images; else it is a root file system. @param head what it begins with, decompressed */
export function hasImages(head: Buffer): boolean {
  for (let at = 0; at + BLOCK <= head.length; ) {
    const block = head.subarray(at, at + BLOCK);
    const size = Number.parseInt(textOf(block, 124, 12).trim(), 8) || 0;
    const isExtension = /[gxLK]/.test(String.fromCharCode(block[156]!));
    const name = textOf(block, 0, 100)
      .replace(/^(?:\.\/)+/, "")
      .replace(/^\.$/, "");
    if (!isExtension && name !== "") return IMAGES.test(name);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return false;
}

/** Whether it is an archive at all: its first entry is one. @param head what it begins with, decompressed */
export function isArchive(head: Buffer): boolean {
  if (head.length < BLOCK) return false;
  const said = Number.parseInt(textOf(head, CHECKSUM, 8).trim(), 8);
  let sum = 0;
  // The field counts as spaces.
  for (let at = 0; at < BLOCK; at++) sum += at >= CHECKSUM && at < CHECKSUM + 8 ? 0x20 : head[at]!;
  return sum === said;
}

/** Where an entry's header has its checksum. */
const CHECKSUM = 148;

/** What the first entry of such an archive is called: OCI's names, or Docker's, which are digests. */
const IMAGES =
  /^(?:oci-layout|index\.json|manifest\.json|repositories|blobs(?:\/.*)?|[0-9a-f]{64}(?:\.json|\.tar|\/.*)?)$/;

function textOf(block: Buffer, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end < 0 ? length : end);
}

/** The entries of an archive; the data of each has to be taken, or skipped by `resume`, before the next comes. */
async function* entriesOf(data: AsyncIterable<Buffer>): AsyncGenerator<{ entry: Entry; data: AsyncIterable<Buffer> }> {
  const archive = extract();
  let failure: { error: unknown } | undefined;
  /** What is wrong with the data is told as it is, what with the archive in our words. */
  const causeOf = (error: unknown): unknown => {
    if (failure !== undefined) return failure.error;
    return error instanceof Failure ? error : refusal(`the archive is damaged: ${(error as Error).message}`);
  };
  const feed = async () => {
    try {
      for await (const chunk of data) {
        if (archive.destroyed) return;
        if (!archive.write(chunk)) await drained(archive);
      }
      archive.end(null);
    } catch (error) {
      failure = { error };
      archive.destroy(error as Error);
    }
  };
  const fed = feed();
  const dataOf = async function* (entry: Entry): AsyncGenerator<Buffer> {
    const chunks = (entry as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    const next = () =>
      chunks.next().catch((error: unknown) => {
        throw causeOf(error);
      });
    for (let taken = await next(); taken.done !== true; taken = await next()) yield taken.value;
  };
  try {
    for await (const entry of archive) yield { entry, data: dataOf(entry) };
  } catch (error) {
    throw causeOf(error);
  } finally {
    archive.destroy(null);
    await fed;
  }
}

/** Resolves when it takes more, or nothing any more. */
function drained(archive: Extract): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      archive.off("drain", done);
      archive.off("close", done);
      resolve();
    };
    archive.on("drain", done);
    archive.on("close", done);
  });
}

async function whole(name: string, entry: AsyncIterable<Buffer>, size: number): Promise<Buffer> {
  if (size > MAX_DOCUMENT) throw refusal(`entry ${quoted(name)}: ${size} bytes: at most ${MAX_DOCUMENT} are read`);
  const chunks: Buffer[] = [];
  for await (const chunk of entry) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A name in the archive, in one form. @throws Failure (invalid-argument) for one that leads out of it */
function nameInside(name: string): string {
  const path = posix.normalize(name).replace(/^\.\//, "").replace(/\/$/, "");
  if (path.startsWith("/") || path === ".." || path.startsWith("../") || path.includes("\0"))
    throw refusal(`entry ${quoted(name)}: leads out of the archive`);
  return path;
}

function quoted(name: string): string {
  return JSON.stringify(name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}…` : name);
}

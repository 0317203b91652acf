import { posix } from "node:path";
import { Readable } from "node:stream";
import type { FileInfo as FileMessage } from "../../proto/containerdts/engine/v1/engine.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import type { ArchiveSource } from "../images/images.js";
import {
  absolutePath,
  type Check,
  type Checks,
  checkOptions,
  flag,
  oneOf,
  text,
  whole,
  wrong,
} from "../options/option-checks.js";
import { toDate } from "../timestamp.js";
import { archiveOf, onlyFileOf, type PackedFile } from "./file-archive.js";

/** What a file is to have in it: text is UTF-8. */
export type FileContent = string | Uint8Array;

/** Files by their paths below the directory that they are put into: `{ "main.py": "print(1)", "run.sh": { data: "…", mode: 0o755 } }`. */
export type NewFiles = Readonly<Record<string, FileContent | { data: FileContent; mode?: number | undefined }>>;

export interface PutFilesOptions extends CallOptions {
  /** Whether files belong to whom the archive says. Default: of an archive true; files by their names are the container's user's. */
  keepOwners?: boolean | undefined;
  /** Whether it is an error that a directory would be replaced by a file, or a file by a directory. Default: true. */
  keepKinds?: boolean | undefined;
}

export interface WriteFileOptions extends CallOptions {
  /** Permissions. Default: 0o644. */
  mode?: number | undefined;
}

export interface GetFilesOptions extends CallOptions {
  /** Whether the archive is of what a link at the path leads to. Default: false, of the link. */
  followLink?: boolean | undefined;
}

/** A file that is read as text. */
export interface ReadFileOptions extends CallOptions {
  encoding?: "utf8" | undefined;
  /** In bytes. Default: 64 MiB. */
  maxSize?: number | undefined;
}

/** One that is read as bytes. */
export interface ReadFileBufferOptions extends Omit<ReadFileOptions, "encoding"> {
  encoding: "buffer";
}

export interface FileInfo {
  name: string;
  /** In bytes. */
  size: number;
  /** As stat(2) has it: kind and permissions. */
  mode: number;
  modifiedAt: Date;
  /** Of a symbolic link; else "". */
  linkTarget: string;
  /** As the container sees them. */
  uid: number;
  gid: number;
}

const mode: Check = whole("the mode of a file, 0 to 0o7777", 0, 0o7777);
const putChecks: Checks<PutFilesOptions> = { ...callChecks, keepOwners: flag, keepKinds: flag };
const writeChecks: Checks<WriteFileOptions> = { ...callChecks, mode };
const getChecks: Checks<GetFilesOptions> = { ...callChecks, followLink: flag };
const readChecks: Checks<ReadFileOptions | ReadFileBufferOptions> = {
  ...callChecks,
  encoding: oneOf("utf8", "buffer"),
  maxSize: whole("a number of bytes, 0 or more", 0),
};

const FILE_MODE = 0o644;
/** In bytes. */
const MAX_SIZE = 64 << 20;
/** In bytes: of one message. */
const LARGEST = 64 * 1024;

const relativePath = text(
  'a path below the directory, like "src/main.py"',
  (name) => name !== "" && !name.startsWith("/") && !name.endsWith("/") && !name.split("/").includes(".."),
);

/** `container.putFiles` */
export async function putFiles(
  api: EngineApi,
  id: string,
  path: string,
  files: NewFiles | ArchiveSource,
  options: PutFilesOptions = {},
): Promise<void> {
  absolutePath(path, "path");
  checkOptions(options, putChecks);
  const isArchive = files instanceof Uint8Array || isStream(files);
  const data = isArchive ? pieces(files) : pieces(archiveOf(packed(files)));
  const { keepOwners = isArchive, keepKinds = true, ...call } = options;
  const first = { id, path, keepKinds, keepOwners, data: Buffer.alloc(0) };
  await put(api, first, data, call);
}

async function put(
  api: EngineApi,
  first: Parameters<Awaited<ReturnType<EngineApi["calls"]["putFiles"]>>["send"]>[0],
  data: AsyncIterable<Buffer>,
  options: CallOptions,
): Promise<void> {
  const exchange = await api.calls.putFiles(options);
  // An error of the source's, or its end, ends the call; an error of the daemon's ends the reading.
  let failure: { reason: unknown } | undefined;
  let isAnswered = false;
  const sending = (async () => {
    try {
      await exchange.send(first);
      for await (const piece of data) {
        if (isAnswered) return;
        await exchange.send({ id: "", path: "", keepKinds: false, keepOwners: false, data: piece });
      }
      exchange.end();
    } catch (reason) {
      failure = { reason };
      exchange.cancel();
    }
  })();
  try {
    for await (const _ of exchange);
  } catch (error) {
    if (failure !== undefined) throw failure.reason;
    throw error;
  } finally {
    isAnswered = true;
  }
  await sending;
}

/** `container.writeFile` */
export async function writeFile(
  api: EngineApi,
  id: string,
  path: string,
  data: FileContent,
  options: WriteFileOptions = {},
): Promise<void> {
  absolutePath(path, "path");
  checkOptions(options, writeChecks);
  const { mode, ...call } = options;
  const name = posix.basename(path);
  if (path.endsWith("/") || name === "" || name === "." || name === "..")
    throw wrong("path", "the path of a file", path);
  await putFiles(api, id, posix.dirname(path), { [name]: { data, mode } }, call);
}

/** `container.getFiles` */
export async function getFiles(
  api: EngineApi,
  id: string,
  path: string,
  options: GetFilesOptions = {},
): Promise<Readable> {
  absolutePath(path, "path");
  checkOptions(options, getChecks);
  const { followLink = false, ...call } = options;
  const messages = await api.calls.getFiles({ id, path, followLink }, call);
  // What is wrong with the path is told at once.
  const first = await messages.next();
  async function* archive(): AsyncGenerator<Buffer> {
    try {
      if (!first.done) yield first.value.data;
      for await (const { data } of messages) yield data;
    } finally {
      await messages.return();
    }
  }
  return Readable.from(archive(), { objectMode: false });
}

/** `container.readFile` */
export async function readFile(
  api: EngineApi,
  id: string,
  path: string,
  options: ReadFileOptions | ReadFileBufferOptions = {},
): Promise<string | Buffer> {
  checkOptions(options, readChecks);
  const { encoding = "utf8", maxSize = MAX_SIZE, ...call } = options;
  const archive = await getFiles(api, id, path, { followLink: true, ...call });
  const content = await onlyFileOf(archive, path, maxSize);
  return encoding === "buffer" ? content : content.toString();
}

/** `container.stat` */
export async function statFile(api: EngineApi, id: string, path: string, options: CallOptions): Promise<FileInfo> {
  absolutePath(path, "path");
  checkOptions(options, callChecks);
  const { name, size, mode, modifiedAt, linkTarget, uid, gid }: FileMessage = await api.calls.statFile(
    { id, path },
    options,
  );
  return { name, size: Number(size), mode, modifiedAt: toDate(modifiedAt!), linkTarget, uid, gid };
}

function isStream(files: unknown): files is AsyncIterable<Uint8Array | string> {
  return typeof files === "object" && files !== null && Symbol.asyncIterator in files;
}

/** @throws TypeError or RangeError that names the file */
function packed(files: NewFiles): PackedFile[] {
  if (typeof files !== "object" || files === null || Array.isArray(files))
    throw wrong("files", "an object of contents by paths, or a tar archive (bytes or a stream)", files);
  return Object.entries(files).map(([name, file]) => {
    relativePath(name, "a name in files");
    const where = `files[${JSON.stringify(name)}]`;
    if (isContent(file)) return { name, data: bytesOf(file), mode: FILE_MODE };
    checkOptions(file, { data: () => {}, mode }, where);
    if (!isContent(file.data)) throw wrong(`${where}.data`, "a text or bytes", file.data);
    return { name, data: bytesOf(file.data), mode: file.mode ?? FILE_MODE };
  });
}

function isContent(value: unknown): value is FileContent {
  return typeof value === "string" || value instanceof Uint8Array;
}

function bytesOf(content: FileContent): Uint8Array {
  return typeof content === "string" ? Buffer.from(content) : content;
}

/** The same bytes. */
function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** In messages: small pieces go together, since one for each would cost more than what is in it; a large one goes in parts. */
async function* pieces(
  source: Uint8Array | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array>,
): AsyncGenerator<Buffer> {
  let message = Buffer.allocUnsafe(LARGEST);
  let filled = 0;
  for await (const chunk of source instanceof Uint8Array ? [source] : source) {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : asBuffer(chunk);
    for (let at = 0; at < bytes.length; ) {
      const copied = bytes.copy(message, filled, at);
      at += copied;
      filled += copied;
      if (filled < LARGEST) continue;
      yield message;
      message = Buffer.allocUnsafe(LARGEST);
      filled = 0;
    }
  }
  if (filled > 0) yield message.subarray(0, filled);
}

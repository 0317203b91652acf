import { constants, type Dirent } from "node:fs";
import { type FileHandle, open, opendir } from "node:fs/promises";

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** So many entries are read at a time. */
const PAGE = 256;

/** A name as the file system has it: it need not be text. */
export type FileName = Buffer;
export type DirectoryEntry = Dirent<Buffer>;

/**
 * A directory that is open: what is in it is found from here, whatever becomes of its path meanwhile. No link is followed to get to it, so
 * what somebody else can change is gone through safely, one directory after the other.
 */
export class OpenedDirectory implements AsyncDisposable {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** @throws a system error: ENOTDIR or ELOOP for what is no directory itself */
  static async open(path: string | Buffer): Promise<OpenedDirectory> {
    return new OpenedDirectory(await open(path, FLAGS));
  }

  /** Of something in it. @param name one component */
  path(name: FileName | string): Buffer {
    return Buffer.concat([Buffer.from(`/proc/self/fd/${this.#handle.fd}/`), Buffer.from(name)]);
  }

  /** The number of its file system. */
  async device(): Promise<number> {
    return (await this.#handle.stat()).dev;
  }

  /** What is in it; each call anew. */
  async *pages(): AsyncGenerator<DirectoryEntry[]> {
    // Node's types know no directory whose names are bytes.
    const options = { bufferSize: PAGE, encoding: "buffer" as BufferEncoding };
    const directory = await opendir(`/proc/self/fd/${this.#handle.fd}`, options);
    let page: DirectoryEntry[] = [];
    for await (const entry of directory) {
      if (page.push(entry as unknown as DirectoryEntry) < PAGE) continue;
      yield page;
      page = [];
    }
    if (page.length > 0) yield page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

import { closeSync, existsSync, fchmodSync, fchownSync, fstatSync, type Stats, writeFile } from "node:fs";
import { open } from "node:fs/promises";
import { promisify } from "node:util";
import { makeMemFd, sealMemFd } from "../../../system/linux/memfd.js";
import { onForeignFiles } from "../../files/foreign-files.js";
import { findRuntime } from "../runtime/find-runtime.js";

/**
 * What a runtime calls the copy of itself that it makes to enter a container in, each time (CVE-2019-5736: its file must not be what the
 * container finds at /proc/self/exe). One that goes on in a sealed copy can as well begin in one, and makes no other then.
 */
const COPIES_ITSELF = "_cloned:/proc/self/exe";
const ELF = "\x7fELF";
/** In bytes: more than any runtime has. */
const LARGEST = 64 * 1024 * 1024;
/** How many files are remembered, with a copy or without. */
const MAX_COPIES = 4;

/** Under SELinux the label of the runtime's file decides what the runtime may do, and a copy does not have it. */
const filesAreLabelled = existsSync("/sys/fs/selinux/enforce");

/** A file in memory is made with it. */
const MODE = 0o777;

const writeWhole = promisify(writeFile);

/** A program in a sealed memfd: it can't be written to any more. */
export interface RuntimeCopy {
  /** Undefined when there is none (any more). Not to be kept across an await. */
  readonly descriptor: number | undefined;
}

class Copy implements RuntimeCopy {
  /** Which file it is of, and which state of it. */
  readonly source: string;
  /** Resolves, once there is what there is to be, with whether that could be found out. */
  readonly made: Promise<boolean>;
  descriptor: number | undefined;
  #closed = false;

  constructor(path: string, source: string) {
    this.source = source;
    this.made = this.#make(path).then(
      () => true,
      // No memory, no descriptors: the file itself is executed, and the next start tries again.
      () => false,
    );
  }

  async #make(path: string): Promise<void> {
    const program = await onForeignFiles(path, () => readProgram(path));
    if (program === undefined) return;
    const descriptor = makeMemFd("runtime");
    try {
      await writeWhole(descriptor, program);
      sealMemFd(descriptor);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    this.descriptor = descriptor;
    if (this.#closed) this.close();
  }

  /**
   * Gives the file its owner and mode back. A container's root can have changed both: while an exec enters the container, this is what its
   * processes see at /proc/<pid>/exe. There is a seal against that, but a copy that has it too is none to runc and crun: they would copy it
   * once more.
   */
  mend(): void {
    if (this.descriptor === undefined) return;
    const { mode, uid, gid } = fstatSync(this.descriptor);
    if (uid !== process.geteuid!() || gid !== process.getegid!())
      fchownSync(this.descriptor, process.geteuid!(), process.getegid!());
    if ((mode & 0o7777) !== MODE) fchmodSync(this.descriptor, MODE);
  }

  close(): void {
    this.#closed = true;
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
  }
}

/** A whole program of those that copy themselves; undefined: it is none of them. */
async function readProgram(path: string): Promise<Buffer | undefined> {
  await using file = await open(path);
  const { size } = await file.stat();
  const { buffer: start } = await file.read(Buffer.alloc(ELF.length), 0, ELF.length, 0);
  if (size > LARGEST || start.toString("latin1") !== ELF) return undefined;
  const program = await file.readFile();
  return program.includes(COPIES_ITSELF) ? program : undefined;
}

/**
 * Copies of the runtimes that would copy themselves in each `create` and `exec`: runc up to 1.1, crun. Begun in one they save 1 – 2 ms of
 * such a call (docs/performance.md).
 */
export class RuntimeCopies {
  /** By path. */
  readonly #copies = new Map<string, Copy>();
  #closed = false;

  /**
   * The copy of what the runtime's file is now. Its descriptor is undefined where there is to be none.
   * @throws Failure (deadline-exceeded) when the file system of a runtime's path does not answer
   */
  async of(runtime: string): Promise<RuntimeCopy> {
    const file = filesAreLabelled ? undefined : await findRuntime(runtime);
    if (file === undefined || this.#closed) return { descriptor: undefined };
    const { path } = file;
    const source = describe(file.stats);
    let copy = this.#copies.get(path);
    if (copy?.source === source) {
      this.#copies.delete(path);
    } else {
      this.#drop(path);
      const [longestUnused] = this.#copies.keys();
      if (this.#copies.size >= MAX_COPIES) this.#drop(longestUnused!);
      copy = new Copy(path, source);
    }
    this.#copies.set(path, copy);
    if (!(await copy.made) && this.#copies.get(path) === copy) this.#drop(path);
    try {
      copy.mend();
    } catch {
      // It is not ours to mend: a process that is root in a user namespace only.
      this.#drop(path);
    }
    return copy;
  }

  #drop(path: string): void {
    this.#copies.get(path)?.close();
    this.#copies.delete(path);
  }

  close(): void {
    this.#closed = true;
    for (const path of [...this.#copies.keys()]) this.#drop(path);
  }
}

/** What of a file changes when another program is installed in its place. */
function describe({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join();
}

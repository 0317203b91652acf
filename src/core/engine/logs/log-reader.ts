import { constants } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { LONGEST_LINE } from "../../../contract/shim/log-format.js";
import { hasCode } from "../../../system/linux/libc.js";
import { refusal } from "../../failure/failure.js";
import { fileAt, positionsIn } from "./log-directories.js";

/** Some whole lines of a log. */
export interface LogChunk {
  data: Buffer;
  /** Of the first byte, in the log. */
  position: number;
  /** How many bytes before that can't be read any more. */
  missed: number;
}

const NEWLINE = 0x0a;
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Where the files of a log begin, in order; none when there is no log. @throws a system error */
export async function filesOf(directory: string): Promise<number[]> {
  try {
    return positionsIn(await readdir(directory));
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** Undefined when it was rotated away. @throws a system error */
export async function openFile(directory: string, start: number): Promise<FileHandle | undefined> {
  try {
    return await open(join(directory, fileAt(start)), FLAGS);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Reads a log from a position on, a little at a time, across its rotation. Only whole lines are read: what a shim is just writing, or a
 * killed one has left, is no line yet.
 */
export class LogReader implements AsyncDisposable {
  /** Where the next chunk begins. */
  position: number;
  readonly #directory: string;
  #file: FileHandle | undefined;
  /** Where it begins. */
  #start = 0;
  #missed = 0;

  constructor(directory: string, position: number) {
    this.#directory = directory;
    this.position = position;
  }

  /** Undefined when there is nothing more now. @throws a system error, Failure (invalid-argument) for a position where no line begins */
  async next(): Promise<LogChunk | undefined> {
    for (;;) {
      if (this.#file === undefined && !(await this.#open())) return undefined;
      let data = await this.#read();
      let next: number | undefined;
      if (data === undefined) {
        next = (await filesOf(this.#directory)).find((start) => start > this.#start);
        if (next === undefined) return undefined;
        // From here on nobody writes into this one, but somebody may have since it was read.
        data = await this.#read();
      }
      if (data !== undefined) {
        const chunk = { data, position: this.position, missed: this.#missed };
        this.#missed = 0;
        this.position += data.length;
        return chunk;
      }
      this.#skipTo(next!);
      await this.#close();
    }
  }

  async #open(): Promise<boolean> {
    for (;;) {
      const files = await filesOf(this.#directory);
      const start = files.findLast((one) => one <= this.position) ?? files[0];
      if (start === undefined) return false;
      const file = await openFile(this.#directory, start);
      if (file === undefined) continue;
      this.#file = file;
      this.#start = start;
      this.#skipTo(start);
      const { size } = await file.stat();
      // The machine has lost what was not on its disk.
      if (this.position > start + size) this.position = start + size;
      if (this.position > start) await this.#checkPosition(file);
      return true;
    }
  }

  #skipTo(start: number): void {
    if (start <= this.position) return;
    this.#missed += start - this.position;
    this.position = start;
  }

  async #checkPosition(file: FileHandle): Promise<void> {
    const before = Buffer.alloc(1);
    await file.read(before, 0, 1, this.position - this.#start - 1);
    if (before[0] !== NEWLINE) throw refusal(`position ${this.position}: no line of the log begins there`);
  }

  /** What there is as whole lines. */
  async #read(): Promise<Buffer | undefined> {
    const buffer = Buffer.allocUnsafe(LONGEST_LINE);
    const { bytesRead } = await this.#file!.read(buffer, 0, LONGEST_LINE, this.position - this.#start);
    const end = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
    return end === 0 ? undefined : buffer.subarray(0, end);
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

import { closeSync, constants, openSync, renameSync, unlinkSync, writeFileSync, writeSync } from "node:fs";
import { hasCode } from "../../system/linux/libc.js";
import { reserveRoom } from "../../system/linux/reserve-room.js";
import { withReserve } from "../../system/linux/reserved-descriptors.js";

/** In bytes: the room that the disk keeps for lines to come, some 1,500 of them. It is made up again when half of it is used. */
const RESERVE = 256 * 1024;

const APPEND = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND;

/**
 * `events.log`: lines that are appended. Disk space is allocated for lines to come, so that the exits of all running containers can be
 * written even when the disk is full.
 */
export class EventFile {
  #fd: number;
  #lines: number;
  /** In bytes: what can be written before room has to be made. */
  #room = 0;

  private constructor(fd: number, lines: number) {
    this.#fd = fd;
    this.#lines = lines;
  }

  /**
   * Goes on with a file, which need not be there.
   * @param lines how many it has
   * @throws a system error
   */
  static open(path: string, lines: number): EventFile {
    const file = new EventFile(openSync(path, APPEND, 0o600), lines);
    file.#tryToMakeRoom();
    return file;
  }

  /**
   * Puts a new file in the place of the one that is there.
   * @param needsRoom fails rather than to make one that has no room for more
   * @throws a system error; all is as before then
   */
  static replace(path: string, lines: readonly string[], needsRoom: boolean): EventFile {
    const temporary = `${path}.tmp`;
    return withReserve(() => {
      const fd = openSync(temporary, APPEND | constants.O_TRUNC, 0o600);
      try {
        writeFileSync(fd, lines.join(""));
        const file = new EventFile(fd, lines.length);
        if (needsRoom) file.#makeRoom();
        else file.#tryToMakeRoom();
        renameSync(temporary, path);
        return file;
      } catch (error) {
        closeSync(fd);
        removeIfThere(temporary);
        throw error;
      }
    });
  }

  get lines(): number {
    return this.#lines;
  }

  /** Throws an error when it is not there as a whole. */
  append(line: string): void {
    const bytes = Buffer.from(line);
    // A disk that is just full takes a part of it.
    if (writeSync(this.#fd, bytes) < bytes.length) throw new Error("no space left on device");
    this.#lines++;
    this.#room -= bytes.length;
    if (this.#room < RESERVE / 2) this.#tryToMakeRoom();
  }

  /** Ends a line of which there is only a part: the next one is one by itself. Throws a system error. */
  endLine(): void {
    writeSync(this.#fd, "\n");
  }

  /** Throws a system error when the disk has not enough. */
  #makeRoom(): void {
    try {
      reserveRoom(this.#fd, RESERVE);
    } catch (error) {
      // The file system can't allocate space beforehand.
      if (hasCode(error, "ENOSPC") || hasCode(error, "EDQUOT")) throw error;
    }
    this.#room = RESERVE;
  }

  #tryToMakeRoom(): void {
    try {
      this.#makeRoom();
    } catch {
      // It is tried again with the next line; until then there may be some left.
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The first error is the one that says what happened.
  }
}

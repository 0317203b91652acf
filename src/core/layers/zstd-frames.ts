import { ArchiveError } from "../../contract/tar/archive-error.js";

const FRAME = 0xfd2fb528;
/** The lowest of 16 magic numbers of frames that are to be skipped. */
const SKIPPABLE = 0x184d2a50;
/** In bytes: how far back a frame may refer, which is so much memory. The zstd program takes no more without being asked to. */
const MAX_WINDOW = 128 << 20;

/** Fields of a frame's header behind the magic number, by its first byte. */
function headerLength(descriptor: number): number {
  const isSingle = (descriptor & 0x20) !== 0;
  const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  return 1 + (isSingle ? 0 : 1) + dictionary + sizeBytes;
}

/** In bytes; of a header that begins with its descriptor. */
function windowOf(header: Buffer): number {
  const descriptor = header[0]!;
  if (!(descriptor & 0x20)) {
    const base = 2 ** (10 + (header[1]! >> 3));
    return base + (base / 8) * (header[1]! & 7);
  }
  // A single piece: as much as its content.
  const at = 1 + [0, 1, 2, 4][descriptor & 3]!;
  switch (descriptor >> 6) {
    case 0:
      return header[at]!;
    case 1:
      return header.readUInt16LE(at) + 256;
    case 2:
      return header.readUInt32LE(at);
    default:
      return header.readUInt32LE(at) + header.readUInt32LE(at + 4) * 2 ** 32;
  }
}

/**
 * Finds the frames in zstd data that comes piece by piece, so that each can be decompressed by itself, those without data are skipped, and
 * one that would take too much memory is refused before it does.
 */
export class ZstdFrames {
  readonly #onData: (bytes: Buffer, isFirst: boolean, isLast: boolean) => void;
  #state: "magic" | "skip-size" | "skip" | "descriptor" | "header" | "block" | "content" | "checksum" = "magic";
  /** Bytes of a field that has not come as a whole. */
  #field = Buffer.alloc(0);
  #left = 0;
  #isLastBlock = false;
  #hasChecksum = false;
  #isFirst = false;

  /** @param onData takes the bytes of frames that have data; `isFirst`: of the next frame; `isLast`: this one ends with them */
  constructor(onData: (bytes: Buffer, isFirst: boolean, isLast: boolean) => void) {
    this.#onData = onData;
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#state === "content" || this.#state === "skip") {
        const length = Math.min(this.#left, chunk.length - at);
        this.#left -= length;
        if (this.#state === "content") this.#give(chunk.subarray(at, at + length), this.#isEnd());
        at += length;
        if (this.#left === 0) this.#state = this.#state === "skip" ? "magic" : this.#afterBlock();
        continue;
      }
      const wanted = this.#wanted() - this.#field.length;
      const part = chunk.subarray(at, at + wanted);
      at += part.length;
      this.#field = this.#field.length === 0 ? Buffer.from(part) : Buffer.concat([this.#field, part]);
      if (part.length === wanted) this.#take();
    }
  }

  end(): void {
    if (this.#state !== "magic" || this.#field.length > 0) throw new ArchiveError("the zstd data ends in the middle");
  }

  #wanted(): number {
    switch (this.#state) {
      case "descriptor":
        return 5;
      case "header":
        return 4 + headerLength(this.#field[4]!);
      case "block":
        return 3;
      default:
        return 4;
    }
  }

  /** A field has come as a whole. */
  #take(): void {
    const field = this.#field;
    if (this.#state === "magic") {
      const magic = field.readUInt32LE(0);
      if (magic === FRAME) this.#state = "descriptor";
      else {
        if (magic >>> 4 !== SKIPPABLE >>> 4) throw new ArchiveError("no zstd frame where one must begin");
        this.#state = "skip-size";
        this.#field = Buffer.alloc(0);
      }
      return;
    }
    if (this.#state === "descriptor") {
      this.#state = "header";
      return;
    }
    this.#field = Buffer.alloc(0);
    switch (this.#state) {
      case "skip-size":
        this.#left = field.readUInt32LE(0);
        this.#state = this.#left === 0 ? "magic" : "skip";
        break;
      case "header": {
        const window = windowOf(field.subarray(4));
        if (window > MAX_WINDOW) throw new ArchiveError(`zstd data that needs ${window} bytes of memory`);
        this.#hasChecksum = (field[4]! & 4) !== 0;
        this.#isFirst = true;
        this.#state = "block";
        this.#give(field, false);
        break;
      }
      case "block": {
        const head = field.readUIntLE(0, 3);
        const isRepeated = ((head >> 1) & 3) === 1;
        this.#isLastBlock = (head & 1) === 1;
        this.#left = isRepeated ? 1 : head >> 3;
        this.#state = "content";
        this.#give(field, this.#left === 0 && this.#isEnd());
        if (this.#left === 0) this.#state = this.#afterBlock();
        break;
      }
      default:
        this.#give(field, true);
        this.#state = "magic";
    }
  }

  #isEnd(): boolean {
    return this.#left === 0 && this.#isLastBlock && !this.#hasChecksum;
  }

  #afterBlock(): "block" | "checksum" | "magic" {
    if (!this.#isLastBlock) return "block";
    return this.#hasChecksum ? "checksum" : "magic";
  }

  #give(bytes: Buffer, isLast: boolean): void {
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    this.#onData(bytes, isFirst, isLast);
  }
}

import { createHash } from "node:crypto";
import type { BlobSink } from "../../../src/core/registry/registry.js";

/** A blob in memory. */
export class MemorySink implements BlobSink {
  offset = 0;
  /** How often all was thrown away. */
  truncated = 0;
  /** Called before each piece is taken. */
  onWrite: (data: Buffer) => Promise<void> | void = () => {};
  #parts: Buffer[] = [];

  constructor(data: Buffer = Buffer.alloc(0)) {
    this.#take(data);
  }

  get data(): Buffer {
    return Buffer.concat(this.#parts);
  }

  async write(data: Buffer): Promise<void> {
    await this.onWrite(data);
    this.#take(data);
  }

  #take(data: Buffer): void {
    this.#parts.push(data);
    this.offset += data.length;
  }

  async truncate(): Promise<void> {
    this.truncated++;
    this.#parts = [];
    this.offset = 0;
  }

  digest(): string {
    const hash = createHash("sha256");
    for (const part of this.#parts) hash.update(part);
    return `sha256:${hash.digest("hex")}`;
  }
}

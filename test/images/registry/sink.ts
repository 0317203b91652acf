import { createHash } from "node:crypto";
import type { BlobSink } from "../../../src/core/registry/repository.js";

/** A blob in memory. */
export class MemorySink implements BlobSink {
  data: Buffer;
  /** How often all was thrown away. */
  truncated = 0;
  /** Called before each piece is taken. */
  onWrite: (data: Buffer) => Promise<void> | void = () => {};

  constructor(data: Buffer = Buffer.alloc(0)) {
    this.data = data;
  }

  get offset(): number {
    return this.data.length;
  }

  async write(data: Buffer): Promise<void> {
    await this.onWrite(data);
    this.data = Buffer.concat([this.data, data]);
  }

  async truncate(): Promise<void> {
    this.truncated++;
    this.data = Buffer.alloc(0);
  }

  digest(): string {
    return `sha256:${createHash("sha256").update(this.data).digest("hex")}`;
  }
}

import type { ContentInfo } from "./content.js";

/** A blob that is open for reading: it stays readable until it is closed, also when it is deleted meanwhile. */
export interface Blob {
  readonly info: ContentInfo;
  /** Of the file: it is there for as long as the content is. */
  readonly path: string;
  /**
   * @param offset in bytes; default: 0
   * @param size in bytes; default: up to the end
   * @returns chunks of up to 1 MiB, each its own memory
   */
  read(offset?: number, size?: number): AsyncIterable<Buffer>;
  /** All of it. @param max in bytes. @throws Failure (invalid-argument) when it is larger */
  bytes(max: number): Promise<Buffer>;
  close(): Promise<void>;
}

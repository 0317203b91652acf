import type { Labels } from "../metadata/labels.js";
import type { ContentInfo, IngestStatus } from "./content.js";

export interface CommitOptions {
  /** In bytes; 0 or undefined: whatever it is. */
  size?: number | undefined;
  /** The digest that it has to have. */
  expected?: string | undefined;
  labels?: Labels | undefined;
}

/** A blob that is being written, by one writer. Its calls are made one after the other. */
export interface Ingest extends Readonly<IngestStatus> {
  /** Of the file that is written: its name changes with the commit. */
  readonly path: string;
  /** Resolves once the data is with the kernel. @throws Failure (resource-exhausted) that names the file when the disk is full */
  write(data: Buffer): Promise<void>;
  /** Begins anew. */
  truncate(): Promise<void>;
  /** Of what is written so far. */
  digest(): string;
  /**
   * Makes it content: resolves once it is on the disk. What it refuses can be gone on with by the next writer.
   * @throws Failure: failed-precondition for another size or digest; already-exists when the namespace has it
   */
  commit(options?: CommitOptions): Promise<ContentInfo>;
  /** Lets others go on with it; after a commit it does nothing. */
  close(): Promise<void>;
}

import { type Bytes, textOf } from "./archive-entry.js";

/** Something is wrong with an archive, or with the entry of that name in it. */
export class ArchiveError extends Error {
  readonly entry: string | undefined;

  constructor(why: string, entry?: Bytes) {
    super(why);
    this.name = "ArchiveError";
    this.entry = entry === undefined ? undefined : textOf(entry);
  }
}

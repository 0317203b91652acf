import { type FileHandle, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import type { ArchiveEntry } from "../../contract/tar/archive-entry.js";
import { ArchiveError } from "../../contract/tar/archive-error.js";
import { type ArchiveHandler, TarReader } from "../../contract/tar/tar-reader.js";
import { hasCode } from "../../system/linux/libc.js";
import { fileFailure } from "../content/content-files.js";
import { Failure, refusal } from "../failure/failure.js";

/** What is done in the directory for an archive, one after the other. */
type Step = { is: "directory" | "file"; name: string } | { is: "data"; data: Buffer } | { is: "end" };

/** CRIU's and the runtimes' files have such names. */
const PLAIN = /^[A-Za-z0-9_.+@=,-]{1,255}$/;
/** In characters: of a name with its directories. */
const LONGEST = 1024;
/** In characters: how much of a name an error quotes. */
const SHOWN = 200;

/** What the system says of names that contradict each other. */
const CONTRADICTIONS = new Map([
  ["EEXIST", "its name is taken by another one"],
  ["ENOTDIR", "its directory is a file"],
  ["ENOENT", "its directory does not come before it"],
]);

/**
 * Writes the files of an archive that anybody may have made below a directory which is empty, and nobody else's: regular files and
 * directories with plain names, and nothing else. There is one for each entry at most, none larger than the archive. What that says of
 * owners and modes does not count.
 * @param what begins the error's text
 * @throws Failure: invalid-argument that quotes the entry; resource-exhausted. The signal's reason
 */
export async function unpack(
  what: string,
  archive: AsyncIterable<Buffer>,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const files = new PlainFiles();
  const reader = new TarReader(files);
  const target = new Target(directory);
  try {
    for await (const chunk of archive) {
      reader.push(chunk);
      for (const step of files.taken()) {
        signal.throwIfAborted();
        await target.take(step);
      }
    }
    reader.end();
  } catch (error) {
    const entry = error instanceof ArchiveError ? error.entry : target.name;
    const where = entry === undefined ? what : `${what}: entry ${quoted(entry)}`;
    if (error instanceof ArchiveError) throw refusal(`${where}: ${error.message}`);
    for (const [code, why] of CONTRADICTIONS) if (hasCode(error, code)) throw refusal(`${where}: ${why}`);
    throw signal.aborted || error instanceof Failure ? error : fileFailure(join(directory, target.name ?? ""), error);
  } finally {
    await target.close();
  }
}

/** The reader tells at once what can only be done in time. */
class PlainFiles implements ArchiveHandler {
  #steps: Step[] = [];
  #name = "";

  taken(): Step[] {
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }

  entry({ name, type }: ArchiveEntry): void {
    this.#name = name;
    if (type !== "file" && type !== "directory") throw new ArchiveError(`a ${type} in a checkpoint`, name);
    const plain = plainName(name);
    if (plain === undefined) throw new ArchiveError("no plain name of a file in a checkpoint", name);
    if (plain !== "") this.#steps.push({ is: type, name: plain });
    else if (type === "file") throw new ArchiveError("no plain name of a file in a checkpoint", name);
  }

  data(bytes: Buffer): void {
    this.#steps.push({ is: "data", data: Buffer.from(bytes) });
  }

  hole(): void {
    throw new ArchiveError("a file with holes in a checkpoint", this.#name);
  }

  entryEnd(): void {
    this.#steps.push({ is: "end" });
  }
}

/** "" for the archive's own directory; undefined for one that leads elsewhere, or is not plain. */
function plainName(name: string): string | undefined {
  const plain = name.replace(/^\.\/+/, "").replace(/\/+$/, "");
  if (plain === "" || plain === ".") return name.startsWith("/") ? undefined : "";
  const parts = plain.split("/");
  const isPlain = parts.every((part) => PLAIN.test(part) && part !== "." && part !== "..");
  return isPlain && plain.length <= LONGEST ? plain : undefined;
}

class Target {
  readonly #directory: string;
  #file: FileHandle | undefined;
  /** What it is about. */
  name: string | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async take(step: Step): Promise<void> {
    if (step.is === "data") await this.#file?.writeFile(step.data);
    else if (step.is === "end") await this.close();
    else {
      this.name = step.name;
      const path = join(this.#directory, step.name);
      if (step.is === "directory") await mkdir(path, { mode: 0o700 });
      else this.#file = await open(path, "wx", 0o600);
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

function quoted(name: string): string {
  return JSON.stringify(name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name);
}

import type { ImageProgress } from "../../client/index.js";
import { printable, printableJson } from "../../contract/terminal/printable.js";
import { bytes } from "../output/bytes.js";
import { shortDigest } from "./digest.js";
import type { ProgressFlags } from "./transfer-flags.js";

/** Shows what happens while an image comes or goes. */
export interface ProgressView {
  onProgress(progress: ImageProgress): void;
  /** What is on the screen stays. */
  end(): void;
}

export function progressView(
  { json, quiet }: ProgressFlags,
  stream: NodeJS.WriteStream = process.stdout,
): ProgressView {
  if (json && quiet) throw new Error("--json and --quiet do not go together");
  if (quiet) return { onProgress() {}, end() {} };
  if (json) return new JsonLines();
  return stream.isTTY ? new Bars(stream) : new Lines();
}

class JsonLines implements ProgressView {
  onProgress(progress: ImageProgress): void {
    process.stdout.write(`${printableJson(JSON.stringify(progress))}\n`);
  }

  end(): void {}
}

/** A line for each thing that happens; not for how far it is. */
class Lines implements ProgressView {
  readonly #last = new Map<string, string>();

  onProgress({ event, name, digest, total }: ImageProgress): void {
    if (this.#last.get(name) === event && name !== "") return;
    this.#last.set(name, event);
    const size = total > 0 ? ` (${bytes(total)})` : "";
    const about = name === "" ? "" : `${labelOf(name, digest)}: `;
    process.stdout.write(`${printable(about + event)}${size}\n`);
  }

  end(): void {}
}

/** In ms. */
const REDRAW = 100;
const BAR_WIDTH = 24;

interface Row {
  label: string;
  event: string;
  progress: number;
  total: number;
  /** When it began to move, by performance.now(), and how far it was then. */
  since?: { time: number; progress: number };
}

/** A line for each blob, which is drawn again as it moves. */
class Bars implements ProgressView {
  readonly #rows = new Map<string, Row>();
  #headline = "";
  #drawn = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  onProgress({ event, name, digest, progress, total }: ImageProgress): void {
    if (digest === "" || total === 0) this.#headline = printable(name === "" ? event : `${event}: ${name}`);
    else {
      const row = this.#rows.get(name) ?? { label: labelOf(name, digest), event, progress, total };
      if (row.event !== event || row.since === undefined) row.since = { time: performance.now(), progress };
      Object.assign(row, { event, progress, total });
      this.#rows.set(name, row);
    }
    this.#timer ??= setTimeout(() => this.#draw(), REDRAW);
  }

  end(): void {
    this.#draw();
  }

  #draw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { columns = 80, rows = 24 } = this.#stream;
    // What does not fit on the screen could not be drawn over.
    const lines = [...this.#rows.values()].slice(0, Math.max(1, rows - 2)).map(lineOf);
    if (this.#headline !== "") lines.push(this.#headline);
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    this.#stream.write(up + lines.map((line) => `\r${[...line].slice(0, columns - 1).join("")}\x1b[K\n`).join(""));
    this.#drawn = lines.length;
  }
}

function lineOf({ label, event, progress, total, since }: Row): string {
  const share = Math.min(1, progress / total);
  const done = Math.round(share * BAR_WIDTH);
  const bar = `[${"=".repeat(done)}${" ".repeat(BAR_WIDTH - done)}]`;
  const seconds = since === undefined ? 0 : (performance.now() - since.time) / 1000;
  const moved = since === undefined ? 0 : progress - since.progress;
  const rate = share < 1 && seconds > 0 && moved > 0 ? `  ${bytes(moved / seconds)}/s` : "";
  return `${label.padEnd(28)} ${printable(event).padEnd(14)} ${bar} ${bytes(progress)} / ${bytes(total)}${rate}`;
}

/** "layer sha256:0123456789ab"; a name of an image as it is. */
function labelOf(name: string, digest: string): string {
  const [role] = name.split("-sha256:");
  return digest !== "" && role !== name ? `${role} ${shortDigest(digest)}` : name;
}

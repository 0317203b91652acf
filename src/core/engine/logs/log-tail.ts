import { linesIn } from "../../../contract/log-lines.js";
import { LONGEST_LINE } from "../../../contract/shim/log-format.js";
import { filesOf, type LogChunk, openFile } from "./log-reader.js";
import { timeText } from "./time-filter.js";

/** Where the last lines of a log begin. */
export interface Tail {
  /** All from there on belongs to them. */
  position: number;
  /** Beginnings of some of them that lie before that, between lines that are not wanted. */
  beginnings: LogChunk[];
}

/** Twice that of a line: there is always a whole one in it. */
const BLOCK = 2 * LONGEST_LINE;
/** So far, in bytes, the beginning of a long line is looked for among the lines of the other stream. */
const FURTHEST = 4 << 20;

/**
 * Finds so many of the last lines, from the end backwards.
 * @param until those that are later do not count: nanoseconds since the epoch
 * @throws a system error
 */
export async function findTail(directory: string, count: number, until: bigint | undefined): Promise<Tail> {
  const latest = until === undefined ? "~" : timeText(until);
  const beginnings: LogChunk[] = [];
  /** Streams whose line, of those that are wanted, may have its beginning further ahead. */
  const open = new Set<string>();
  let found = 0;
  let position: number | undefined;
  let looked = 0;
  for await (const { data, position: at } of blocksBackwards(directory)) {
    position ??= at + data.length;
    for (const line of [...linesIn(data)].reverse()) {
      const start = at + line.start;
      if (found < count) {
        if (line.time > latest) continue;
        if (!line.isPart || !open.has(line.stream)) {
          if (line.isGap) open.clear();
          open.add(line.stream);
          found++;
        }
        position = start;
        continue;
      }
      if (open.size === 0 || looked > FURTHEST) return { position, beginnings };
      looked += line.end - line.start;
      if (!line.isPart) {
        if (line.isGap) open.clear();
        open.delete(line.stream);
      } else if (open.has(line.stream)) {
        if (start + line.end - line.start === position) position = start;
        else beginnings.unshift({ data: Buffer.from(data.subarray(line.start, line.end)), position: start, missed: 0 });
      }
    }
  }
  return { position: position ?? 0, beginnings };
}

/** Whole lines, the last ones first. */
async function* blocksBackwards(directory: string): AsyncGenerator<Omit<LogChunk, "missed">> {
  for (const start of (await filesOf(directory)).reverse()) {
    const file = await openFile(directory, start);
    if (file === undefined) return;
    try {
      let { size: end } = await file.stat();
      while (end > 0) {
        const from = Math.max(0, end - BLOCK);
        const buffer = Buffer.allocUnsafe(end - from);
        const { bytesRead } = await file.read(buffer, 0, buffer.length, from);
        const block = buffer.subarray(0, bytesRead);
        const first = from === 0 ? 0 : block.indexOf(0x0a) + 1;
        const last = block.lastIndexOf(0x0a) + 1;
        if (last > first) yield { data: block.subarray(first, last), position: start + from + first };
        end = last > first ? from + first : from;
      }
    } finally {
      await file.close();
    }
  }
}

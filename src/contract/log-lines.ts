import { CUT_TAG, DROPPED_TAG, PART_TAG } from "./shim/log-format.js";

/** A line of a container's log: docs/logs.md has the format. */
export interface LogLine {
  /** Where it begins in the data. */
  start: number;
  /** Where its text does. */
  textStart: number;
  /** Behind its newline. */
  end: number;
  /** As it is written, so that the order of texts is that of times. */
  time: string;
  stream: string;
  tag: string;
  /** Whether the next one of its stream goes on with it. */
  isPart: boolean;
  /** Whether it ends with a newline that was printed. */
  isWhole: boolean;
  /** Whether it is the shim's own, and lines before it are missing. */
  isGap: boolean;
}

const NEWLINE = 0x0a;
const SPACE = 0x20;

/** The lines of some data that has whole ones only. */
export function* linesIn(data: Buffer): Generator<LogLine> {
  for (let start = 0; start < data.length; ) {
    const end = data.indexOf(NEWLINE, start) + 1 || data.length;
    const word = (from: number) => {
      const to = data.indexOf(SPACE, from);
      return to < 0 || to >= end ? end - 1 : to;
    };
    const [afterTime, afterStream] = [word(start), word(word(start) + 1)];
    const afterTag = word(afterStream + 1);
    const tag = data.toString("latin1", afterStream + 1, afterTag);
    yield {
      start,
      textStart: Math.min(afterTag + 1, end),
      end,
      time: data.toString("latin1", start, afterTime),
      stream: data.toString("latin1", afterTime + 1, afterStream),
      tag,
      isPart: tag === PART_TAG,
      isWhole: tag !== PART_TAG && tag !== CUT_TAG,
      isGap: tag.startsWith(DROPPED_TAG),
    };
    start = end;
  }
}

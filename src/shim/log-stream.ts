/** What a process prints, as lines of its container's log. None of it is a Lua string, which would be garbage. */
import * as ffi from "ffi";
import { CUT_TAG, FULL_TAG, PART_TAG } from "../contract/shim/log-format";
import { type ContainerLog, writeLine, writeLines } from "./container-log";
import { callIn } from "./loop";
import * as memory from "./syscalls/memory";
import * as vectors from "./syscalls/vectors";
import * as waiting from "./syscalls/waiting";

/** One of the streams that go into a log. */
export interface LogStream {
  readonly log: ContainerLog;
  readonly name: "stdout" | "stderr";
  /** What stands between the time and the text. */
  readonly words: string;
  /** The beginning of a line that is not written yet: where it lies (0: nowhere yet), and how long it is. */
  rest: vectors.Address;
  restLength: number;
  /** What was written last is a part of a line. */
  endsInPart: boolean;
  /** Does not wait for more of the line any longer. */
  readonly writeRest: (this: void) => void;
}

/** A line that grows longer is written in parts, in bytes. */
const LONGEST_REST = 16384;
/** How long the beginning of a line may wait for more, in ms: a prompt has to be seen, and many print a line in pieces. */
const REST_DELAY = 10;

/** The lines of now begin with this. */
let fullHead: vectors.Address = 0;
let partHead: vectors.Address = 0;
let newline: vectors.Address = 0;

/** A stream of a log that is open. */
export function openLogStream(log: ContainerLog, name: LogStream["name"]): LogStream {
  const stream: LogStream = {
    log,
    name,
    words: ` ${name} ${FULL_TAG} `,
    rest: 0,
    restLength: 0,
    endsInPart: false,
    writeRest: () => {
      if (stream.restLength === 0) return;
      addPart(stream, prepareHead(stream), newline, 0);
      writeLines(log);
    },
  };
  return stream;
}

/** Puts bytes into the log; they may be changed afterwards. Behind them there must be room for one more. */
export function appendToLog(stream: LogStream, bytes: vectors.Address, length: number): void {
  const headLength = prepareHead(stream);
  vectors.copy(bytes + length, newline, 1);
  let at = stream.restLength === 0 ? 0 : goOn(stream, headLength, bytes, length);
  while (at < length) {
    const [next, lines] = vectors.addLines(fullHead, headLength, bytes, at, length);
    at = next;
    if (lines > 0) stream.endsInPart = false;
    if (!vectors.isFull()) break;
    writeLines(stream.log);
  }
  const left = length - at;
  if (left >= LONGEST_REST) addPart(stream, headLength, bytes + at, left);
  if (vectors.length() > 0) writeLines(stream.log);
  // Only now: the last rest may have been among those lines.
  if (left > 0 && left < LONGEST_REST) waitForMore(stream, bytes + at, left);
}

/** The line that has begun before; how many of the bytes are its. */
function goOn(stream: LogStream, headLength: number, bytes: vectors.Address, length: number): number {
  const own = vectors.lineLength(bytes, length + 1);
  if (own <= length) {
    vectors.add(fullHead, headLength);
    addRest(stream);
    vectors.add(bytes, own);
    stream.endsInPart = false;
    return own;
  }
  if (stream.restLength + length < LONGEST_REST) waitForMore(stream, bytes, length);
  else addPart(stream, headLength, bytes, length);
  return length;
}

/** What waits, and these bytes behind it. */
function addPart(stream: LogStream, headLength: number, bytes: vectors.Address, length: number): void {
  vectors.copy(partHead, fullHead, headLength);
  // The tag is one letter, and a space follows it.
  vectors.copyText(partHead + headLength - 2, PART_TAG);
  vectors.add(partHead, headLength);
  if (stream.restLength > 0) addRest(stream);
  if (length > 0) vectors.add(bytes, length);
  vectors.add(newline, 1);
  stream.endsInPart = true;
}

function addRest(stream: LogStream): void {
  vectors.add(stream.rest, stream.restLength);
  stream.restLength = 0;
}

function waitForMore(stream: LogStream, bytes: vectors.Address, length: number): void {
  if (stream.rest === 0) stream.rest = memory.addressOf(memory.mapMemory(LONGEST_REST));
  vectors.copy(stream.rest + stream.restLength, bytes, length);
  stream.restLength += length;
  callIn(REST_DELAY, stream.writeRest);
}

/** What the lines of now begin with; how long that is. */
function prepareHead({ words }: LogStream): number {
  if (fullHead === 0) {
    fullHead = memory.addressOf(memory.mapMemory(2 * waiting.TIME_ROOM + 1));
    partHead = fullHead + waiting.TIME_ROOM;
    newline = partHead + waiting.TIME_ROOM;
    vectors.copyText(newline, "\n");
  }
  return waiting.writeTime(fullHead, words);
}

/** Nothing more comes. */
export function endLogStream(stream: LogStream): void {
  if (stream.restLength === 0 && !stream.endsInPart) return;
  const rest = stream.restLength === 0 ? "" : ffi.string(ffi.cast("const char *", stream.rest), stream.restLength);
  writeLine(stream.log, stream.name, CUT_TAG, rest);
  stream.restLength = 0;
  stream.endsInPart = false;
}

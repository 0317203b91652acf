/** What a process prints, as lines of its container's log. */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { CUT_TAG, FULL_TAG, PART_TAG } from "../contract/shim/log-format";
import { type ContainerLog, headOf, writeLine, writeLines } from "./container-log";
import { callIn } from "./loop";
import * as vectors from "./syscalls/vectors";

/** One of the streams that go into a log. */
export interface LogStream {
  readonly log: ContainerLog;
  readonly name: "stdout" | "stderr";
  /** The beginning of a line that is not written yet. */
  rest: string;
  /** What was written last is a part of a line. */
  endsInPart: boolean;
  /** Does not wait for more of the line any longer. */
  readonly writeRest: (this: void) => void;
}

/** A line that grows longer is written in parts, in bytes. */
const LONGEST_REST = 16384;
/** How long the beginning of a line may wait for more, in ms: a prompt has to be seen, and many print a line in pieces. */
const REST_DELAY = 10;
const HEAD_SIZE = 64;

const fullHead = ffi.new("char[?]", HEAD_SIZE);
const partHead = ffi.new("char[?]", HEAD_SIZE);
const newline = ffi.new("char[?]", 2);
ffi.copy(newline, "\n");

/** Keeps a rest from being collected until it is written. */
let written = "";

/** A stream of a log that is open. */
export function openLogStream(log: ContainerLog, name: LogStream["name"]): LogStream {
  const stream: LogStream = {
    log,
    name,
    rest: "",
    endsInPart: false,
    writeRest: () => {
      if (stream.rest === "") return;
      addPart(stream, prepareHeads(stream), newline, 0);
      writeLines(log);
    },
  };
  return stream;
}

/** Puts bytes into the log; they may be changed afterwards. */
export function appendToLog(stream: LogStream, data: CData, length: number): void {
  const bytes = ffi.cast("const char *", data);
  const headLength = prepareHeads(stream);
  let at = stream.rest === "" ? 0 : goOn(stream, headLength, bytes, length);
  while (at < length) {
    const [next, lines] = vectors.addLines(fullHead, headLength, bytes, at, length);
    at = next;
    if (lines > 0) stream.endsInPart = false;
    if (!vectors.isFull()) break;
    writeLines(stream.log);
  }
  const left = length - at;
  if (left >= LONGEST_REST) addPart(stream, headLength, vectors.after(bytes, at), left);
  else if (left > 0) waitForMore(stream, ffi.string(vectors.after(bytes, at), left));
  if (vectors.length() > 0) writeLines(stream.log);
}

/** The line that has begun before; how many of the bytes are its. */
function goOn(stream: LogStream, headLength: number, bytes: CData, length: number): number {
  const { rest } = stream;
  const own = vectors.lineLength(bytes, length);
  if (own !== undefined) {
    vectors.add(fullHead, headLength);
    addRest(stream);
    vectors.add(bytes, own);
    stream.endsInPart = false;
  } else if (rest.length + length < LONGEST_REST) waitForMore(stream, rest + ffi.string(bytes, length));
  else addPart(stream, headLength, bytes, length);
  return own ?? length;
}

/** What waits, and these bytes behind it. */
function addPart(stream: LogStream, headLength: number, bytes: CData, length: number): void {
  vectors.add(partHead, headLength);
  if (stream.rest !== "") addRest(stream);
  if (length > 0) vectors.add(bytes, length);
  vectors.add(newline, 1);
  stream.endsInPart = true;
}

function addRest(stream: LogStream): void {
  written = stream.rest;
  stream.rest = "";
  vectors.add(ffi.cast("const char *", written), written.length);
}

function waitForMore(stream: LogStream, rest: string): void {
  stream.rest = rest;
  callIn(REST_DELAY, stream.writeRest);
}

/** What the lines of now begin with; how long that is. */
function prepareHeads({ name }: LogStream): number {
  const head = headOf(name, FULL_TAG);
  ffi.copy(fullHead, head);
  ffi.copy(partHead, headOf(name, PART_TAG));
  return head.length;
}

/** Nothing more comes. */
export function endLogStream(stream: LogStream): void {
  if (stream.rest === "" && !stream.endsInPart) return;
  writeLine(stream.log, stream.name, CUT_TAG, stream.rest);
  stream.rest = "";
  stream.endsInPart = false;
}

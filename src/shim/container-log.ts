/** The log of a container, which is files in a directory of its own: where lines end up, and what becomes of them when the disk is full. */
import { CUT_TAG, DROPPED_TAG, LOG_SUFFIX, LONGEST_LINE, PART_TAG, POSITION_DIGITS } from "../contract/shim/log-format";
import type { OutputJson } from "../contract/shim/process-json";
import { logWarning } from "./log";
import * as files from "./syscalls/files";
import { EINTR, ENOENT, ENOSPC, errorText } from "./syscalls/libc";
import * as vectors from "./syscalls/vectors";
import * as waiting from "./syscalls/waiting";

/** The log, of which the newest file is written. */
export interface ContainerLog {
  readonly directory: string;
  readonly maxSize: number;
  readonly maxFiles: number;
  /** -1 when it is not open yet, a negative errno when it could not be opened: that is tried again. */
  fd: number;
  /** Where in the log the file begins; its name. */
  start: number;
  /** Of the file. */
  size: number;
  /** How many lines there was no room for since the last one that there was. */
  dropped: number;
  /** Why. */
  reason: string;
}

let lastSecond = 0;
let secondText = "";

/** The wall clock as lines have it: `2016-10-06T00:17:09.669794202Z`. */
function timeText(): string {
  const [second, nanosecond] = waiting.wallClock();
  if (second !== lastSecond) {
    lastSecond = second;
    secondText = os.date("!%Y-%m-%dT%H:%M:%S", second) as string;
  }
  return `${secondText}.${string.format("%09d", nanosecond)}Z`;
}

/** Goes on with a container's log. One that has nothing in it is made with its first line: many containers print none. */
export function openContainerLog({ path, log }: OutputJson): ContainerLog {
  const { start, maxSize, maxFiles } = log!;
  const opened = { directory: path, maxSize, maxFiles, fd: -1, start, size: 0, dropped: 0, reason: "" };
  const [last, size] = files.readEnd(fileOf(opened), LONGEST_LINE);
  if (size > 0) {
    openFile(opened);
    opened.size = size;
    mend(opened, last);
  }
  return opened;
}

/** What a shim that was killed has left: a line that it has not written to its end, and lines that nobody will go on with. */
function mend(log: ContainerLog, last: string): void {
  const [, whole] = string.find(last, "^.*\n");
  // Where there is more than was read, that begins in the middle of a line: with what the container has printed.
  const first = log.size > last.length ? (string.find(last, "\n", 1, true)[0] ?? 0) : 0;
  const cut = last.length - (whole ?? 0);
  if (cut > 0) {
    files.ftruncate(log.fd, log.size - cut);
    log.size -= cut;
  }
  const tags = new LuaTable<string, string>();
  const text = `\n${string.sub(last, first + 1, whole ?? 0)}`;
  for (const [stream, tag] of string.gmatch(text, "\n[^ \n]+ ([a-z]+) ([^ \n]+)")) tags.set(stream, tag);
  for (const [stream, tag] of tags) if (tag === PART_TAG) writeLine(log, stream, CUT_TAG, "");
}

function fileOf({ directory, start }: ContainerLog): string {
  return `${directory}/${string.format(`%0${POSITION_DIGITS}d`, start)}${LOG_SUFFIX}`;
}

function openFile(log: ContainerLog): void {
  const flags = files.O_WRONLY + files.O_CREAT + files.O_APPEND + files.O_OWN;
  log.fd = files.open(fileOf(log), flags, 0o600);
  if (log.fd === -ENOENT && files.mkdir(log.directory, 0o700) >= 0) log.fd = files.open(fileOf(log), flags, 0o600);
  if (log.fd < 0) fail(log, log.fd);
}

/** The next file takes the place of the oldest. */
function rotate(log: ContainerLog): void {
  files.close(log.fd);
  log.start += log.size;
  log.size = 0;
  const names: string[] = [];
  for (const name of files.filesIn(log.directory)) {
    const [digits] = string.match(name, "^(%d+)%.log$");
    if (digits !== undefined && digits.length === POSITION_DIGITS) names[names.length] = name;
  }
  table.sort(names);
  for (const index of $range(0, names.length - log.maxFiles)) files.unlink(`${log.directory}/${names[index]}`);
  openFile(log);
}

/** There is room in the file for so many bytes, or it is a new one. */
function rotateFor(log: ContainerLog, length: number): void {
  if (log.size > 0 && log.size + length > log.maxSize) rotate(log);
}

function fail(log: ContainerLog, errno: number): void {
  const reason = errorText(errno);
  if (reason !== log.reason) logWarning(`lines of the container's log are lost: ${reason}`);
  log.reason = reason;
}

/**
 * Writes the lines that {@link vectors} holds. What there is no room for is dropped: whoever prints does not wait for the disk. A file ends
 * with a whole line whatever has failed.
 */
export function writeLines(log: ContainerLog): void {
  let left = vectors.length();
  if (log.dropped > 0 && log.fd >= 0) tellDropped(log);
  rotateFor(log, left);
  if (log.fd < 0) openFile(log);
  let skipped = 0;
  while (left > 0) {
    const result = log.fd < 0 ? log.fd : vectors.write(log.fd, skipped);
    if (result === left) {
      log.size += left;
      break;
    }
    if (result === -EINTR) continue;
    const [pieces, bytes, others] = vectors.wholeLines(skipped, result);
    if (result > bytes) files.ftruncate(log.fd, log.size + bytes);
    log.size += bytes;
    left -= bytes;
    skipped += pieces;
    // With room for less than a line the disk is as full as without any.
    if (bytes === 0) {
      fail(log, result < 0 ? result : -ENOSPC);
      log.dropped += others;
      break;
    }
  }
  vectors.clear();
}

/** Writes one line, which the process has not printed as it is; whether it is there then. */
export function writeLine(log: ContainerLog, stream: string, tag: string, words: string): boolean {
  const text = `${timeText()} ${stream} ${tag} ${words}\n`;
  rotateFor(log, text.length);
  if (log.fd < 0) openFile(log);
  const result = files.write(log.fd, text, text.length);
  if (result === text.length) {
    log.size += result;
    return true;
  }
  if (result > 0) files.ftruncate(log.fd, log.size);
  return false;
}

function tellDropped(log: ContainerLog): void {
  const count = string.format("%d", log.dropped);
  if (!writeLine(log, "stderr", `${DROPPED_TAG}:${count}`, `${count} lines were dropped: ${log.reason}`)) return;
  log.dropped = 0;
  log.reason = "";
}

/**
 * Copying between two descriptors, both non-blocking: when the target is full the source is left alone, and the rest
 * of the shim goes on.
 *
 * Much data is moved by splice(2), which hands whole pages over. Little data is copied by hand: splice would give each
 * small write a page of its own in the target, and a FIFO has room for 16 pages only, so that a client that is away
 * would get back to 16 lines instead of 64 kB.
 */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { logWarning } from "./log";
import { appendToLog, endLogStream, type LogStream } from "./log-stream";
import { callIn, close, watch, watchAgain } from "./loop";
import * as files from "./syscalls/files";
import { EAGAIN, EINTR, EINVAL, EIO, ENOSYS, EPIPE, errorText } from "./syscalls/libc";
import * as memory from "./syscalls/memory";
import * as vectors from "./syscalls/vectors";
import * as waiting from "./syscalls/waiting";

/** One direction of a process's stdio. */
export interface Copier {
  /** -1 when there is nothing more to read. */
  source: number;
  /** -1 when it is closed, or a log. */
  target: number;
  /** What is read is put into a container's log. */
  readonly log: LogStream | undefined;
  /** The other end of a target FIFO: while we hold it, a client that goes away does not break the FIFO. -1: none. */
  keeper: number;
  /** Read, but not written yet. */
  pending: string | undefined;
  /** Whether splice(2) can be used between the two. */
  splices: boolean;
  /** How many bytes have been spliced, or put into a log, while the pipes have their first capacity. */
  spliced: number;
  /** Nobody is left who could write more into the source. */
  hungUp: boolean;
  /** The target has no reader. */
  deserted: boolean;
  /** Everything has been copied, or cannot be. */
  ended: boolean;
  /** Nobody else will ever read the target when its reader has gone. */
  readonly isLogged: boolean;
  /** Into a process. A target that nobody reads is the end of it; an output waits for its next reader. */
  readonly isStdin: boolean;
  /** One side is a terminal that a process may still open again after the last one has closed it. */
  reopens: boolean;
  /** The other direction of such a terminal: it is tried again when there is something new from here. */
  partner: Copier | undefined;
  /** What the target has no room for is taken all the same, and of that the end is kept here; undefined: it is left in the source. */
  overflow: string | undefined;
}

/** {@link move} at the end of the source; no errno. */
const END_OF_SOURCE = -10_000;

const SPLICE_LENGTH = 1 << 20;
const SPLICE_FROM = 16384;
// A process that has written this much gets roomier pipes: fewer switches between it, us and the client, at the price of
// some kernel memory, which the many that write little shall not cost.
const GROWTH_AFTER = 1 << 20;
const GROWN_CAPACITY = 1 << 18;
const BUFFER_LENGTH = 65536;
const PAGE_LENGTH = 4096;
const OVERFLOW_LENGTH = 8192;
/** How much is put into a log at once. */
const LOG_LENGTH = 32768;
/** How long after much output its memory is given back, in ms. */
const SHRINK_DELAY = 1000;
// After so many steps the others get their turn.
const STEPS_PER_TURN = 64;

let buffer: CData | undefined;
let bufferAddress = 0;

/**
 * Starts to copy. Both descriptors belong to the copier from now on.
 *
 * @param isTerminal the process's side is the master of a terminal
 * @param isLogged the target is read by a logging program
 * @param log in place of a target
 */
export function startCopier(
  source: number,
  target: number,
  keeper: number,
  isStdin: boolean,
  isTerminal = false,
  isLogged = false,
  log?: LogStream,
): Copier {
  const copier: Copier = {
    source,
    target,
    log,
    keeper,
    pending: undefined,
    splices: files.isPipe(source) && files.isPipe(target),
    spliced: 0,
    hungUp: false,
    deserted: false,
    ended: false,
    isLogged,
    isStdin,
    reopens: isTerminal,
    partner: undefined,
    overflow: undefined,
  };
  watch(source, waiting.EPOLLIN + waiting.EPOLLET, (mask) => {
    copier.hungUp = (mask & waiting.EPOLLHUP) !== 0;
    pump(copier);
    if (copier.partner !== undefined) pump(copier.partner);
  });
  if (target >= 0) watch(target, waiting.EPOLLOUT + waiting.EPOLLET, () => pump(copier));
  pump(copier);
  return copier;
}

/** Copies what can be copied now. */
export function pump(copier: Copier): void {
  let steps = STEPS_PER_TURN;
  while (!copier.ended) {
    if (steps === 0) {
      watchAgain(copier.source, waiting.EPOLLIN + waiting.EPOLLET);
      watchAgain(copier.target, waiting.EPOLLOUT + waiting.EPOLLET);
      return;
    }
    steps--;
    if (copier.pending === undefined && copier.overflow !== undefined && copier.overflow !== "") {
      copier.pending = copier.overflow;
      copier.overflow = "";
    }
    const result = copier.pending !== undefined ? flush(copier) : move(copier);
    if (result === -EAGAIN) {
      if (copier.overflow === undefined || !takeOverflow(copier)) return;
      continue;
    }
    if (result === -EPIPE && !copier.isStdin) {
      copier.deserted = true;
      return;
    }
    copier.deserted = false;
    if (result < 0) finish(copier);
  }
}

/** Writes what is pending. Bytes, or a negative errno. */
function flush(copier: Copier): number {
  const text = copier.pending!;
  const count = files.write(copier.target, text, text.length);
  if (count >= 0) {
    copier.pending = count < text.length ? string.sub(text, count + 1) : undefined;
    return count;
  }
  return targetFailed(copier, count);
}

/** Moves some data on. Bytes, or a negative errno, or {@link END_OF_SOURCE}. */
function move(copier: Copier): number {
  if (copier.splices && files.readable(copier.source) >= SPLICE_FROM) {
    const count = files.splice(copier.source, copier.target, SPLICE_LENGTH);
    if (count >= 0) {
      if (copier.spliced < GROWTH_AFTER) noteSpliced(copier, count);
      return count;
    }
    // Old kernels cannot splice everything.
    if (count === -EINVAL || count === -ENOSYS) copier.splices = false;
    else return targetFailed(copier, count);
  }
  if (buffer === undefined) {
    buffer = memory.mapMemory(BUFFER_LENGTH);
    bufferAddress = memory.addressOf(buffer);
  }
  const count = files.read(copier.source, buffer, copier.log === undefined ? BUFFER_LENGTH : LOG_LENGTH);
  if (count === -EINTR) return 0;
  if (count === 0) return END_OF_SOURCE;
  // Of a terminal that nobody has open at the moment.
  if (count === -EIO && copier.reopens) return -EAGAIN;
  if (count < 0) return count;
  if (copier.log !== undefined) {
    appendToLog(copier.log, bufferAddress, count);
    if (copier.spliced < GROWTH_AFTER) noteSpliced(copier, count);
    if (count > PAGE_LENGTH) callIn(SHRINK_DELAY, shrink);
    return count;
  }
  const written = files.write(copier.target, buffer, count);
  let result = written;
  if (written < count) {
    const text = ffi.string(buffer, count);
    copier.pending = written > 0 ? string.sub(text, written + 1) : text;
    if (written < 0) result = targetFailed(copier, written);
  }
  // What has passed through is not worth keeping memory for.
  if (count > PAGE_LENGTH) memory.discard(buffer, BUFFER_LENGTH);
  return result;
}

/** What many lines have gone through is not worth keeping memory for, once they have. */
function shrink(): void {
  if (buffer !== undefined) memory.discard(buffer, BUFFER_LENGTH);
  vectors.shrink();
}

function noteSpliced(copier: Copier, count: number): void {
  copier.spliced += count;
  if (copier.spliced < GROWTH_AFTER) return;
  files.setPipeCapacity(copier.source, GROWN_CAPACITY);
  if (copier.target >= 0) files.setPipeCapacity(copier.target, GROWN_CAPACITY);
}

/** What a failed write means for the pump. */
function targetFailed(copier: Copier, result: number): number {
  if (result === -EAGAIN || (result === -EPIPE && !copier.isLogged)) return result;
  if (result === -EINTR) return 0;
  if (copier.isStdin) return result === -EIO && copier.reopens ? -EAGAIN : result;
  // A full disk, a logging program that has ended, or the like: the process must not stand still because its output has no place to go.
  logWarning(`output is lost: ${errorText(result)}`);
  return discardRest(copier) ? 0 : result;
}

/** From now on the output goes nowhere. */
export function discardRest(copier: Copier): boolean {
  const target = files.open("/dev/null", files.O_WRONLY);
  if (target < 0) return false;
  close(copier.target);
  copier.target = target;
  copier.pending = undefined;
  return true;
}

/**
 * From now on, until {@link endOverflow}, whoever writes into the source is not held up by a target that nobody reads: what there is no
 * room for is lost, but for its end.
 */
export function beginOverflow(copier: Copier): void {
  // A log takes everything.
  if (copier.log !== undefined) return;
  copier.overflow ??= "";
  pump(copier);
}

/** The source waits for the target again. */
export function endOverflow(copier: Copier): void {
  const { overflow } = copier;
  copier.overflow = undefined;
  if (overflow === undefined || overflow === "" || copier.ended) return;
  copier.pending = (copier.pending ?? "") + overflow;
  pump(copier);
}

/** Whether there was anything to take. */
function takeOverflow(copier: Copier): boolean {
  const text = files.readText(copier.source, BUFFER_LENGTH);
  if (text === "") return false;
  copier.overflow = string.sub(copier.overflow! + text, -OVERFLOW_LENGTH);
  return true;
}

/** Takes what the source has now and no more, although somebody could still write into it. */
export function cutSource(copier: Copier): void {
  if (copier.source < 0) return;
  if (copier.log !== undefined) {
    for (let taken = 0, count = 1; count > 0 && taken < SPLICE_LENGTH; taken += count) count = move(copier);
    finish(copier);
    return;
  }
  const rest = (copier.pending ?? "") + files.readText(copier.source, SPLICE_LENGTH);
  copier.pending = rest === "" ? undefined : rest;
  copier.hungUp = true;
  close(copier.source);
  // Reading from it fails from now on, which ends the copier when the rest is written.
  copier.source = -1;
}

function finish(copier: Copier): void {
  if (!copier.ended && copier.log !== undefined) endLogStream(copier.log);
  copier.ended = true;
  copier.pending = undefined;
  close(copier.source);
  copier.source = -1;
  // The reader sees the end at once. What it has not read yet stays in the FIFO as long as we keep that.
  close(copier.target);
  copier.target = -1;
}

/** Drops our reader of the target FIFO: from now on a FIFO without a client counts as deserted. */
export function dropKeeper(copier: Copier): void {
  close(copier.keeper);
  copier.keeper = -1;
}

/** Ends the copying and closes everything. */
export function closeCopier(copier: Copier): void {
  // Who opened the FIFO after its end, and waits for a writer, would wait for ever.
  if (copier.ended && copier.keeper >= 0) {
    const writer = files.open(`/proc/self/fd/${copier.keeper}`, files.O_WRONLY + files.O_NONBLOCK);
    if (writer >= 0) files.close(writer);
  }
  finish(copier);
  dropKeeper(copier);
}

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
import { close, watch, watchAgain } from "./loop";
import * as sys from "./syscalls";

/** One direction of a process's stdio. */
export interface Copier {
  /** -1 when there is nothing more to read. */
  source: number;
  /** -1 when it is closed. */
  target: number;
  /** The other end of a target FIFO: while we hold it, a client that goes away does not break the FIFO. -1: none. */
  keeper: number;
  /** Read, but not written yet. */
  pending: string | undefined;
  /** Whether splice(2) can be used between the two. */
  splices: boolean;
  /** How many bytes have been spliced while the pipes have their first capacity. */
  spliced: number;
  /** Nobody is left who could write more into the source. */
  hungUp: boolean;
  /** The target has no reader. */
  deserted: boolean;
  /** Everything has been copied, or cannot be. */
  ended: boolean;
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
const endOfSource = -10_000;

const spliceLength = 1 << 20;
const spliceFrom = 16384;
// A process that has written this much gets roomier pipes: fewer switches between it, us and the client, at the price of
// some kernel memory, which the many that write little shall not cost.
const growthAfter = 1 << 20;
const grownCapacity = 1 << 18;
const bufferLength = 65536;
const pageLength = 4096;
const overflowLength = 8192;
// After so many steps the others get their turn.
const stepsPerTurn = 64;

let buffer: CData | undefined;

/**
 * Starts to copy. Both descriptors belong to the copier from now on.
 *
 * @param isTerminal the process's side is the master of a terminal
 */
export function startCopier(
  source: number,
  target: number,
  keeper: number,
  isStdin: boolean,
  isTerminal = false,
): Copier {
  const copier: Copier = {
    source,
    target,
    keeper,
    pending: undefined,
    splices: sys.isPipe(source) && sys.isPipe(target),
    spliced: 0,
    hungUp: false,
    deserted: false,
    ended: false,
    isStdin,
    reopens: isTerminal,
    partner: undefined,
    overflow: undefined,
  };
  watch(source, sys.EPOLLIN + sys.EPOLLET, (mask) => {
    copier.hungUp = (mask & sys.EPOLLHUP) !== 0;
    pump(copier);
    if (copier.partner !== undefined) pump(copier.partner);
  });
  watch(target, sys.EPOLLOUT + sys.EPOLLET, () => pump(copier));
  pump(copier);
  return copier;
}

/** Copies what can be copied now. */
export function pump(copier: Copier): void {
  let steps = stepsPerTurn;
  while (!copier.ended) {
    if (steps === 0) {
      watchAgain(copier.source, sys.EPOLLIN + sys.EPOLLET);
      watchAgain(copier.target, sys.EPOLLOUT + sys.EPOLLET);
      return;
    }
    steps--;
    if (copier.pending === undefined && copier.overflow !== undefined && copier.overflow !== "") {
      copier.pending = copier.overflow;
      copier.overflow = "";
    }
    const result = copier.pending !== undefined ? flush(copier) : move(copier);
    if (result === -sys.EAGAIN) {
      if (copier.overflow === undefined || !takeOverflow(copier)) return;
      continue;
    }
    if (result === -sys.EPIPE && !copier.isStdin) {
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
  const count = sys.write(copier.target, text, text.length);
  if (count >= 0) {
    copier.pending = count < text.length ? string.sub(text, count + 1) : undefined;
    return count;
  }
  return targetFailed(copier, count);
}

/** Moves some data on. Bytes, or a negative errno, or {@link endOfSource}. */
function move(copier: Copier): number {
  if (copier.splices && sys.readable(copier.source) >= spliceFrom) {
    const count = sys.splice(copier.source, copier.target, spliceLength);
    if (count >= 0) {
      if (copier.spliced < growthAfter) noteSpliced(copier, count);
      return count;
    }
    // Old kernels cannot splice everything.
    if (count === -sys.EINVAL || count === -sys.ENOSYS) copier.splices = false;
    else return targetFailed(copier, count);
  }
  buffer ??= sys.mapMemory(bufferLength);
  const count = sys.read(copier.source, buffer, bufferLength);
  if (count === -sys.EINTR) return 0;
  if (count === 0) return endOfSource;
  // Of a terminal that nobody has open at the moment.
  if (count === -sys.EIO && copier.reopens) return -sys.EAGAIN;
  if (count < 0) return count;
  const written = sys.write(copier.target, buffer, count);
  let result = written;
  if (written < count) {
    const text = ffi.string(buffer, count);
    copier.pending = written > 0 ? string.sub(text, written + 1) : text;
    if (written < 0) result = targetFailed(copier, written);
  }
  // What has passed through is not worth keeping memory for.
  if (count > pageLength) sys.discard(buffer, bufferLength);
  return result;
}

function noteSpliced(copier: Copier, count: number): void {
  copier.spliced += count;
  if (copier.spliced < growthAfter) return;
  sys.setPipeCapacity(copier.source, grownCapacity);
  sys.setPipeCapacity(copier.target, grownCapacity);
}

/** What a failed write means for the pump. */
function targetFailed(copier: Copier, result: number): number {
  if (result === -sys.EAGAIN || result === -sys.EPIPE) return result;
  if (result === -sys.EINTR) return 0;
  if (copier.isStdin) return result === -sys.EIO && copier.reopens ? -sys.EAGAIN : result;
  // A full disk or the like: the process must not stand still because its output has no place to go.
  logWarning(`output is lost: ${sys.errorText(result)}`);
  return discardRest(copier) ? 0 : result;
}

/** From now on the output goes nowhere. */
export function discardRest(copier: Copier): boolean {
  const target = sys.open("/dev/null", sys.O_WRONLY);
  if (target < 0) return false;
  close(copier.target);
  copier.target = target;
  copier.pending = undefined;
  return true;
}

/**
 * From now on, until {@link endOverflow}, whoever writes into the source is not held up by a target that nobody reads: what there is no room
 * for is lost, but for its end.
 */
export function beginOverflow(copier: Copier): void {
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
  const text = sys.readText(copier.source, bufferLength);
  if (text === "") return false;
  copier.overflow = string.sub(copier.overflow! + text, -overflowLength);
  return true;
}

/** Takes what the source has now and no more, although somebody could still write into it. */
export function cutSource(copier: Copier): void {
  if (copier.source < 0) return;
  const rest = (copier.pending ?? "") + sys.readText(copier.source, spliceLength);
  copier.pending = rest === "" ? undefined : rest;
  copier.hungUp = true;
  close(copier.source);
  // Reading from it fails from now on, which ends the copier when the rest is written.
  copier.source = -1;
}

function finish(copier: Copier): void {
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
    const writer = sys.open(`/proc/self/fd/${copier.keeper}`, sys.O_WRONLY + sys.O_NONBLOCK);
    if (writer >= 0) sys.close(writer);
  }
  finish(copier);
  dropKeeper(copier);
}

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
  /** A target that is for this copier alone is closed when everything is copied: it is the end of a stdin. */
  readonly closesTarget: boolean;
}

const spliceLength = 1 << 20;
const spliceFrom = 16384;
// A process that has written this much gets roomier pipes: fewer switches between it, us and the client, at the price of
// some kernel memory, which the many that write little shall not cost.
const growthAfter = 1 << 20;
const grownCapacity = 1 << 18;
const bufferLength = 65536;
const pageLength = 4096;
// After so many steps the others get their turn.
const stepsPerTurn = 64;

let buffer: CData | undefined;

/** Starts to copy. Both descriptors belong to the copier from now on. */
export function startCopier(source: number, target: number, keeper: number, isStdin: boolean): Copier {
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
    closesTarget: isStdin,
  };
  watch(source, sys.EPOLLIN + sys.EPOLLET, (mask) => {
    if ((mask & sys.EPOLLHUP) !== 0) copier.hungUp = true;
    pump(copier);
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
    const result = copier.pending !== undefined ? flush(copier) : move(copier);
    if (result === -sys.EAGAIN) return;
    if (result === -sys.EPIPE && !copier.closesTarget) {
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

/** Moves some data on. Bytes, or a negative errno; -EIO is the end of the source. */
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
  if (count === 0) return -sys.EIO;
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
  if (copier.closesTarget) return result;
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
  if (copier.closesTarget) {
    close(copier.target);
    copier.target = -1;
  }
}

/** Drops our reader of the target FIFO: from now on a FIFO without a client counts as deserted. */
export function dropKeeper(copier: Copier): void {
  close(copier.keeper);
  copier.keeper = -1;
}

/** Ends the copying and closes everything. */
export function closeCopier(copier: Copier): void {
  finish(copier);
  dropKeeper(copier);
  close(copier.target);
  copier.target = -1;
}

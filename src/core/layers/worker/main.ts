/** The program of a worker thread: it does what it is told, one thing at a time. */
import { closeSync, constants, openSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { ArchiveError } from "../../../contract/tar/archive-error.js";
import { Failure } from "../../failure/failure.js";
import { FileOwners, type IdMaps } from "../../files/file-owners.js";
import { archiveOf } from "../tree-archive.js";
import { Blob } from "./blob.js";
import { convert } from "./conversion.js";
import type { Answer, ConvertTask, DiffTask, Order, Task } from "./messages.js";

const port = parentPort!;
const answer = (message: Answer, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

/** Progress is told each time that so many bytes have come out of a blob. */
const PROGRESS = 1 << 20;

class CalledOff extends Error {}

let blob: Blob | undefined;
/** Pieces that may be given. */
let wanted = 0;
let onMore: (() => void) | undefined;
let onBelow: ((below: string | undefined) => void) | undefined;

port.on("message", (order: Order) => {
  if ("task" in order) void work(order.task, order.stop);
  else if ("size" in order) blob?.grow(order.size, order.whole);
  else if ("below" in order) onBelow?.(order.below);
  else {
    wanted++;
    onMore?.();
  }
});

async function work(task: Task, stop: Int32Array): Promise<void> {
  wanted = 0;
  try {
    if (task.is === "convert") answer({ result: await converted(task, stop) });
    else {
      await diffed(task, stop);
      answer({ done: true });
    }
  } catch (error) {
    answer(failureOf(task, error));
  }
}

/** Throws when a task is called off. */
function checkpointOf(stop: Int32Array): () => void {
  return () => {
    if (Atomics.load(stop, 0) !== 0) throw new CalledOff();
  };
}

async function diffed({ upper, idMaps, latest }: DiffTask, stop: Int32Array): Promise<void> {
  const checkpoint = checkpointOf(stop);
  for (const piece of layerOf(upper, idMaps, latest)) {
    while (wanted === 0) {
      await new Promise<void>((resolve) => {
        onMore = resolve;
      });
    }
    checkpoint();
    wanted--;
    answer({ piece }, [piece.buffer]);
  }
}

function* layerOf(
  upper: string,
  idMaps: IdMaps | undefined,
  latest: bigint | undefined,
): Generator<Buffer<ArrayBuffer>> {
  const place = openSync(upper, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    yield* archiveOf(place, "", { owners: new FileOwners(idMaps), isLayer: true, latest });
  } finally {
    closeSync(place);
  }
}

async function converted(task: ConvertTask, stop: Int32Array) {
  const checkpoint = checkpointOf(stop);
  const source = new Blob(task.blob, (size) => {
    checkpoint();
    answer({ wants: size });
  });
  blob = source;
  let told = 0;
  try {
    return await convert(task, {
      blob: source,
      checkpoint,
      below: () => {
        answer({ wants: "below" });
        return new Promise((resolve) => {
          onBelow = resolve;
        });
      },
      progress: (unpacked) => {
        if (unpacked < told) return;
        told = unpacked + PROGRESS;
        answer({ read: source.read, unpacked });
      },
    });
  } finally {
    blob = undefined;
    source.close();
  }
}

function failureOf(task: Task, error: unknown): Answer {
  const of = (failure: Failure): Answer => ({
    failure: { kind: failure.kind, what: failure.what, facts: failure.facts },
  });
  if (error instanceof Failure) return of(error);
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") return of(new Failure("resource-exhausted", "disk-full", {}));
  const layer = task.is === "convert" ? task.layer : task.upper;
  if (error instanceof ArchiveError)
    return of(new Failure("invalid-argument", "bad-layer", { layer, entry: error.entry, why: message }));
  if (error instanceof CalledOff) return { calledOff: true };
  // An error of the system's is told as it is; any other is a mistake of ours.
  return of(
    new Failure("internal", "layer-unfinished", { layer, why: code === undefined ? (stack ?? message) : message }),
  );
}

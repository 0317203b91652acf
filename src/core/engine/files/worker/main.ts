/** The program of a worker thread: it does what it is told, one thing at a time. */
import { parentPort } from "node:worker_threads";
import { ArchiveError } from "../../../../contract/tar/archive-error.js";
import { TarReader } from "../../../../contract/tar/tar-reader.js";
import { errorText } from "../../../../system/linux/libc.js";
import { Failure } from "../../../failure/failure.js";
import { archiveAt } from "./archive-at.js";
import { changesOf } from "./changes.js";
import { copyTree, populate } from "./copy-tree.js";
import { infoOf } from "./file-info.js";
import type { Answer, GetTask, Order, PutTask, Task } from "./messages.js";
import { TreeWriter } from "./tree-writer.js";

const port = parentPort!;
const answer = (message: Answer, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

/** In ms: how often the main thread hears that something goes on. */
const SIGN_OF_LIFE = 1_000;
/** The clock is looked at once in so many times. */
const LOOK = 64;

class CalledOff extends Error {}

/** What has come of the archive that is put; undefined is its end. */
let incoming: (Uint8Array | undefined)[] = [];
/** Pieces that may be given. */
let wanted = 0;
let wake: () => void = () => {};

port.on("message", (order: Order) => {
  if ("task" in order) {
    incoming = [];
    wanted = 0;
    void work(order.task, order.stop);
    return;
  }
  if ("data" in order) incoming.push(order.data);
  else wanted++;
  wake();
});

async function work(task: Task, stop: Int32Array): Promise<void> {
  const alive = signsOfLife(stop);
  try {
    switch (task.is) {
      case "put":
        await put(task, alive);
        break;
      case "get":
        await get(task, alive);
        break;
      case "stat":
        answer({ info: infoOf(task) });
        break;
      case "changes":
        for (const changes of changesOf(task, alive)) answer({ changes });
        break;
      case "populate":
        populate(task, alive);
        break;
      default:
        copyTree(task, alive);
    }
    answer({ done: true });
  } catch (error) {
    answer(failureOf(task, error));
  }
}

/** To be called often by what goes on: it tells so, and throws once that is called off. */
function signsOfLife(stop: Int32Array): () => void {
  let calls = 0;
  let told = performance.now();
  return () => {
    if (Atomics.load(stop, 0) !== 0) throw new CalledOff();
    if (++calls % LOOK !== 0 || performance.now() - told < SIGN_OF_LIFE) return;
    told = performance.now();
    answer({ alive: true });
  };
}

async function put(task: PutTask, alive: () => void): Promise<void> {
  const writer = new TreeWriter(task, alive);
  try {
    const reader = new TarReader(writer);
    answer({ alive: true });
    for (;;) {
      while (incoming.length === 0) await news();
      alive();
      const data = incoming.shift();
      if (data === undefined) break;
      reader.push(Buffer.from(data.buffer, data.byteOffset, data.length));
      answer({ taken: true });
    }
    reader.end();
    writer.finish();
  } finally {
    writer.close();
  }
}

async function get(task: GetTask, alive: () => void): Promise<void> {
  for (const piece of archiveAt(task)) {
    while (wanted === 0) await news();
    alive();
    wanted--;
    answer({ piece }, [piece.buffer]);
  }
}

function news(): Promise<void> {
  return new Promise((resolve) => {
    wake = resolve;
  });
}

const KINDS = new Map<string, Failure["kind"]>([
  ["ENOENT", "not-found"],
  ["ENOTDIR", "invalid-argument"],
  ["EISDIR", "invalid-argument"],
  ["ELOOP", "invalid-argument"],
  ["ENAMETOOLONG", "invalid-argument"],
  ["EXDEV", "invalid-argument"],
  ["EINVAL", "invalid-argument"],
  ["EBUSY", "failed-precondition"],
  ["EROFS", "failed-precondition"],
  ["EACCES", "permission-denied"],
  ["EPERM", "permission-denied"],
  ["ENOSPC", "resource-exhausted"],
  ["EDQUOT", "resource-exhausted"],
  ["EMFILE", "resource-exhausted"],
  ["ENFILE", "resource-exhausted"],
  ["ENOSYS", "unimplemented"],
  ["EOVERFLOW", "failed-precondition"],
]);

function failureOf(task: Task, error: unknown): Answer {
  const of = ({ kind, what, facts }: Failure): Answer => ({ failure: { kind, what, facts } });
  if (error instanceof CalledOff) return { calledOff: true };
  if (error instanceof Failure) return of(error);
  const path = "path" in task ? Buffer.from(task.path, "latin1").toString() : "the container's own layer";
  if (error instanceof ArchiveError)
    return of(new Failure("invalid-argument", "bad-archive", { path, entry: error.entry, why: error.message }));
  const { code, stack } = error as NodeJS.ErrnoException;
  const kind = code === undefined ? undefined : KINDS.get(code);
  // An error of the system's is told as it is; any other is a mistake of ours.
  const why = code === undefined ? (stack ?? String(error)) : errorText(error);
  return of(new Failure(kind ?? "internal", "container-files", { path, why }));
}

import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import type { IdMaps } from "../files/file-owners.js";
import { failureOf, Pool, type Run } from "./worker/pool.js";

export interface Diff {
  /** The upper directory of an overlay: whiteouts are devices 0:0, opaque directories have overlayfs' attribute. */
  upper: string;
  /** Whom the files in it belong to, for the archive to say whom they belong to in the container. */
  idMaps?: IdMaps | undefined;
  /** Nanoseconds since the epoch: what has changed later is told as of then, and so is what was removed. */
  latest?: bigint | undefined;
  signal: AbortSignal;
}

/** So many pieces are made before they are asked for. */
const AHEAD = 2;

/** Of their own: one that is read slowly is in nobody's way who waits for a layer. */
const pool = new Pool();

/**
 * What is in an upper directory as a layer's tar archive, uncompressed, in an order that depends on the content only. It is made in a
 * worker thread, as fast as it is taken. What changes meanwhile is there as it was before or after; nothing outside of the directory is
 * ever read.
 * @throws Failure: failed-precondition (bad-diff) for what an archive can't say; internal. The signal's reason
 */
export async function* writeDiff({ upper, idMaps, latest, signal }: Diff): AsyncGenerator<Buffer, void, undefined> {
  const pieces: Buffer[] = [];
  let state: "more" | "end" | { error: unknown } = "more";
  let wake: () => void = () => {};
  const end = (how: "end" | { error: unknown }) => {
    state = how;
    run.over();
    wake();
  };
  const run: Run = await pool.run(
    { is: "diff", upper, idMaps, latest },
    {
      answer: (answer) => {
        if ("piece" in answer) {
          pieces.push(Buffer.from(answer.piece.buffer, answer.piece.byteOffset, answer.piece.length));
          wake();
        } else if ("done" in answer) end("end");
        else if ("failure" in answer || "calledOff" in answer) end({ error: failureOf(answer) });
      },
      ended: ({ message }) =>
        end({ error: new Failure("internal", "layer-unfinished", { layer: upper, why: message }) }),
    },
    signal,
  );
  try {
    for (let i = 0; i < AHEAD; i++) run.send({ more: true });
    for (;;) {
      const piece = pieces.shift();
      if (piece !== undefined) {
        run.send({ more: true });
        yield piece;
      } else if (state !== "more") break;
      else
        await abortable(
          new Promise<void>((resolve) => {
            wake = resolve;
          }),
          signal,
        );
    }
    const last = state as "end" | { error: unknown };
    if (last !== "end") throw last.error;
  } finally {
    run.cancel(() => run.over());
  }
}

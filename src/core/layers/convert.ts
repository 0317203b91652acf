import { rm } from "node:fs";
import { hasCode } from "../../system/linux/libc.js";
import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import type { GrowingFile } from "./growing-file.js";
import type { Answer, Task } from "./worker/messages.js";
import { failureOf, Pool, type Run } from "./worker/pool.js";

/** When an archive is refused as too large. */
export interface LayerLimits {
  /** More than so many times the blob's size … */
  ratio: number;
  /** … is only taken as long as so many bytes stay free where the layer file is written. */
  free: number;
  entries: number;
}

export interface LayerConversion {
  /** How errors call the layer: its blob's digest. */
  layer: string;
  /** Path of the blob, a regular file. It is read while it still grows, when `grown` says how far it is. */
  blob: string;
  grown?: GrowingFile;
  /** The descriptor's: what the blob is compressed by must be what this says. "" takes whatever it is. */
  mediaType: string;
  /** Path of the layer file: must not exist; is there when the promise resolves, and not when it rejects. */
  output: string;
  /** The `sha256:…` that the uncompressed archive must have. */
  diffId?: string;
  /**
   * Asked at most once, at the end, by a layer that depends on the ones below: a directory where all of these are mounted as containers see
   * them, which stays until the conversion has ended; undefined where there are none.
   */
  below?: () => Promise<string | undefined>;
  limits?: Partial<LayerLimits>;
  /** Stops it at once. */
  signal: AbortSignal;
  /** How much of the blob was read and how much came out of it, in bytes: now and then. */
  onProgress?: (progress: { read: number; unpacked: number }) => void;
}

export interface ConvertedLayer {
  /** `sha256:…` of the uncompressed archive. */
  diffId: string;
  /** Bytes on the disk. */
  size: number;
  /** Bytes of the uncompressed archive. */
  unpacked: number;
  /** Of the layer: what the archive has twice counts once. */
  entries: number;
  /** Whether the archive could become another layer file on other layers: it goes by its chain id then (`dependentKey`). */
  dependsOnBelow: boolean;
  /** Whether it says of its root directory what owner and mode that has. Else it is root's with 0755. */
  namesRoot: boolean;
}

/**
 * Makes an EROFS file of a layer's blob (tar, maybe compressed), in a worker thread. It is on the disk when this resolves.
 * @throws Failure: invalid-argument (bad-layer) names the layer and the entry that is wrong; resource-exhausted when the disk is full or
 *   the archive too large; internal when the worker has ended. The signal's reason, and what `grown` and `below` fail with, as they are
 */
export async function convertLayer(conversion: LayerConversion): Promise<ConvertedLayer> {
  for (;;) {
    const converted = await new Attempt(conversion).run();
    if (converted !== undefined) return converted;
    // Once all of the blob is there nothing keeps it from going through.
    if (conversion.grown !== undefined) await ended(conversion.grown, conversion.signal);
  }
}

const LIMITS: LayerLimits = { ratio: 100, free: 10 * 2 ** 30, entries: 1_000_000 };
/** With so many entries a worker has used much memory. */
const LARGE = 100_000;

const pool = new Pool();

/** Resolves once a blob has come to its end, or will not. */
async function ended(grown: GrowingFile, signal: AbortSignal): Promise<void> {
  let stop: () => void = () => {};
  const end = new Promise<void>((resolve) => {
    const look = () => {
      if (!grown.grows) resolve();
    };
    stop = grown.onChange(look);
    look();
  });
  await abortable(end, signal).finally(stop);
}

/** One try in a worker; its result is undefined when others have taken the place, since the blob did not arrive. */
class Attempt {
  readonly #conversion: LayerConversion;
  #resolve: (result: ConvertedLayer | undefined) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  readonly #result: Promise<ConvertedLayer | undefined>;
  #run: Run | undefined;
  /** Ends it in another way than the worker says, once it has been called off. */
  #off: (() => void) | undefined;
  /** The worker waits for more than so many bytes of the blob. */
  #wanted: number | undefined = -1;

  constructor(conversion: LayerConversion) {
    this.#conversion = conversion;
    this.#result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  async run(): Promise<ConvertedLayer | undefined> {
    const { layer, blob, mediaType, output, signal, grown, limits } = this.#conversion;
    const task: Task = { is: "convert", layer, blob, mediaType, output, limits: { ...LIMITS, ...limits } };
    this.#run = await pool.run(
      task,
      { answer: (answer) => this.#answer(answer), ended: (error) => this.#workerEnded(error) },
      signal,
    );
    const abort = () => this.#cancel(() => this.#reject(signal.reason));
    signal.addEventListener("abort", abort);
    const stop = grown?.onChange(() => this.#feed());
    try {
      if (signal.aborted) abort();
      this.#feed();
      return await this.#result;
    } finally {
      stop?.();
      signal.removeEventListener("abort", abort);
    }
  }

  /** Tells how far the blob is, when the worker waits for that. */
  #feed(): void {
    const { grown } = this.#conversion;
    if (grown?.hasFailed) {
      this.#cancel(() => this.#reject(grown.error));
      return;
    }
    const whole = grown?.isWhole ?? true;
    if (this.#wanted === undefined || !(whole || grown!.size > this.#wanted)) return;
    this.#wanted = undefined;
    this.#run?.starve(false);
    this.#run?.send({ size: grown?.size ?? 0, whole });
  }

  #answer(answer: Answer): void {
    if ("wants" in answer) {
      if (answer.wants === "below") void this.#askBelow();
      else {
        this.#wanted = answer.wants;
        this.#run?.starve(true, () => this.#cancel(() => this.#resolve(undefined)));
        this.#feed();
      }
    } else if ("read" in answer) this.#conversion.onProgress?.(answer);
    else if ("result" in answer) this.#finish(answer.result);
    else if (!("piece" in answer)) this.#settle(() => this.#reject(failureOf(answer)));
  }

  async #askBelow(): Promise<void> {
    this.#run?.park();
    try {
      const below = await this.#conversion.below?.();
      this.#run?.unpark();
      this.#run?.send({ below });
    } catch (error) {
      this.#cancel(() => this.#reject(error));
    }
  }

  #finish(result: ConvertedLayer): void {
    const { diffId, layer } = this.#conversion;
    const isRight = diffId === undefined || diffId === result.diffId;
    if (isRight && this.#off === undefined) this.#settle(() => this.#resolve(result), result.entries > LARGE);
    else {
      const why = `its content is ${result.diffId}, but should be ${diffId}`;
      this.#remove(() =>
        this.#settle(() => this.#reject(new Failure("invalid-argument", "bad-layer", { layer, why }))),
      );
    }
  }

  #workerEnded(error: Error): void {
    const why = hasCode(error, "ERR_WORKER_OUT_OF_MEMORY") ? "it needs too much memory" : error.message;
    const failure = new Failure("internal", "layer-unfinished", { layer: this.#conversion.layer, why });
    this.#remove(() => this.#settle(() => this.#reject(failure)));
  }

  /** Calls it off; `end` is what becomes of it then. */
  #cancel(end: () => void): void {
    if (this.#off !== undefined) return;
    this.#off = end;
    this.#run?.cancel(() => this.#workerEnded(new Error("the worker thread does not answer")));
  }

  #remove(then: () => void): void {
    rm(this.#conversion.output, { force: true }, then);
  }

  #settle(end: () => void, isLarge = false): void {
    this.#run?.over(isLarge);
    (this.#off ?? end)();
  }
}

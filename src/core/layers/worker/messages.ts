/** What the main thread and a worker say to each other. */
import type { FailureKind, What } from "../../failure/failure.js";
import type { IdMaps } from "../../files/file-owners.js";
import type { ConvertedLayer, LayerLimits } from "../convert.js";

export interface ConvertTask {
  is: "convert";
  layer: string;
  blob: string;
  mediaType: string;
  output: string;
  limits: LayerLimits;
}

export interface DiffTask {
  is: "diff";
  upper: string;
  idMaps: IdMaps | undefined;
  latest: bigint | undefined;
}

export type Task = ConvertTask | DiffTask;

/** To the worker. */
export type Order =
  /** `stop` has one number, which is not 0 once the task is called off. */
  | { task: Task; stop: Int32Array }
  /** How far the blob is, in bytes. */
  | { size: number; whole: boolean }
  /** Where the layers below are mounted. */
  | { below: string | undefined }
  /** One more piece is wanted. */
  | { more: true };

/** From the worker. */
export type Answer =
  /** More than `size` bytes of the blob are wanted. */
  | { wants: number }
  | { wants: "below" }
  | { read: number; unpacked: number }
  | { piece: Uint8Array<ArrayBuffer> }
  | { done: true }
  | { result: ConvertedLayer }
  | { failure: { kind: FailureKind; what: What; facts: object } }
  | { calledOff: true };

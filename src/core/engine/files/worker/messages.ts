/** What the main thread and a worker say to each other. */
import type { FailureKind, What } from "../../../failure/failure.js";
import type { IdMaps } from "../../../files/file-owners.js";

/** Descriptors in tasks are the process's; whoever gives a task closes them once it is over. */
export interface PutTask {
  is: "put";
  root: number;
  /** From the root; made when it is not there. */
  path: string;
  idMaps: IdMaps | undefined;
  /** Whom all files belong to, as the container counts; undefined: whom the archive says. */
  owner: { uid: number; gid: number } | undefined;
  /** No directory is replaced by something else, nor the other way round. */
  keepKinds: boolean;
  /** Whether device nodes are made. */
  devices: boolean;
}

export interface GetTask {
  is: "get";
  root: number;
  path: string;
  idMaps: IdMaps | undefined;
  /** Whether the archive is of what a link at the path leads to. */
  followLink: boolean;
}

export interface StatTask {
  is: "stat";
  root: number;
  path: string;
  idMaps: IdMaps | undefined;
}

export interface ChangesTask {
  is: "changes";
  /** An upper directory of overlayfs. */
  upper: string;
  /** What it is put on, as one directory; "": nothing. */
  lower: string;
  /** The owners in `upper`; in `lower` they are as the container has them. */
  idMaps: IdMaps | undefined;
}

export interface CopyTask {
  is: "copy";
  /** An upper directory of overlayfs. */
  from: string;
  /** Another one, in which there is nothing. */
  to: string;
  fromMaps: IdMaps | undefined;
  toMaps: IdMaps | undefined;
}

export interface PopulateTask {
  is: "populate";
  /** Of an image. */
  root: number;
  /** From the root: a directory, or nothing. */
  path: string;
  /** A directory in which there is nothing. */
  to: string;
  /** Whether all of it is on the disk once this is done. */
  isLasting: boolean;
}

export type Task = PutTask | GetTask | StatTask | ChangesTask | CopyTask | PopulateTask;

/** To the worker. */
export type Order =
  /** `stop` has one number, which is not 0 once the task is called off. */
  | { task: Task; stop: Int32Array }
  /** More of an archive that comes in; undefined: that was all. */
  | { data: Uint8Array | undefined }
  /** One more piece is wanted. */
  | { more: true };

/** A file as it is told. */
export interface FileInfo {
  /** The last part of the path, as text; "/" of the root. */
  name: string;
  /** In bytes. */
  size: number;
  /** As stat(2) has it, with the kind of file. */
  mode: number;
  /** Nanoseconds since 1970. */
  modifiedAt: bigint;
  /** Of a symbolic link; "" of all else. */
  linkTarget: string;
  uid: number;
  gid: number;
}

export interface Change {
  /** From the root, absolute. */
  path: string;
  kind: "modified" | "added" | "deleted";
}

/** From the worker. */
export type Answer =
  /** What was given is worked in: more can come. */
  | { taken: true }
  | { piece: Uint8Array<ArrayBuffer> }
  | { info: FileInfo }
  | { changes: Change[] }
  /** It still works. */
  | { alive: true }
  | { done: true }
  | { failure: { kind: FailureKind; what: What; facts: object } }
  | { calledOff: true };

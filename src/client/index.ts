// Streams and buffers are part of the types: a compiler that is not told to load Node's own has to.
/// <reference types="node" preserve="true" />
export type * as wire from "../proto/containerd.js";
export { defaultAddress } from "./address.js";
export { Api, type Fields } from "./api.js";
export { Bundle, type BundleOptions, createBundle } from "./bundle.js";
export type { CallOptions } from "./call-options.js";
export { Client, type ClientOptions } from "./client.js";
export { connect } from "./connect.js";
export type { ConnectionOptions } from "./connection.js";
export { type CheckpointOptions, Container, type ExecOptions } from "./container.js";
export { ContainerProcess } from "./container-process.js";
export type { ContainerStats, WatchStatsOptions } from "./container-stats.js";
export { ContainerdError, type ContainerdErrorOptions, type ErrorCode, type ErrorKind } from "./containerd-error.js";
export {
  type CommonStartOptions,
  Containers,
  type PruneOptions,
  type PruneResult,
  type StartBuiltOptions,
  type StartBundleOptions,
  type StartOptions,
} from "./containers.js";
export type { Environment } from "./environment.js";
export { Events, type EventsOptions } from "./events.js";
export type { ExitStatus } from "./exit-watch.js";
export type { Limits, ResourceLimits } from "./limits.js";
export { MessageStream } from "./message-stream.js";
export { Remote, type RemoteChange, type RemoteOptions } from "./remote.js";
export type { DaemonOptions } from "./remote-daemon.js";
export { type RunBufferOptions, RunError, type RunOptions, type RunResult, type RunStats } from "./run.js";
export { type RunTarget, run } from "./run-once.js";
export type { Seccomp, SeccompProfile } from "./seccomp.js";
export { type SignalName, signalNumber } from "./signals.js";
export { buildSpec, type Mount, type Network, type Spec, type SpecOptions } from "./spec.js";
export type { StdioKind } from "./start-process.js";
export { StartedContainer } from "./started-container.js";
export { createStdio, Stdio, type StdioOptions } from "./stdio.js";
export {
  compareTimestamps,
  formatTimestamp,
  type Moment,
  parseTimestamp,
  type Timestamp,
  toDate,
  toTimestamp,
} from "./timestamp.js";
export type { TlsOptions } from "./unreachable.js";
export type { User, UserIds } from "./user.js";

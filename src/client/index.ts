export type * as wire from "../proto/containerd.js";
export { defaultAddress } from "./address.js";
export { Api, type Fields } from "./api.js";
export type { CallOptions } from "./call-options.js";
export { Client, type ClientOptions } from "./client.js";
export { connect } from "./connect.js";
export type { ConnectionOptions } from "./connection.js";
export { Container, type ExecOptions, type Limits } from "./container.js";
export { ContainerProcess } from "./container-process.js";
export { ContainerdError, type ErrorCode } from "./containerd-error.js";
export { Containers, type StartOptions } from "./containers.js";
export { Events, type EventsOptions } from "./events.js";
export type { ExitStatus } from "./exit-watch.js";
export { MessageStream } from "./message-stream.js";
export { Remote, type RemoteChange, type RemoteOptions } from "./remote.js";
export type { DaemonOptions } from "./remote-daemon.js";
export { type SignalName, signalNumber } from "./signals.js";
export type { StdioKind } from "./start-process.js";
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

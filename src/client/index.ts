// Streams and buffers are part of the types: a compiler that is not told to load Node's own has to.
/// <reference types="node" preserve="true" />

export { defaultAddress } from "../contract/address.js";
export type { SeccompProfile, SeccompRule } from "../contract/seccomp.js";
export { type SignalName, signalNumber } from "../contract/signals.js";
export type { CallOptions } from "./api/call-options.js";
export type { ConnectionOptions } from "./api/connection.js";
export { Exchange } from "./api/exchange.js";
export { MessageStream } from "./api/message-stream.js";
export type { V1Call, V1CallOptions, V1Service } from "./api/services.js";
export type { TlsOptions } from "./api/unreachable.js";
export { V1 } from "./api/v1.js";
export { Bundle, type BundleOptions, createBundle } from "./bundle/bundle.js";
export type { Seccomp } from "./bundle/seccomp.js";
export { buildSpec, type Mount, type Network, type Spec, type SpecOptions } from "./bundle/spec.js";
export { Client, type ClientOptions } from "./client.js";
export { connect } from "./connect.js";
export { Attachment, type AttachOptions } from "./containers/attach.js";
export type { CollectOptions } from "./containers/collected-run.js";
export {
  type CheckpointOptions,
  Container,
  type ContainerStdio,
  CreatedContainer,
  type KillOptions,
  type RemoveOptions as RemoveContainerOptions,
  type StartFromOptions,
  type StartOptions,
  type StopOptions,
  type UpdateOptions,
} from "./containers/container.js";
export type { ContainerHealth, ContainerInfo, ContainerStatus, HealthResult } from "./containers/container-info.js";
export type {
  BindMount,
  ContainerLimits,
  ContainerOptions,
  DeviceMapping,
  DeviceRate,
  HealthcheckOptions,
  IdMap,
  LogConfig,
  OfContainer,
  TmpfsOptions,
} from "./containers/container-options.js";
export { ContainerProcess } from "./containers/container-process.js";
export type { ContainerStats, WatchStatsOptions } from "./containers/container-stats.js";
export {
  Containers,
  type CreateOptions,
  type ListOptions,
  type PruneOptions,
  type PruneResult,
  type StartNewOptions,
} from "./containers/containers.js";
export type { CommonExecOptions, ExecBufferOptions, ExecOptions, ExecResult, SpawnOptions } from "./containers/exec.js";
export type { ContainerExit, Usage } from "./containers/exit.js";
export type {
  FileContent,
  FileInfo,
  GetFilesOptions,
  NewFiles,
  PutFilesOptions,
  ReadFileBufferOptions,
  ReadFileOptions,
  WriteFileOptions,
} from "./containers/files.js";
export type { ForkOptions } from "./containers/fork.js";
export type { LogLine, LogsBufferOptions, LogsOptions } from "./containers/logs.js";
export type { CommitOptions, FileChange } from "./containers/own-layer.js";
export type { RunBufferOptions, RunOptions, RunResult } from "./containers/run.js";
export { run } from "./containers/run-once.js";
export {
  ContainerdError,
  type ContainerdErrorOptions,
  type ErrorCode,
  type ErrorKind,
} from "./errors/containerd-error.js";
export { RunError } from "./errors/run-error.js";
export type { EngineEvent, EngineEventsOptions } from "./events/events.js";
export type { Descriptor, HistoryEntry, Image, ImageConfig, ImageDetails, ImageLayer } from "./images/image.js";
export {
  type ArchiveSource,
  type ExportOptions,
  Images,
  type ImportOptions,
  type InspectOptions,
  type ListImagesOptions,
  type PruneImagesOptions,
  type PruneImagesResult,
  type PullOptions,
  type PushOptions,
  type RegistryOptions,
  type RemoveOptions,
} from "./images/images.js";
export type { AuthQuestion, RegistryAuth, RegistryCredentials } from "./images/registry-auth.js";
export type { ImageProgress, TransferOptions } from "./images/transfer.js";
export type { ImagesUsage, Room } from "./images/usage.js";
export type { EgressAttempt, EgressReport } from "./networks/egress-report.js";
export type { EgressOption, NetworkAttachment, NetworkOption } from "./networks/network-options.js";
export {
  type ConnectOptions,
  type ContainerRef,
  type CreatedNetwork,
  type CreateNetworkOptions,
  type Endpoint,
  type ListNetworksOptions,
  type NetworkInfo,
  Networks,
  type PruneNetworksOptions,
} from "./networks/networks.js";
export type { PortMapping, PortOption } from "./networks/port-options.js";
export { type PortBinding, Publish } from "./networks/publish.js";
export type { Environment } from "./options/environment.js";
export type { Limits, ResourceLimits } from "./options/limits.js";
export type { User, UserIds } from "./options/user.js";
export type { RunTarget } from "./own-connection.js";
export { NotReadyError } from "./readiness/wait-for.js";
export type {
  ProbeResponse,
  WaitFor,
  WaitForAll,
  WaitForAny,
  WaitForCommand,
  WaitForHttp,
  WaitForLog,
  WaitForOptions,
  WaitForPort,
  WaitStrategy,
} from "./readiness/wait-options.js";
export { Embedded, type EmbeddedOptions, embedded } from "./remote/embedded.js";
export { Remote, type RemoteChange, type RemoteOptions } from "./remote/remote.js";
export type { DaemonOptions } from "./remote/remote-daemon.js";
export { type AcquireOptions, type PoolOptions, SandboxPool } from "./sandboxes/pool.js";
export type { Readiness, SandboxOptions } from "./sandboxes/prepare.js";
export { Sandbox } from "./sandboxes/sandbox.js";
export { type CreateSandboxOptions, Sandboxes } from "./sandboxes/sandboxes.js";
export type { RunInput } from "./streams/process-input.js";
export { createStdio, Stdio, type StdioOptions } from "./streams/stdio.js";
export {
  compareTimestamps,
  formatTimestamp,
  type Moment,
  parseTimestamp,
  type Timestamp,
  toDate,
  toTimestamp,
} from "./timestamp.js";
export * as v0 from "./v0/index.js";
export type { VolumeOption, VolumeOptions } from "./volumes/volume-options.js";
export {
  type CreatedVolume,
  type CreateVolumeOptions,
  type GetVolumeOptions,
  type ListVolumesOptions,
  type PruneVolumesOptions,
  type PruneVolumesResult,
  type VolumeInfo,
  Volumes,
} from "./volumes/volumes.js";

export type * as wire from "../../proto/containerd.js";
export { Api, type Fields } from "../api/v0.js";
export type { RunTarget } from "../own-connection.js";
export { type CheckpointOptions, Container, type ExecOptions } from "./containers/container.js";
export { ContainerProcess } from "./containers/container-process.js";
export type { ContainerStats, WatchStatsOptions } from "./containers/container-stats.js";
export {
  type CommonStartOptions,
  Containers,
  type PruneOptions,
  type PruneResult,
  type StartBuiltOptions,
  type StartBundleOptions,
  type StartOptions,
} from "./containers/containers.js";
export { type RunBufferOptions, RunError, type RunOptions, type RunResult, type RunStats } from "./containers/run.js";
export { run } from "./containers/run-once.js";
export type { StdioKind } from "./containers/start-process.js";
export { StartedContainer } from "./containers/started-container.js";
export { Events, type EventsOptions } from "./events/events.js";
export type { ExitStatus } from "./events/exit-watch.js";
export { V0 } from "./v0.js";

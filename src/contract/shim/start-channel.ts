/** The packets of the start channel; docs/shim.md has the protocol. */

/** The environment variable that names the shim's descriptor of the channel, and the spawner's of its socket. */
export const CHANNEL_VARIABLE = "CONTAINERD_SHIM_CHANNEL";

/**
 * How to let a created container's process run without the runtime: runc's waits for somebody who reads the FIFO, crun's for who writes.
 */
export type ExecFifoAccess = "read" | "write";

/** What a daemon says. */
export type DaemonMessage = "keep" | "start" | `start ${ExecFifoAccess} ${string}` | "cancel";

/**
 * What a shim says: the pid on the host; that it runs; or the exit status of the runtime's `start` and its output, which the daemon
 * quotes.
 */
export type ShimMessage = `created ${number}` | "started" | `failed ${number}\0${string}`;

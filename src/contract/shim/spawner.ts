/** The packets between a daemon and its spawner; docs/shim.md has the protocol. */

/** The argument that makes a shim's program a spawner. */
export const SPAWNER_FLAG = "--spawner";

/** Directory, container, bundle, runtime, then `NAME=value`…, each ended by NUL. */
export type LaunchRequest = `launch\0${string}\0${string}\0${string}\0${string}\0${string}`;

/** What a spawner says: that it is loaded, the answers in the order of the requests, and which shim it has reaped. */
export type SpawnerMessage = "ready" | `launched ${number}` | `failed ${string}` | `exited ${number} ${number}`;

import type { Duplex } from "node:stream";
import type { Owner } from "../../core/tasks/owner.js";

/** What a call's `getPeer()` says of a caller on a unix socket: the process that has connected it. */
const PATTERN = /^process (\d+) (\d+) (\S+)$/;

/**
 * Makes known to the calls of a connection which process has opened it: grpc-js tells handlers a connection's remote address, which a unix
 * socket does not have.
 * @param connection what is handed to grpc-js: the socket, or what it goes through
 */
export function namePeer(connection: Duplex, { pid, startTime, bootId }: Owner): void {
  Object.defineProperty(connection, "remoteAddress", { value: `process ${pid} ${startTime} ${bootId}` });
}

/** The process at the other end; undefined when the kernel does not tell: over TCP, or in a pid namespace that is not below ours. */
export function callerProcess(peer: string): Owner | undefined {
  const [, pid, startTime, bootId] = PATTERN.exec(peer) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), startTime: startTime!, bootId: bootId! };
}

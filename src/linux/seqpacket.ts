import { readSync, writeSync } from "node:fs";
import { hasCode, libc, systemError } from "./libc.js";

const socketpair = libc.func("int socketpair(int domain, int type, int protocol, uint8_t *pair)");
const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;

const packet = Buffer.alloc(65_536);

/** Two connected sockets that keep message boundaries, non-blocking and close-on-exec. Throws a system error. */
export function makeSeqPacketPair(): [number, number] {
  const pair = Buffer.alloc(8);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) !== 0)
    throw systemError("socketpair");
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}

/** The next message; "" when the other side has closed, undefined when there is none yet. Throws a system error. */
export function receivePacket(fd: number): string | undefined {
  try {
    return packet.toString("utf8", 0, readSync(fd, packet));
  } catch (error) {
    if (hasCode(error, "EAGAIN")) return undefined;
    // The other side has closed with messages of ours unread: closed all the same.
    if (hasCode(error, "ECONNRESET")) return "";
    throw error;
  }
}

/** Sends one message. Throws a system error; EPIPE when the other side has closed. */
export function sendPacket(fd: number, message: string): void {
  writeSync(fd, message);
}

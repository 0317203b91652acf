import { closeSync, readSync, writeSync } from "node:fs";
import koffi from "koffi";
import { hasCode, libc, systemError } from "./libc.js";

const socketpair = libc.func("int socketpair(int domain, int type, int protocol, uint8_t *pair)");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const connect = libc.func("int connect(int fd, uint8_t *address, uint32_t size)");
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

/**
 * A socket that is connected to the one at that path, of up to 107 bytes. Throws a system error: ENOENT, ECONNREFUSED when nobody listens
 * there, EAGAIN when too many wait there already.
 */
export function connectSeqPacket(path: string): number {
  const name = Buffer.from(path);
  const address = Buffer.alloc(110);
  if (name.length > address.length - 3) throw systemError("connect", path, koffi.os.errno.ENAMETOOLONG);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_UNIX;
  name.copy(address, 2);
  const fd: number = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemError("socket");
  if (connect(fd, address, address.length) === 0) return fd;
  const error = systemError("connect", path);
  closeSync(fd);
  throw error;
}

/**
 * The next message; undefined when there is none yet, "" when none comes any more: the other side has closed, or the socket is broken.
 * Never throws.
 */
export function receivePacket(fd: number): string | undefined {
  try {
    return packet.toString("utf8", 0, readSync(fd, packet));
  } catch (error) {
    // Else, as a rule, the other side has closed with messages of ours unread: ECONNRESET.
    return hasCode(error, "EAGAIN") ? undefined : "";
  }
}

/** Sends one message. Throws a system error; EPIPE when the other side has closed. */
export function sendPacket(fd: number, message: string): void {
  writeSync(fd, message);
}

const iovec = koffi.struct("iovec", { base: "const uint8_t *", length: "size_t" });
koffi.struct("msghdr", {
  name: "void *",
  nameLength: "uint32_t",
  vectors: koffi.pointer(iovec),
  vectorCount: "size_t",
  control: "const uint8_t *",
  controlLength: "size_t",
  flags: "int",
});
const sendmsg = libc.func("long sendmsg(int fd, const msghdr *message, int flags)");
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_NOSIGNAL = 0x4000;

/** Sends one message with descriptors, of which the other side gets copies. Throws a system error; EPIPE when the other side has closed. */
export function sendPacketWithDescriptors(fd: number, message: string, descriptors: readonly number[]): void {
  const data = Buffer.from(message);
  // A cmsghdr: its length, level, type, descriptors; padded to 8 bytes.
  const length = 16 + 4 * descriptors.length;
  const control = Buffer.alloc(Math.ceil(length / 8) * 8);
  control.writeBigUInt64LE(BigInt(length), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  for (const [index, descriptor] of descriptors.entries()) control.writeInt32LE(descriptor, 16 + 4 * index);
  const header = {
    name: null,
    nameLength: 0,
    vectors: [{ base: data, length: data.length }],
    vectorCount: 1,
    control,
    controlLength: control.length,
    flags: 0,
  };
  if (Number(sendmsg(fd, header, MSG_NOSIGNAL)) < 0) throw systemError("sendmsg");
}

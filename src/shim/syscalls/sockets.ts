/** Unix sockets: the console socket, the start channel, the spawner's. */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { close } from "./files";
import { declare, EAGAIN, EINTR, EPIPE, outcome, SCRATCH_SIZE, scratch } from "./libc";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
export const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** With room for two descriptors. */
interface ControlMessage extends CData {
  length: unknown;
  level: number;
  type: number;
  first: number;
  second: number;
}

interface Libc {
  fchmod(this: void, fd: number, mode: number): number;
  socket(this: void, domain: number, type: number, protocol: number): number;
  bind(this: void, fd: number, address: CData, length: number): number;
  listen(this: void, fd: number, backlog: number): number;
  accept4(this: void, fd: number, address: undefined, length: undefined, flags: number): number;
  recvmsg(this: void, fd: number, message: CData, flags: number): number;
  send(this: void, fd: number, data: string, length: number, flags: number): number;
  recv(this: void, fd: number, data: CData, length: number, flags: number): number;
}

const libc = declare(`
struct sockaddr_un { uint16_t family; char path[108]; };
struct iovec { void *base; size_t length; };
struct msghdr { void *name; unsigned namelen; struct iovec *iov; size_t iovlen; void *control; size_t controllen; int flags; };
struct cmsghdr { size_t length; int level; int type; int first; int second; };
int fchmod(int, unsigned);
int socket(int, int, int);
int bind(int, const struct sockaddr_un *, unsigned);
int listen(int, int);
int accept4(int, void *, void *, int);
int recvmsg(int, struct msghdr *, int);
int send(int, const void *, size_t, int);
int recv(int, void *, size_t, int);
`) as Libc;

let packetBuffer: CData | undefined;

/** A unix socket, for streams or another type, that listens at `path`, for so many at a time; or a negative errno. */
export function listenUnix(path: string, type = SOCK_STREAM, backlog = 1): number {
  const fd = outcome(libc.socket(AF_UNIX, type + SOCK_NONBLOCK + SOCK_CLOEXEC, 0));
  if (fd < 0) return fd;
  // Before it has a name, so that at no time anybody else can connect.
  libc.fchmod(fd, 0o600);
  let result = outcome(libc.bind(fd, ffi.new("struct sockaddr_un", AF_UNIX, path), 110));
  if (result >= 0) result = outcome(libc.listen(fd, backlog));
  if (result >= 0) return fd;
  close(fd);
  return result;
}

export function accept(fd: number): number {
  return outcome(libc.accept4(fd, undefined, undefined, SOCK_NONBLOCK + SOCK_CLOEXEC));
}

/**
 * A message and up to two descriptors that came with it, -1 for one that did not; the length is 0 when the peer is gone, or a negative
 * errno.
 */
function receiveMessage(fd: number, data: CData, size: number): LuaMultiReturn<[number, number, number]> {
  const SOL_SOCKET = 1;
  const SCM_RIGHTS = 1;
  const vector = ffi.new("struct iovec", data, size);
  const control = ffi.new("struct cmsghdr") as ControlMessage;
  const message = ffi.new("struct msghdr", undefined, 0, vector, 1, control, 24);
  const count = outcome(libc.recvmsg(fd, message, MSG_CMSG_CLOEXEC));
  const hasDescriptors = count >= 0 && control.level === SOL_SOCKET && control.type === SCM_RIGHTS;
  if (!hasDescriptors) return $multi(count, -1, -1);
  return $multi(count, control.first, tonumber(control.length) === 24 ? control.second : -1);
}

/** The descriptor that the peer of a unix socket sends, -EPIPE when it hung up without sending one. */
export function receiveDescriptor(fd: number): number {
  const [count, descriptor] = receiveMessage(fd, scratch, SCRATCH_SIZE);
  if (count < 0 || descriptor >= 0) return count < 0 ? count : descriptor;
  return count === 0 ? -EPIPE : -EAGAIN;
}

/** Waits for a packet: its text, empty when the peer is gone, and up to two descriptors that came with it, -1 for one that did not. */
export function receivePacket(fd: number): LuaMultiReturn<[string, number, number]> {
  const size = 16384;
  packetBuffer ??= ffi.new("char[?]", size);
  const data = packetBuffer;
  const [count, first, second] = receiveMessage(fd, data, size);
  return $multi(count > 0 ? ffi.string(data, count) : "", first, second);
}

/** Sends a packet, and waits until there is room for it. */
export function sendBlocking(fd: number, packet: string): number {
  return outcome(libc.send(fd, packet, packet.length, MSG_NOSIGNAL));
}

/** Sends a packet. */
export function send(fd: number, packet: string): number {
  return outcome(libc.send(fd, packet, packet.length, MSG_NOSIGNAL + MSG_DONTWAIT));
}

/** The next packet; undefined when there is none yet, empty when the peer is gone. */
export function receive(fd: number): string | undefined {
  const count = outcome(libc.recv(fd, scratch, SCRATCH_SIZE, MSG_DONTWAIT));
  if (count === -EAGAIN || count === -EINTR) return undefined;
  return count > 0 ? ffi.string(scratch, count) : "";
}
